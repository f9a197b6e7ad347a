"""LambdaFunction."""

from io import BytesIO

from botocore.response import StreamingBody

from dr_core.phases import Phase
from dr_modules.lambda_function import LambdaFunction
from tests.support import scenes
from tests.support.aws import World
from tests.support.stories import Stories, run


def _accepting(world: World) -> None:
    scenes.function(world)
    world.answer("lambda", "Invoke", {"StatusCode": 202, "Payload": StreamingBody(BytesIO(b""), 0)})


STORIES: Stories = {phase: [run(LambdaFunction, phase, {"FunctionName": "warm"}, _accepting)] for phase in Phase}
