"""Steer an execution.

In:  Command Requested from dr.operator (bus -> queue)
Out: the command carried out (Command Accepted, and what follows from it), or Command Refused with the reason
"""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.control import Control
from dr_core.events import Incoming
from dr_core.observability import logger, utc_now
from dr_core.state import table

processor = BatchProcessor(event_type=EventType.SQS)


@cache
def control() -> Control:
    """The control, made once per environment."""
    return Control(table(), utc_now)


def take_one(record: SQSRecord) -> None:
    """Carry out or refuse one command."""
    control().take(Incoming.model_validate_json(record.body))


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Take each command of the batch; one that fails is delivered again."""
    return process_partial_response(event=event, record_handler=take_one, processor=processor, context=context)
