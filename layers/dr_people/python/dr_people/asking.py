"""Asking people to decide, on every channel that the stack has: a mail to each approver, else the topic; and Slack."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from slack_sdk.errors import SlackApiError, SlackClientError

from dr_core.errors import OrchestratorError
from dr_core.observability import logger
from dr_core.records import Approval, Approver
from dr_core.settings import optional, setting
from dr_core.state import Table
from dr_people import mail
from dr_people.approval_context import ApprovalContext
from dr_people.approval_views import mail as written
from dr_people.slack import Slack

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class NobodyAskedError(OrchestratorError):
    """The request reached nobody, on no channel."""


@cache
def sns() -> "SNSClient":
    """The client, made once per environment."""
    return boto3.client("sns")


def ask(
    table: Table,
    context: ApprovalContext,
    approval: Approval,
    link_for: Callable[[Approver | None], str],
    slack: Slack | None,
    only: Callable[[Approver], bool] = lambda _: True,
) -> list[str]:
    """Send the request to all approvers, or to those of whom `only` says so. Gives the channels that took it, such as `mail: ann`.

    `link_for`: the link that is made out to one person, or to nobody. Each channel fails by itself; whom SES does not reach the topic
    tells. Raises NobodyAskedError when no channel took it.
    """
    people = [one for one in approval.approvers if only(one)]
    sent = [f"mail: {one.name}" for one in people if one.email and _mailed(context, one, one.email, link_for)]
    if len(sent) < len(people) or not people:
        sent += _published(context, link_for)
    if slack is not None:
        sent += _posted(table, slack, context, approval)
    if not sent:
        raise NobodyAskedError(f"nobody could be asked to decide on execution {context.execution_id}")
    return sent


def _mailed(context: ApprovalContext, person: Approver, address: str, link_for: Callable[[Approver | None], str]) -> bool:
    """Whether SES took the person's own mail."""
    sender = optional("MAIL_SENDER")
    if not sender:
        return False
    subject, text, html = written(context, link_for(person), person.name)
    try:
        message_id = mail.send(sender, address, subject, text, html)
    except (ClientError, BotoCoreError):
        logger.exception("SES did not take the mail; the topic tells instead", extra={"approver": person.name})
        return False
    logger.info("mail sent", extra={"approver": person.name, "message_id": message_id})
    return True


def _published(context: ApprovalContext, link_for: Callable[[Approver | None], str]) -> list[str]:
    subject, text, _ = written(context, link_for(None))
    try:
        sns().publish(TopicArn=setting("APPROVAL_TOPIC_ARN"), Subject=subject, Message=text)
    except (ClientError, BotoCoreError):
        logger.exception("the topic did not take the request")
        return []
    return ["topic"]


def _posted(table: Table, slack: Slack, context: ApprovalContext, approval: Approval) -> list[str]:
    try:
        slack.post(table, context, approval)
    except (SlackApiError, SlackClientError, OSError):
        logger.exception("Slack did not take the request")
        return []
    return ["slack"]
