"""EventBridge."""

from dr_core.phases import Phase
from dr_modules.event_bridge import EventBridge
from tests.support import scenes
from tests.support.stories import Stories, run

_RULE = {"EventRuleName": "daily"}

STORIES: Stories = {
    Phase.ACTIVATE: [run(EventBridge, Phase.ACTIVATE, _RULE, lambda world: scenes.rule(world))],
    Phase.CLEANUP: [run(EventBridge, Phase.CLEANUP, _RULE, lambda world: scenes.rule(world, state="ENABLED"))],
}
