"""AutoScaling."""

from dr_core.phases import Phase
from dr_modules.auto_scaling import AutoScaling
from tests.support import scenes
from tests.support.stories import Stories, run

_GROUP = {"Autoscalinggroupnames": "workers", "DesiredCount": 2}

STORIES: Stories = {
    Phase.INSTANTIATE: [run(AutoScaling, Phase.INSTANTIATE, _GROUP, lambda world: scenes.group(world))],
    Phase.CLEANUP: [run(AutoScaling, Phase.CLEANUP, _GROUP, lambda world: scenes.group(world, sizes=(1, 2, 4)))],
}
