"""What ministack does over and over with the same result, done once. Half of its time under load went into it, and it has one process.

- A function that starts cold unpacks its layers: tens of megabytes, and twice a file's real path for each file. They are unpacked once
  for each content, under the cloud's own TMPDIR, and a cold start gets an archive that only points there.
- A condition is parsed for each item of a query: its grammar and its tokens depend on the text alone.
- A query holds its condition on keys against each item of a partition, one by one, where DynamoDB looks up the first: an execution has
  hundreds. The same is asked of the same keys again and again.

Functions see what they saw before: layers are on `sys.path` in the same order.
Checked against ministack 1.5.33.
"""

import hashlib
import io
import tempfile
import threading
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import dynamodb, lambda_svc

_resolve = lambda_svc._resolve_layer_zip
_spawn = lambda_runtime.Worker._spawn
_starting = threading.local()
_unpacking = threading.Lock()
_pointers: dict[bytes, bytes] = {}


def _spawn_with_pointers(worker: Any) -> None:
    _starting.cold = str(worker.config.get("Runtime", "")).startswith("python")
    try:
        _spawn(worker)
    finally:
        _starting.cold = False


def _resolve_to_pointer(attachment: Any) -> bytes | None:
    """The archive of a layer; for a Python function that starts, one that points at where it is unpacked."""
    archive: bytes | None = _resolve(attachment)
    if archive is None or not getattr(_starting, "cold", False):
        return archive
    digest = hashlib.sha256(archive).digest()
    with _unpacking:
        if digest not in _pointers:
            _pointers[digest] = _pointer(_unpacked(archive))
        return _pointers[digest]


def _unpacked(archive: bytes) -> str:
    directory = tempfile.mkdtemp(prefix="ministack-layer-")
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        packed.extractall(directory)
    return directory


def _pointer(directory: str) -> bytes:
    """A layer of one file, which ministack's runtime has Python read as it sets up `sys.path`."""
    lines = f"import sys; sys.path[0:0] = {[directory, f'{directory}/python']!r}\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("python/lib/python/site-packages/layer.pth", lines)
    return packed.getvalue()


_Flat = tuple[tuple[str, tuple[str, str]], ...]
"""Attributes or placeholders, each with the type and the text of its value."""


def _flat(values: Mapping[str, Mapping[str, str]]) -> _Flat:
    """Keys, and what they are compared with: of one type and text each."""
    return tuple([(name, pair) for name, value in values.items() for pair in value.items()])


class _KeyCondition:
    """The condition of one query on its items' keys."""

    def __init__(self, expression: str, values: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self.expression, self.values, self.names = expression, values, names
        named = {names.get(text, text) for kind, text in dynamodb._tokenize(expression) if kind in ("IDENT", "NAME_REF")}
        self._attributes = sorted(named)
        self._asked = tuple(names.items()), _flat({name: value for name, value in values.items() if name in expression})

    def holds(self, item: Mapping[str, Any]) -> bool:
        return _key_holds(self.expression, *self._asked, _flat({name: item[name] for name in self._attributes if name in item}))


_last = _KeyCondition("", {}, {})


def _holds(
    expression: str, item: Mapping[str, Any], values: Mapping[str, Any], names: Mapping[str, str], slot: str = "ConditionExpression"
) -> bool:
    global _last
    if slot != "KeyConditionExpression":
        return bool(_evaluate(expression, item, values, names, slot))
    condition = _last
    if condition.values is not values or condition.names is not names or condition.expression != expression:
        _last = condition = _KeyCondition(expression, values, names)
    return condition.holds(item)


@lru_cache(maxsize=1 << 15)
def _key_holds(expression: str, names: tuple[tuple[str, str], ...], values: _Flat, keys: _Flat) -> bool:
    item, wanted = ({name: dict([value]) for name, value in flat} for flat in (keys, values))
    return bool(_evaluate(expression, item, wanted, dict(names), "KeyConditionExpression"))


_evaluate = dynamodb._evaluate_condition
dynamodb._evaluate_condition = _holds
lambda_runtime.Worker._spawn = _spawn_with_pointers
lambda_svc._resolve_layer_zip = _resolve_to_pointer
dynamodb._condition_syntax_error = lru_cache(maxsize=1024)(dynamodb._condition_syntax_error)
dynamodb._tokenize = lru_cache(maxsize=1024)(dynamodb._tokenize)
