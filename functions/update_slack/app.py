"""Bring the message in Slack up to date, wherever it was decided.

In:  Vote Recorded, Approval Granted, Approval Rejected, Approval Expired, Execution Cancelled (bus -> queue)
Out: the message shows votes and outcome; its buttons are gone once it is decided
"""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.events import WakeUp
from dr_core.observability import logger
from dr_core.state import table
from dr_people.slack import slack

processor = BatchProcessor(event_type=EventType.SQS)


def update_one(record: SQSRecord) -> None:
    """Update the message from the table: a second delivery, or one out of order, writes the same."""
    execution_id = WakeUp.from_queue(record.body).execution_id
    logger.append_keys(execution_id=execution_id)
    channel = slack()
    if channel is not None:
        channel.update(table(), execution_id)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Update the message of each execution of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=update_one, processor=processor, context=context)
