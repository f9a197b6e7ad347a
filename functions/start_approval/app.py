"""Begin to wait for people.

In:  Approval Requested (bus -> queue, or sent again by the sweep)
Out: the approval state machine runs, one for each execution and each of its layers that waits for people
"""

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.arrivals import arrived
from dr_core.aws import client
from dr_core.observability import logger
from dr_core.settings import setting

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

processor = BatchProcessor(event_type=EventType.SQS)


@cache
def sfn() -> "SFNClient":
    """The client, made once per environment."""
    return client("stepfunctions")


def start_one(record: SQSRecord) -> None:
    """Start the state machine under the execution's own name, with the layer that waits: a second delivery finds it there."""
    wake_up = arrived(record.body)
    execution_id, layer = wake_up.execution_id, wake_up.layer
    name = f"{execution_id}-layer-{layer}" if layer else execution_id
    asked = json.dumps({"executionId": execution_id, "layer": layer})
    machine = setting("APPROVAL_STATE_MACHINE_ARN")
    try:
        sfn().start_execution(stateMachineArn=machine, name=name, input=asked)
    except sfn().exceptions.ExecutionAlreadyExists:
        logger.info("approval already started")


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Start each approval of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=start_one, processor=processor, context=context)
