"""Questions that come at the same time share a call; none waits for company, and none gets an answer older than itself."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from dr_core.together import Together


class Desk:
    """Answers in tens; each call waits until `open` is set."""

    def __init__(self, most: int = 10) -> None:
        self.calls: list[list[int]] = []
        self.open, self.busy = threading.Event(), threading.Event()
        self.ask = Together(self._answer, most)
        self.threads = ThreadPoolExecutor(20)

    def _answer(self, asked: Sequence[int]) -> list[int]:
        self.calls.append(list(asked))
        self.busy.set()
        assert self.open.wait(20)
        if 13 in asked:
            raise ValueError(f"13 in {len(asked)}")
        return [10 * number for number in asked]

    def meanwhile(self, *numbers: int) -> "list[Future[int]]":
        """One question is under way, and these come meanwhile; all of them, in order."""
        first = self.threads.submit(self.ask, 0)
        assert self.busy.wait(20)
        others = []
        for number in numbers:
            others.append(self.threads.submit(self.ask, number))
            while len(self.ask._waiting) < len(others):
                pass
        self.open.set()
        return [first, *others]


def test_who_is_alone_asks_alone() -> None:
    desk = Desk()
    desk.open.set()
    assert [desk.ask(number) for number in (1, 2)] == [10, 20]
    assert desk.calls == [[1], [2]]


def test_who_comes_while_a_call_is_under_way_shares_the_next_one_and_has_an_answer_of_its_own() -> None:
    desk = Desk()
    assert [one.result(20) for one in desk.meanwhile(1, 2, 3, 2)] == [0, 10, 20, 30, 20]
    assert desk.calls == [[0], [1, 2, 3, 2]], "never the answer to a question that was asked before"


def test_a_call_asks_no_more_than_it_may() -> None:
    desk = Desk(most=2)
    assert [one.result(20) for one in desk.meanwhile(1, 2, 3, 4, 5)] == [0, 10, 20, 30, 40, 50]
    assert desk.calls == [[0], [1, 2], [3, 4], [5]]


def test_an_error_is_raised_to_all_who_shared_it_and_to_nobody_else() -> None:
    desk = Desk(most=2)
    first, *shared, last = desk.meanwhile(12, 13, 14)
    for one in shared:
        with pytest.raises(ValueError, match="13 in 2"):
            one.result(20)
    assert (first.result(20), last.result(20)) == (0, 140)


def test_an_answer_that_is_missing_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        Together[int, int](lambda asked: [], 10)(1)
