"""Threads that ask for the same kind of thing at the same time, as the messages of a batch may, without depending on how they run."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Lock
from types import TracebackType
from typing import TypeVar

import pytest

from dr_core.together import Together
from dr_modules import _listed

R = TypeVar("R")
_PATIENCE = 60.0  # seconds


class _Crowd:
    """Nobody goes on before everybody who is still at work has come as far as to ask."""

    def __init__(self, at_work: int) -> None:
        self._at_work = at_work
        self._asking = 0
        self._rounds = 0
        self._changed = Condition()

    def ask(self) -> None:
        with self._changed:
            mine, self._asking = self._rounds, self._asking + 1
            self._go_on()
            assert self._changed.wait_for(lambda: self._rounds > mine, _PATIENCE), "the others did not come"

    def leave(self) -> None:
        with self._changed:
            self._at_work -= 1
            self._go_on()

    def _go_on(self) -> None:
        if self._asking and self._asking == self._at_work:
            self._asking, self._rounds = 0, self._rounds + 1
            self._changed.notify_all()


class _Turn:
    """A turn that comes when everybody asks."""

    def __init__(self, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._turn = Lock()

    def __enter__(self) -> None:
        self._crowd.ask()
        self._turn.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._turn.release()


def at_once(monkeypatch: pytest.MonkeyPatch, *work: Callable[[], R]) -> "list[Future[R]]":
    """All work, each in a thread: what can be asked together is asked together. Returns when all of it is over."""
    crowd = _Crowd(len(work))

    class Meeting(Together[object, object]):
        def __init__(self, ask: Callable[[Sequence[object]], Sequence[object]], most: int) -> None:
            super().__init__(ask, most)
            self._turn = _Turn(crowd)  # type: ignore[assignment]

    def done(one: Callable[[], R]) -> R:
        try:
            return one()
        finally:
            crowd.leave()

    with monkeypatch.context() as patched, ThreadPoolExecutor(len(work)) as threads:
        patched.setattr(_listed, "Together", Meeting)
        return [threads.submit(done, one) for one in work]
