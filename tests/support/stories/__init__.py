"""For each phase of each module the shortest stories that together make every call it can make: one file for each module, of its name.

Each file has `STORIES`. `tests/contract/test_modules.py` holds the actions that a module declares against them.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dr_core.phases import Mode, Phase
from dr_modules.base import DRModule
from tests.support.aws import STANDBY, World

Story = Callable[[World], None]
Stories = Mapping[Phase, list[Story]]


def of(module: type[DRModule[Any]]) -> Stories:
    """The stories of a module, from the file called like the module's own."""
    found: Stories = importlib.import_module(f"{__name__}.{module.__module__.rpartition('.')[2]}").STORIES
    return found


@dataclass(frozen=True)
class run:
    """A story: set the scene, then do what an executor does. Told a second time, it goes on in the world that it finds.

    `raw`: the parameters, or what makes them once the scene is set.
    """

    module: type[DRModule[Any]]
    phase: Phase
    raw: object
    scene: Story
    mode: Mode = Mode.PLANNED
    region: str = STANDBY

    def __call__(self, world: World) -> None:
        """Tell it."""
        if self not in world.told:
            self.scene(world)
            world.told[self] = self.raw(world) if callable(self.raw) else self.raw
        world.drive(self.module, self.phase, world.told[self], self.mode, region=self.region)

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True)
class drilled:
    """A story of a drill's CLEANUP: the scene is a drill of `phase`, which has acted; what is told is how it is taken back."""

    module: type[DRModule[Any]]
    phase: Phase
    raw: object
    scene: Story

    def __call__(self, world: World) -> None:
        """Tell it."""
        if self not in world.told:
            self.scene(world)
            looking, world.only_look = world.only_look, False
            world.told[self] = world.drill(self.module, self.phase, self.raw)
            world.only_look = looking
            world.calls.clear()
        before: Any = world.told[self]
        world.take_back(self.module, self.raw, before)

    def __hash__(self) -> int:
        return id(self)
