"""Store the recovery report of an execution.

In:  Execution Completed, Halted, Cancelled, Rejected, Expired, Abandoned (bus -> queue)
Out: the report as page, text and document in the bucket of reports, once more if it comes again
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.arrivals import arrived
from dr_core.aws import client
from dr_core.observability import logger, utc_now
from dr_core.settings import setting
from dr_core.state import table
from dr_people.report_keeping import keep_report

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

processor = BatchProcessor(event_type=EventType.SQS)


@cache
def s3() -> "S3Client":
    """The client, made once per environment."""
    return client("s3")


def store_one(record: SQSRecord) -> None:
    """Store the report of one execution."""
    wake_up = arrived(record.body)
    keep_report(table(), wake_up.execution_id, s3(), setting("REPORT_BUCKET"), utc_now)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Store the report of each execution of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=store_one, processor=processor, context=context)
