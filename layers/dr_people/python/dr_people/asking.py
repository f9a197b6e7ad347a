"""Asking people to decide, on every channel that the stack has: a mail to each approver, else the topic; and Slack. And again, in time."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from dr_core import flow
from dr_core.approval_rules import is_to_be_asked, is_waited_for
from dr_core.approvals import link_for, link_signer
from dr_core.aws import client
from dr_core.errors import OrchestratorError
from dr_core.events import Incoming
from dr_core.notes import Notes
from dr_core.observability import logger
from dr_core.records import Approval, Approver, Execution
from dr_core.settings import optional, setting
from dr_core.state import Table
from dr_core.triggers import Asked
from dr_people import mail
from dr_people.approval_context import ApprovalContext, read_context
from dr_people.approval_views import mail as written

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

    from dr_people.slack import Slack


class NobodyAskedError(OrchestratorError):
    """The request reached nobody, on no channel."""


@cache
def sns() -> "SNSClient":
    """The client, made once per environment."""
    return client("sns")


def slack_channel() -> "Slack | None":
    """The channel in Slack, if the stack was given one: only then its client is loaded."""
    if not optional("SLACK_CHANNEL"):
        return None
    from dr_people.slack import slack

    return slack()


Links = Callable[[Approver | None], str]


def links(execution: Execution, approval: Approval, now: datetime) -> Links:
    """Makes the links that are made out to one person, or to nobody, as the function's environment says."""
    seconds, page = int(setting("LINK_SECONDS")), setting("APPROVAL_PAGE_URL")
    signer = link_signer()
    return lambda one: link_for(execution, approval, signer, page, one.name if one else "", now=now, seconds=seconds)


class _Reminder(BaseModel):
    """What is read of the detail of `Approval Reminder`."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)

    event_id: str
    execution_id: str
    share: int
    layer: int = 0


def remind(table: Table, incoming: Incoming, clock: flow.Clock) -> None:
    """Ask those again who have not decided, and those of the escalation list when it is their turn; once for each event.

    Slack is told by whoever tells of the event. Raises NobodyAskedError: then the event is to come again.
    """
    due = _Reminder.model_validate(incoming.detail)
    state = table.load(due.execution_id)
    approval = state.approval if state else None
    if state is None or approval is None or not is_waited_for(state) or approval.layer != due.layer:
        logger.info("nothing to decide any more")
        return
    notes = Notes(due.execution_id, "reminder")
    if not notes.claim(due.event_id, clock()):
        logger.info("reminded before")
        return
    try:
        context = read_context(table, state.execution, approval)
        sent = ask(table, context, approval, links(state.execution, approval, clock()), None, due.share)
    except Exception:
        notes.give_back(due.event_id)
        raise
    notes.told(due.event_id, clock())
    logger.info("approvers reminded", extra={"sent": sent, "share": due.share})
    flow.follow(table, state, Asked(tuple(sent), due.share), clock)


def ask(table: Table, context: ApprovalContext, approval: Approval, link: Links, slack: "Slack | None", share: int = 0) -> list[str]:
    """Send the request to those who are to be asked when `share` % of the time are over. Gives the channels that took it: `mail: ann`.

    Each channel fails by itself; whom SES does not reach the topic tells. Raises NobodyAskedError when no channel took it. Nothing is
    sent where approvers are configured and none of them is left to be asked.
    """
    people = [one for one in approval.approvers if is_to_be_asked(approval, one, share)]
    over = share if approval.asked_at is not None else 0  # whoever asks for the first time, however late, reminds nobody
    sent = [f"mail: {one.name}" for one in people if one.email and _mailed(context, one, one.email, link, over)]
    if len(sent) < len(people) or not approval.approvers:
        sent += _published(context, link, over)
    if slack is not None:
        sent += slack.ask(table, context, approval)
    if not sent and (people or not approval.approvers):
        raise NobodyAskedError(f"nobody could be asked to decide on execution {context.execution_id}")
    return sent


def _mailed(context: ApprovalContext, person: Approver, address: str, link: Links, share: int) -> bool:
    """Whether SES took the person's own mail."""
    sender = optional("MAIL_SENDER")
    if not sender:
        return False
    subject, text, html = written(context, link(person), person.name, share=share, escalated=person.escalation)
    try:
        message_id = mail.send(sender, address, subject, text, html)
    except (ClientError, BotoCoreError):
        logger.exception("SES did not take the mail; the topic tells instead", extra={"approver": person.name})
        return False
    logger.info("mail sent", extra={"approver": person.name, "message_id": message_id})
    return True


def _published(context: ApprovalContext, link: Links, share: int) -> list[str]:
    subject, text, _ = written(context, link(None), share=share)
    try:
        sns().publish(TopicArn=setting("APPROVAL_TOPIC_ARN"), Subject=subject, Message=text)
    except (ClientError, BotoCoreError):
        logger.exception("the topic did not take the request")
        return []
    return ["topic"]
