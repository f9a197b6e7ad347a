"""One reading call for many resources: those of a batch that ask for the same kind of thing at the same time share a call.

Only operations that take a list of names, or list everything, and whose answer says whose an item is. `asked` says all of it.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from dr_core.calls import Call, journal, recording
from dr_core.errors import THROTTLES
from dr_core.target import acting_until, hold_back
from dr_core.together import Together

Item = Mapping[str, Any]
T = TypeVar("T")

_MOST_ASKERS: Final = 100  # more than a function has threads


@dataclass(frozen=True)
class Listed:
    """A reading operation, by its name in boto3. `items` are those of one page of its answer.

    `asks` makes parameters of at most `most` names, and `is_of` says whether an item is the one of a name. Without `asks` nothing is
    named, and everybody gets everything.
    """

    operation: str
    items: Callable[[Item], Iterable[Item]]
    asks: Callable[[Sequence[str]], Mapping[str, object]] | None = None
    is_of: Callable[[Item, str], bool] = lambda item, name: True
    most: int = 1


def asked(client: Any, listed: Listed, names: Sequence[str] = (), **parameters: object) -> list[Item]:
    """The items of these names, over all pages; a name without one has none. With `parameters` of the operation beside the names.

    Who asks while a call of the same client, operation and parameters is under way shares the next one; nobody waits for company. A
    client is of one session, so of one execution, phase, module, account and Region. The journal of each shows the call that it shared.

    An error is raised as boto3 raises it, and only to whom it concerns: after one of a shared call each asks by itself. But when AWS
    throttles, or does not answer, it concerns everybody, also those who waited meanwhile: ten calls more would make it worse. Raises
    ModuleError when the lease of who asks is about to end; a call that is shared does not depend on anybody's lease.

    In a rehearsal, and where the same is read only once, each asks by itself.
    """
    if listed.asks is not None and not names:
        return []
    current = recording()
    if current.is_apart:
        return _items(client, listed, names, parameters)
    hold_back()
    answer = _desk(client, listed, parameters)(_Question(tuple(names), current.secrets))
    current.calls += answer.calls
    if answer.error is None:
        return [item for item in answer.items if not names or any(listed.is_of(item, name) for name in names)]
    if answer.is_everybodys or not answer.is_shared:
        raise answer.error
    return _items(client, listed, names, parameters)


def in_batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """The items, at most so many at a time."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


@dataclass(frozen=True)
class _Question:
    """`secrets`: what must not show in the journal of the others; `at`: monotonic seconds."""

    names: tuple[str, ...]
    secrets: set[str]
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class _Answer:
    """To several questions: the items of all of them, or the error; and the calls that were made."""

    items: Sequence[Item]
    calls: Sequence[Call]
    error: Exception | None
    is_shared: bool

    @property
    def is_everybodys(self) -> bool:
        """Whether it has failed for nothing that any of them asked."""
        if isinstance(self.error, ClientError):
            return self.error.response["Error"]["Code"] in THROTTLES
        return isinstance(self.error, ConnectionError | HTTPClientError)


class _Desk:
    """Answers those who may share a call, several at once, but never two groups of them at the same time."""

    def __init__(self, client: Any, listed: Listed, parameters: Mapping[str, object]) -> None:
        self._client = client
        self._listed = listed
        self._parameters = parameters
        self._failed: tuple[float, _Answer] | None = None  # for everybody; and when

    def answer(self, questions: Sequence[_Question]) -> list[_Answer]:
        """The answer to each question. Those who waited while it failed for everybody fare the same."""
        if self._failed is not None and all(question.at < self._failed[0] for question in questions):
            return [self._failed[1]] * len(questions)
        answer = self._ask(questions)
        self._failed = (time.monotonic(), answer) if answer.is_everybodys else None
        return [answer] * len(questions)

    def _ask(self, questions: Sequence[_Question]) -> _Answer:
        names = list(dict.fromkeys(name for question in questions for name in question.names))
        items: Sequence[Item] = ()
        failed: Exception | None = None
        with acting_until(None), journal() as made:
            made.secrets.update(*(question.secrets for question in questions))
            try:
                items = _items(self._client, self._listed, names, self._parameters)
            except Exception as error:  # noqa: BLE001  (raised again, or met again, where each of them waits)
                failed = error
        many = len(questions) > 1
        calls = [replace(call, shared_by=len(questions)) for call in made.calls] if many else made.calls
        return _Answer(items, calls, failed, many)


_finding = Lock()
# Each is there as long as somebody asks; it holds its client, so that no other has the same id meanwhile.
_desks: WeakValueDictionary[tuple[int, Listed, str], Together[_Question, _Answer]] = WeakValueDictionary()


def _desk(client: Any, listed: Listed, parameters: Mapping[str, object]) -> Together[_Question, _Answer]:
    key = id(client), listed, json.dumps(parameters, sort_keys=True)
    with _finding:
        desk = _desks.get(key)
        if desk is None:
            desk = _desks[key] = Together(_Desk(client, listed, parameters).answer, _MOST_ASKERS)
        return desk


def _items(client: Any, listed: Listed, names: Sequence[str], parameters: Mapping[str, object]) -> list[Item]:
    """Everything that the operation says of these names, in as many calls as its limit asks for."""
    if listed.asks is None:
        return _paged(client, listed, parameters)
    portions = in_batches(names, listed.most)
    return [item for some in portions for item in _paged(client, listed, {**parameters, **listed.asks(some)})]


def _paged(client: Any, listed: Listed, parameters: Mapping[str, object]) -> list[Item]:
    if not client.can_paginate(listed.operation):
        return list(listed.items(getattr(client, listed.operation)(**parameters)))
    return [item for page in client.get_paginator(listed.operation).paginate(**parameters) for item in listed.items(page)]
