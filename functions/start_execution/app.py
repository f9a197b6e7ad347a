"""Take an operator's request.

In:  Execution Requested from dr.operator (bus -> queue)
Out: an execution that waits for its preflight (Execution Requested), or a stored refusal (Execution Refused)
"""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.events import Incoming
from dr_core.observability import logger, utc_now
from dr_engine.intake import intake

processor = BatchProcessor(event_type=EventType.SQS)


def take_one(record: SQSRecord) -> None:
    """Accept or refuse one request."""
    intake().take(Incoming.model_validate_json(record.body), utc_now())


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Take each request of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=take_one, processor=processor, context=context)
