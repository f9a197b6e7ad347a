"""Take the next steps of an execution.

In:  what may have made a step possible: an approval decided, a resource ended, a command (bus -> queue)
Out: layers opened and closed, resources requested, the execution ended
"""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.arrivals import arrived
from dr_core.flow import advance
from dr_core.observability import logger, utc_now
from dr_core.state import table

processor = BatchProcessor(event_type=EventType.SQS)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Advance each execution of the batch, once for all that was said of it; a message of one that fails is delivered again."""
    advanced: set[str] = set()

    def advance_one(record: SQSRecord) -> None:
        """Follow the state as far as it leads; the event only says whose."""
        execution_id = arrived(record.body).execution_id
        if execution_id not in advanced:
            advance(table(), execution_id, utc_now)
            advanced.add(execution_id)

    return process_partial_response(event=event, record_handler=advance_one, processor=processor, context=context)
