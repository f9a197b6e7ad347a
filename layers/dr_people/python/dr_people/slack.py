"""Slack: what is posted, updated and asked there, with the bot's token, by Slack's own client."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from dr_core.observability import logger
from dr_core.records import Approval
from dr_core.secret_store import Secret
from dr_core.settings import optional, setting
from dr_core.state import Table
from dr_people.approval_context import ApprovalContext, read_context
from dr_people.slack_messages import message, without_buttons

_PATIENCE_SECONDS = 2  # Slack itself waits 3 s for our answer


class SlackSecret(BaseModel):
    """The secret's JSON, as the operator stores it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    bot_token: str = Field(alias="botToken")
    signing_secret: str = Field(alias="signingSecret", min_length=1)


@cache
def _stored() -> Secret:
    return Secret(setting("SLACK_SECRET_ARN"))


def secret() -> SlackSecret:
    """Token and signing secret, as they are now or were a minute ago."""
    return SlackSecret.model_validate_json(_stored().text())


@dataclass(frozen=True)
class Slack:
    """A channel of a workspace. Every call raises slack_sdk.errors.SlackApiError with Slack's own code when Slack refuses it."""

    client: WebClient
    channel: str

    def post(self, table: Table, context: ApprovalContext, approval: Approval) -> None:
        """Ask for the decision, once: a message that is there already is brought up to date."""
        if table.slack_message(context.execution_id, approval.layer):
            self.update(table, context.execution_id)
            return
        text, blocks = _message(context, approval)
        answer = self.client.chat_postMessage(channel=self.channel, text=text, blocks=blocks, unfurl_links=False, unfurl_media=False)
        table.keep_slack_message(context.execution_id, str(answer["channel"]), str(answer["ts"]), approval.layer)
        now = table.approval(context.execution_id)
        if now is not None and now.status is not approval.status:  # decided while it was posted: the event may have passed us by
            self.update(table, context.execution_id)

    def ask(self, table: Table, context: ApprovalContext, approval: Approval) -> list[str]:
        """The same for who asks on other channels too: what Slack does not take is logged. Gives the channel that took it."""
        try:
            self.post(table, context, approval)
        except (SlackApiError, SlackClientError, OSError):
            logger.exception("Slack did not take the request")
            return []
        return ["slack"]

    def update(self, table: Table, execution_id: str) -> None:
        """Bring the message up to date with the table: votes, and the outcome. Nothing happens if there is none."""
        state = table.load(execution_id)
        approval = table.approval_of(state) if state else None
        posted = table.slack_message(execution_id, approval.layer) if approval else None
        if posted is None or state is None or approval is None:
            return
        context = read_context(table, state.execution, approval)
        text, blocks = _message(context, approval)
        channel, timestamp = posted
        try:
            self.client.chat_update(channel=channel, ts=timestamp, text=text, blocks=blocks)
        except SlackApiError as error:
            if error.response.get("error") != "message_not_found":
                raise
            logger.warning("the message was deleted in Slack", extra={"channel": channel})

    def open_dialog(self, trigger_id: str, view: dict[str, Any]) -> None:
        """Show a dialog to who has just clicked; Slack takes it within 3 s of the click."""
        self.client.views_open(trigger_id=trigger_id, view=view)

    def whisper(self, channel: str, user: str, text: str) -> None:
        """Tell one person something in the channel."""
        self.client.chat_postEphemeral(channel=channel, user=user, text=text)


def can_decide(approval: Approval) -> bool:
    """Whether anybody may decide in Slack: who is not configured with a Slack id is a stranger there."""
    return any(one.slack_user_id for one in approval.approvers)


def _message(context: ApprovalContext, approval: Approval) -> tuple[str, list[dict[str, Any]]]:
    text, blocks = message(context)
    return text, blocks if can_decide(approval) else without_buttons(blocks)


@cache
def _client(token: str, base_url: str) -> WebClient:
    return WebClient(token=token, base_url=base_url, timeout=_PATIENCE_SECONDS)


def web_client() -> WebClient:
    """Slack's client, with the token as the secret holds it now."""
    return _client(secret().bot_token, setting("SLACK_API_URL"))


def slack() -> Slack | None:
    """The channel that the stack was given; None without one."""
    channel = optional("SLACK_CHANNEL")
    return Slack(web_client(), channel) if channel else None
