"""A model checker: every reachable state, breadth first; what must never be is never, and what must come can still come."""

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """A transition. `helps`: it is part of what a fair world does by itself, neither a fault nor a person's interference.

    The label's parts are made into text only for a trace.
    """

    label: tuple[object, ...]
    to: S
    helps: bool = True


@dataclass(slots=True)
class Result:
    """What a search found: `violation` and `stuck` are empty if all is well; `trace` is a shortest way there."""

    states: int
    edges: int
    seconds: float
    violation: str = ""
    stuck: int = 0
    trace: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Safe and live."""
        return not self.violation and not self.stuck

    @property
    def verdict(self) -> str:
        """What was found, in a few words."""
        return self.violation or (f"stuck in {self.stuck} states" if self.stuck else "OK")

    def __str__(self) -> str:
        how = f"\n  {' > '.join(self.trace)}" if self.trace else ""
        return f"{self.states:>9,} states {self.edges:>10,} edges {self.seconds:6.1f} s  {self.verdict}{how}"


def check(
    start: S, steps: Callable[[S], Iterable[Step[S]]], unsafe: Callable[[S], str], settled: Callable[[S], bool], limit: int = 10_000_000
) -> Result:
    """Search all states from `start`.

    Safety: `unsafe` is empty in each. Liveness: from each, the steps that help lead to a settled one (AG EF settled). A violation ends
    the search with the shortest trace. Raises OverflowError above `limit` states.
    """
    began = time.monotonic()
    came: dict[S, tuple[S, tuple[object, ...]] | None] = {start: None}
    back: dict[S, list[S]] = {}
    queue, edges = deque([start]), 0
    while queue:
        state = queue.popleft()
        if problem := unsafe(state):
            return Result(len(came), edges, time.monotonic() - began, problem, trace=_trace(came, state))
        for step in steps(state):
            if step.to == state:
                continue
            edges += 1
            if step.helps:
                back.setdefault(step.to, []).append(state)
            if step.to not in came:
                came[step.to] = (state, step.label)
                queue.append(step.to)
        if len(came) > limit:
            raise OverflowError(f"more than {limit:,} states")
    live = _leading_to({state for state in came if settled(state)}, back)
    stuck = [state for state in came if state not in live]  # in breadth-first order
    trace = _trace(came, stuck[0]) if stuck else []
    return Result(len(came), edges, time.monotonic() - began, "", len(stuck), trace)


def _leading_to(good: set[S], back: dict[S, list[S]]) -> set[S]:
    queue = deque(good)
    while queue:
        for before in back.get(queue.popleft(), ()):
            if before not in good:
                good.add(before)
                queue.append(before)
    return good


def _trace(came: dict[S, tuple[S, tuple[object, ...]] | None], state: S) -> list[str]:
    labels: list[str] = []
    while (origin := came[state]) is not None:
        state, label = origin
        labels.append(" ".join(map(str, label)))
    return labels[::-1]
