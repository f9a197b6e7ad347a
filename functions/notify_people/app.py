"""Tell people what happens.

In:  what people want to be told of executions, approvals, layers and resources (bus -> queue)
Out: a message on each channel that has not had it, and a note of it in the table
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.arrivals import arrived
from dr_core.aws import client
from dr_core.events import Incoming
from dr_core.observability import logger, utc_now
from dr_core.state import table
from dr_people.channels import channels_of
from dr_people.notifications import notify

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

processor = BatchProcessor(event_type=EventType.SQS)


@cache
def clients() -> tuple["S3Client", "SNSClient"]:
    """The clients, made once per environment."""
    return client("s3"), client("sns")


def notify_one(record: SQSRecord) -> None:
    """Tell of one event."""
    arrived(record.body)
    notify(table(), Incoming.model_validate_json(record.body), lambda application: channels_of(application, *clients()), utc_now)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Tell of each event of the batch; one that a channel did not take is delivered again."""
    return process_partial_response(event=event, record_handler=notify_one, processor=processor, context=context)
