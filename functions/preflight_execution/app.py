"""Look at what has been requested, before anybody decides.

In:  Execution Requested from dr.execution (bus -> queue, or sent again by the sweep)
Out: a report of each resource, Preflight Completed, and Approval Requested; a dry run has ended (Execution Completed)
"""

from typing import Any

from aws_lambda_powertools.metrics import Metrics, MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.events import WakeUp
from dr_core.observability import logger
from dr_engine.preflight import preflight

processor = BatchProcessor(event_type=EventType.SQS)
metrics = Metrics(namespace="DROrchestrator")


def look_at_one(record: SQSRecord) -> None:
    """Look at one execution. A second delivery finds that it has gone on."""
    execution_id = WakeUp.from_queue(record.body).execution_id
    logger.append_keys(execution_id=execution_id)
    found = preflight().run(execution_id)
    if found is not None:
        metrics.add_metadata(key="execution_id", value=execution_id)
        metrics.add_metric(name="PreflightErrors", unit=MetricUnit.Count, value=found.errors)
        metrics.add_metric(name="PreflightWarnings", unit=MetricUnit.Count, value=found.warnings)
        metrics.flush_metrics()  # here, since the id belongs to this execution alone


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Look at each execution of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=look_at_one, processor=processor, context=context)
