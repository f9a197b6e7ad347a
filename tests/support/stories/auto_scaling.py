"""AutoScaling."""

from dr_core.phases import Phase
from dr_modules.auto_scaling import AutoScaling
from tests.support import scenes
from tests.support.aws import PRIMARY, World
from tests.support.stories import Stories, drilled, run

_GROUP = {"Autoscalinggroupnames": "workers", "DesiredCount": 2}
_BOTH = {**_GROUP, "Autoscalinggroupnames": ["workers", "others"]}


def _of_either_kind(world: World) -> None:
    """One launches from a configuration, one from a template."""
    scenes.group(world)
    scenes.group(world, "others", **scenes.template(world))


def _in_both(world: World) -> None:
    scenes.group(world, sizes=(1, 2, 4))
    scenes.group(world, sizes=(1, 1, 4), region=PRIMARY)


def _standing_by(world: World) -> None:
    scenes.group(world)
    scenes.group(world, sizes=(1, 1, 4), region=PRIMARY)


STORIES: Stories = {
    Phase.INSTANTIATE: [run(AutoScaling, Phase.INSTANTIATE, _BOTH, _of_either_kind)],
    Phase.CLEANUP: [
        run(AutoScaling, Phase.CLEANUP, _GROUP, _in_both),
        drilled(AutoScaling, Phase.INSTANTIATE, _GROUP, _standing_by),
    ],
}
