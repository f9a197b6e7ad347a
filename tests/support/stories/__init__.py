"""For each phase of each module the shortest stories that together make every call it can make: one file for each module, of its name.

Each file has `STORIES`. `tests/contract/test_modules.py` holds the actions that a module declares against them.
"""

import importlib
from collections.abc import Callable, Mapping
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


def run(module: type[DRModule[Any]], phase: Phase, raw: object, scene: Story, mode: Mode = Mode.PLANNED, region: str = STANDBY) -> Story:
    """A story: set the scene, then do what an executor does."""

    def story(world: World) -> None:
        scene(world)
        world.drive(module, phase, raw, mode, region=region)

    return story
