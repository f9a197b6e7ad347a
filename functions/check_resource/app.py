"""Observe one resource that is under way.

In:  Resource Waiting (queue, after a delay)
Out: the resource is WAITING for its next check, SUCCEEDED, FAILED or TIMED_OUT, or waits for a retry
"""

from typing import Any

from aws_lambda_powertools.utilities.batch import process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.arrivals import arrived
from dr_core.observability import logger
from dr_core.side_by_side import SideBySide
from dr_engine.executor import executor

processor = SideBySide()


def check_one(record: SQSRecord) -> None:
    """Observe and record; a message of an older check stops before anything is called."""
    wake_up = arrived(record.body)
    executor().check(wake_up)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Check each resource of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=check_one, processor=processor, context=context)
