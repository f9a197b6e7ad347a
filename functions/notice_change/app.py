"""Have a resource checked early, because AWS says that something has changed.

In:  an event of an AWS service, forwarded from an account and Region that the orchestrator acts in (bus -> queue)
Out: the next check, now, of the waiting resources that it is about; nothing else, whatever the event says
"""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.observability import logger, utc_now
from dr_core.state import table
from dr_engine.native_events import notice

processor = BatchProcessor(event_type=EventType.SQS)


def notice_one(record: SQSRecord) -> None:
    """Find what the event is about, and send its check."""
    notice(table(), record.body, utc_now)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Notice each event of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=notice_one, processor=processor, context=context)
