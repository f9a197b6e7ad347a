"""Let the approval state machine end.

In:  Approval Granted, Approval Rejected, Approval Expired (bus -> queue)
Out: the state machine's wait is over; what was decided stands in the table
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
from dr_core.records import ApprovalStatus
from dr_core.state import table

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

processor = BatchProcessor(event_type=EventType.SQS)


@cache
def sfn() -> "SFNClient":
    """The client, made once per environment."""
    return client("stepfunctions")


def settle_one(record: SQSRecord) -> None:
    """Answer the waits that are decided. A token that is gone was answered before, or timed out: the table holds the truth either way."""
    execution_id = arrived(record.body).execution_id
    gone = (sfn().exceptions.TaskTimedOut, sfn().exceptions.TaskDoesNotExist, sfn().exceptions.InvalidToken)
    for approval in table().approvals(execution_id):
        if approval.status is ApprovalStatus.PENDING or approval.task_token is None:
            continue
        try:
            sfn().send_task_success(taskToken=approval.task_token, output=json.dumps({"status": approval.status}))
        except gone as error:
            logger.info("wait already over", extra={"error_code": error.response["Error"]["Code"]})


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Settle each approval of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=settle_one, processor=processor, context=context)
