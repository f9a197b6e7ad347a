"""Show what runs, what failed, and what mends it.

In:  a call of the dashboard's custom widget, or an HTTP request to the function's URL, which IAM has let in
Out: HTML; nothing is changed
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.observability import logger, utc_now
from dr_core.settings import setting
from dr_core.state import table
from dr_people import board_shells, wellbeing
from dr_people.board import Board


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> str | dict[str, Any]:
    """Answer CloudWatch or a browser."""
    stack, region = setting("STACK_NAME"), setting("AWS_REGION")
    queues = {"DeadLetterQueue": setting("DEAD_LETTER_QUEUE_URL"), "UndeliveredQueue": setting("UNDELIVERED_QUEUE_URL")}
    board = Board(
        table=table(),
        region=region,
        stack=stack,
        state_machine_arn=setting("APPROVAL_STATE_MACHINE_ARN"),
        command=f"drctl --stack {stack} --region {region}",
        clock=utc_now,
        wellbeing=lambda: wellbeing.look(stack, queues, utc_now()),
    )
    if "requestContext" in event:
        return board_shells.over_url(event, board)
    return board_shells.widget(event, board, context.invoked_function_arn)
