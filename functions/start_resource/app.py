"""Start one resource that its layer has requested.

In:  Resource Requested (bus -> queue, or sent again by the sweep)
Out: the resource is WAITING, SUCCEEDED or FAILED, or waits for a retry
"""

from typing import Any
from uuid import uuid4

from aws_lambda_powertools.utilities.batch import process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.arrivals import arrived
from dr_core.observability import logger
from dr_core.side_by_side import SideBySide
from dr_engine.executor import executor

processor = SideBySide()


def start_one(record: SQSRecord) -> None:
    """Claim the resource, act, observe, record. A second delivery stops at the claim."""
    wake_up = arrived(record.body)
    executor().start(wake_up, owner=str(uuid4()))


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Start each resource of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=start_one, processor=processor, context=context)
