"""What is measured: how many layers of how many resources, and how long each takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from localcloud.cloud import WORKLOAD_ACCOUNT

# Between two checks: what ModuleFactory waits, in the whole seconds of a Wait state, and the longest of the module Pause.
CHECK_SECONDS: Final = 1
SIZES: Final = ((1, 1), (5, 10), (10, 20), (3, 100), (20, 20))


@dataclass(frozen=True)
class Case:
    """One phase: how many seconds each resource takes, layer by layer, and the module that they all are of."""

    name: str
    seconds: Sequence[Sequence[float]]
    module: str = "Pause"

    @property
    def resources(self) -> int:
        """In all layers."""
        return sum(map(len, self.seconds))

    @property
    def critical_path(self) -> float:
        """Seconds that nobody can do without: the slowest resource of each layer."""
        return sum(map(max, self.seconds))

    def manifest(self) -> list[dict[str, object]]:
        """As it lies in S3."""
        return [
            {"layer": layer, "resources": [self._resource(f"r{layer}-{index}", one) for index, one in enumerate(seconds, 1)]}
            for layer, seconds in enumerate(self.seconds, 1)
        ]

    def _resource(self, name: str, seconds: float) -> dict[str, object]:
        parameters = {"Name": name, "Seconds": seconds}
        return {"action": self.module, "resourceName": name, "AccountId": WORKLOAD_ACCOUNT, "parameters": parameters}


def instant(layers: int, resources: int, *, cold: bool = False) -> Case:
    """Everything is done at once: what is left is the engine. `cold`: it is the first case, so that every function starts."""
    return Case(f"{layers} x {resources}, instant" + (", cold" if cold else ""), [[0.0] * resources] * layers)


def checked(layers: int, resources: int) -> Case:
    """Resources that take one to two seconds, evenly spread, and are noticed by checks alone."""
    spread = [round(1.0 + (index * 7 % resources) / resources, 2) for index in range(resources)]
    return Case(f"{layers} x {resources}, checked", [spread] * layers)


def told(resources: int) -> Case:
    """Resources whose service says when they are done, one every half second, from ten seconds on: checks are rare by then."""
    return Case(f"1 x {resources}, told", [[10 + index / 2 for index in range(resources)]], "Announced")


def realistic(scale: float) -> Case:
    """Aurora (90 s), then ECS (60 s), then DRS (540 s), some of each, all scaled."""
    return Case(f"Aurora, ECS, DRS x {scale:g}", [[90 * scale] * 2, [60 * scale] * 6, [540 * scale] * 4])


CASES: Final = (instant(5, 10, cold=True), *(instant(*size) for size in SIZES), *(checked(*size) for size in SIZES), realistic(0.1))
TOLD: Final = told(10)  # nested state machines have nothing that hears of it
