"""Ask those again who have not decided, and those of the escalation list when it is their turn.

In:  Approval Reminder (bus -> queue)
Out: the request has gone by mail and topic to who has not voted (Approval Sent), once for each reminder
"""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.arrivals import arrived
from dr_core.events import Incoming
from dr_core.observability import logger, utc_now
from dr_core.state import table
from dr_people.asking import remind

processor = BatchProcessor(event_type=EventType.SQS)


def remind_of_one(record: SQSRecord) -> None:
    """Remind of one approval; a second delivery finds that it was done."""
    arrived(record.body)
    remind(table(), Incoming.model_validate_json(record.body), utc_now)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Remind of each approval of the batch; one that reached nobody is delivered again."""
    return process_partial_response(event=event, record_handler=remind_of_one, processor=processor, context=context)
