"""Look at what has been requested, before anybody decides.

In:  Execution Requested from dr.execution (bus -> queue, or sent again by the sweep)
Out: a report of each resource, Preflight Completed, and Approval Requested; a dry run has ended (Execution Completed)
"""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.arrivals import arrived
from dr_core.metrics import Metric, measure
from dr_core.observability import logger
from dr_engine.preflight import preflight

processor = BatchProcessor(event_type=EventType.SQS)


def look_at_one(record: SQSRecord) -> None:
    """Look at one execution. A second delivery finds that it has gone on."""
    wake_up = arrived(record.body)
    found = preflight().run(wake_up.execution_id)
    if found is not None:
        measure(Metric.PREFLIGHT_ERRORS, found.errors, execution_id=wake_up.execution_id)
        measure(Metric.PREFLIGHT_WARNINGS, found.warnings, execution_id=wake_up.execution_id)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Look at each execution of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=look_at_one, processor=processor, context=context)
