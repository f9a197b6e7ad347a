"""A simulated cloud: each resource is an operation that takes its time, fails, hangs, or is hard to reach."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from dr_core.errors import ErrorClass, ModuleError
from dr_core.records import Failure
from dr_core.triggers import Outcome

HOLD_ON = "still at it"


@dataclass(frozen=True, slots=True)
class Act:
    """What one act leads to. `error`: the call raises; an AMBIGUOUS one may still have been carried out (`lands`).

    NEXT: it was one step, and the next is due.
    """

    ends: Literal["DONE", "NEXT", "FAILED", "never"] = "DONE"
    seconds: float = 20.0
    mendable: bool = True
    error: ErrorClass | None = None
    lands: bool = False


@dataclass
class World:
    """The resources by name. `scripts` holds what the first, second, … call to act leads to; later calls succeed."""

    scripts: Mapping[str, Sequence[Act]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    acts: Counter[tuple[str, int]] = field(default_factory=Counter)
    said_done: set[str] = field(default_factory=set)
    _under_way: dict[str, tuple[datetime, Act]] = field(default_factory=dict)
    _upset: dict[str, list[ErrorClass]] = field(default_factory=dict)

    def upset(self, name: str, error: ErrorClass) -> None:
        """The next observation of the resource raises."""
        self._upset.setdefault(name, []).append(error)

    def act(self, name: str, attempt: int, now: datetime) -> None:
        """Begin the operation. `acts` counts those that were carried out."""
        script = self.scripts.get(name, ())
        act = script[self.calls[name]] if self.calls[name] < len(script) else Act()
        self.calls[name] += 1
        if act.error is None or (act.error is ErrorClass.AMBIGUOUS and act.lands):
            self.acts[name, attempt] += 1
            self._under_way[name] = (now, act)
        if act.error is not None:
            raise ModuleError("ActError", f"{name}: the call went wrong", act.error)

    def observe(self, name: str, now: datetime) -> Outcome:
        """How far the operation is."""
        if self._upset.get(name):
            raise ModuleError("ObserveError", f"{name} cannot be observed", self._upset[name].pop())
        if name not in self._under_way:
            return Outcome("NOT_STARTED")
        begun, act = self._under_way[name]
        if act.ends == "never" or now < begun + timedelta(seconds=act.seconds):
            return Outcome("IN_PROGRESS", HOLD_ON)
        if act.ends == "FAILED":
            error_class = ErrorClass.RETRYABLE if act.mendable else ErrorClass.TERMINAL
            return Outcome("FAILED", failure=Failure("Broken", error_class, f"{name} broke"))
        if act.ends == "NEXT":
            return Outcome("NEXT_STEP", "one step is done")
        self.said_done.add(name)
        return Outcome("DONE", "there")


def outcome_of(error: ModuleError) -> Outcome:
    """An error as the outcome that the executor makes of it."""
    return Outcome("ERROR", failure=Failure(error.code, error.error_class, error.message, error.request_id))
