"""Ask people to decide.

In:  {"executionId", "taskToken"} from the approval state machine, which waits for the token
Out: the token is in the table, and a message with what preflight found and a link has gone to the topic
"""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core import flow
from dr_core.approval_plan import plan_digest
from dr_core.approvals import link_for, link_signer
from dr_core.observability import logger, utc_now
from dr_core.records import ApprovalStatus
from dr_core.settings import setting
from dr_core.state import table
from dr_core.triggers import Asked, TokenHeld
from dr_people.approval_context import load_context
from dr_people.approval_views import mail

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


@cache
def sns() -> "SNSClient":
    """The client, made once per environment."""
    return boto3.client("sns")


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, str], _context: LambdaContext) -> None:
    """Store the token, send the message, and note that it was sent. A repetition sends it again rather than not at all."""
    execution_id = event["executionId"]
    logger.append_keys(execution_id=execution_id)
    state = table().load(execution_id)
    if state is None or state.approval is None or state.approval.status is not ApprovalStatus.PENDING:
        logger.info("nothing to decide any more")
        return
    plan = plan_digest(table().resources(execution_id), table().preflights(execution_id))
    flow.follow(table(), state, TokenHeld(event["taskToken"], plan), utc_now)
    approval = table().approval(execution_id)
    assert approval, "it was read a moment ago"
    seconds = int(setting("LINK_SECONDS"))
    link = link_for(state.execution, approval, link_signer(), setting("APPROVAL_PAGE_URL"), now=utc_now(), seconds=seconds)
    context = load_context(table(), execution_id)
    assert context, "it was read a moment ago"
    subject, message, _ = mail(context, link)
    sns().publish(TopicArn=setting("APPROVAL_TOPIC_ARN"), Subject=subject, Message=message)
    flow.follow(table(), state, Asked(), utc_now)
