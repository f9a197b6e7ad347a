"""JSON that other people wrote: read strictly, so that nothing means something else than it seems to."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dr_core.findings import Finding, Path

LARGEST = 1_000_000  # bytes
DEEPEST = 32  # levels

_SURROGATE = re.compile("[\ud800-\udfff]")
_YAML = re.compile(r"\s*(---|#|- |[\w.$-]+\s*:(\s|$))")


class NotJsonError(ValueError):
    """Not a JSON document at all; `finding` says where it breaks."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def read_json(text: bytes | str) -> tuple[Any, list[Finding]]:
    """The document, and what is wrong with it although it could be read: duplicate keys, and numbers that JSON does not have.

    A byte order mark is tolerated. Raises NotJsonError for what is too large, too deep, not Unicode or not JSON.
    """
    try:
        data = text.encode() if isinstance(text, str) else text
        if len(data) > LARGEST:
            raise _not_json(f"the file has {len(data)} bytes, more than {LARGEST}", "split the application")
        decoded = data.decode("utf-8-sig")
    except UnicodeError:
        raise _not_json("the file is not UTF-8", "save it as UTF-8") from None
    repeated: list[tuple[dict[str, Any], list[str]]] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            repeated.append((made, [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]))
        return made

    try:
        document = json.loads(decoded, object_pairs_hook=collect)
    except json.JSONDecodeError as error:
        raise _broken(decoded, error) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # Python refuses to read integers of thousands of digits
        raise _not_json("a number has too many digits", "write it as a string") from None
    keys_of = {id(made): keys for made, keys in repeated}
    findings = []
    for path, value in _nodes(document, ()):
        if len(path) > DEEPEST:
            raise _too_deep()
        findings += [Finding((*path, key), "this key stands twice in the same object", "keep one") for key in keys_of.get(id(value), [])]
        if isinstance(value, float) and not math.isfinite(value):
            findings.append(Finding(path, "not a number that JSON has", "write a finite number"))
        for text in value if isinstance(value, dict) else (value,):
            if isinstance(text, str) and not text.isascii() and _SURROGATE.search(text):
                raise NotJsonError(Finding(path, "not valid Unicode: half of a surrogate pair", "correct the \\u escapes"))
    return document, findings


def _nodes(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Each value of the document with its path, down to one level too deep."""
    yield path, value
    if len(path) <= DEEPEST and isinstance(value, dict | list):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nodes(child, (*path, step))


def _broken(text: str, error: json.JSONDecodeError) -> NotJsonError:
    if not text.strip():
        return _not_json("the file is empty", 'write at least [{"layer": 1, "resources": [...]}]')
    where = f"line {error.lineno}, column {error.colno}: {error.msg}"
    if _YAML.match(text):
        return _not_json(where, "manifests are JSON, and this looks like YAML: convert it")
    return _not_json(where, "manifests are JSON, without comments and trailing commas")


def _too_deep() -> NotJsonError:
    return _not_json(f"nested more than {DEEPEST} levels deep", "flatten it")


def _not_json(message: str, remedy: str) -> NotJsonError:
    return NotJsonError(Finding((), message, remedy))
