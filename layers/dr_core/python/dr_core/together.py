"""What several threads ask at the same time, asked once: the messages of a batch share their calls."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Together(Generic[Question, Answer]):
    """Answers questions by `ask`, which takes up to `most` of them at once and gives their answers in the same order.

    Nobody waits for company: who comes while no call is under way asks alone, and at once. Who comes meanwhile waits until that call
    is over, and shares the next one. So an answer is never older than its question. An error of `ask` is raised to all who shared it.
    """

    def __init__(self, ask: Callable[[Sequence[Question]], Sequence[Answer]], most: int) -> None:
        self._ask = ask
        self._most = most
        self._turn = Lock()
        self._waiting: deque[tuple[Question, Future[Answer]]] = deque()

    def __call__(self, question: Question) -> Answer:
        """The answer to one question."""
        mine: Future[Answer] = Future()
        self._waiting.append((question, mine))
        with self._turn:
            while not mine.done():  # the first in turn asks for those behind it, too
                self._answer([self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))])
        return mine.result()

    def _answer(self, asked: Sequence[tuple[Question, "Future[Answer]"]]) -> None:
        try:
            answers = self._ask([question for question, _ in asked])
            for (_, future), answer in zip(asked, answers, strict=True):
                future.set_result(answer)
        except BaseException as error:  # noqa: BLE001  (raised again, where each of them waits)
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
