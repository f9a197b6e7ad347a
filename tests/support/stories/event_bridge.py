"""EventBridge."""

from dr_core.phases import Phase
from dr_modules.event_bridge import EventBridge
from tests.support import scenes
from tests.support.aws import PRIMARY, World
from tests.support.stories import Stories, run

_RULE = {"EventRuleName": "daily"}


def _in_both(world: World) -> None:
    scenes.rule(world, state="ENABLED")
    scenes.rule(world, state="ENABLED", region=PRIMARY)


STORIES: Stories = {
    Phase.ACTIVATE: [run(EventBridge, Phase.ACTIVATE, _RULE, lambda world: scenes.rule(world))],
    Phase.CLEANUP: [run(EventBridge, Phase.CLEANUP, _RULE, _in_both)],
}
