"""What people do with the message in Slack: a click opens the dialog, the dialog casts the vote.

A request counts if Slack signed its raw body in the last 300 s, and once: https://docs.slack.dev/authentication/verifying-requests-from-slack
Whatever else comes is answered with 4xx and changes nothing.
"""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, Json, TypeAdapter, ValidationError
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.signature import Clock, SignatureVerifier

from dr_core.approval_rules import person
from dr_core.approval_votes import Votes
from dr_core.commands import NotAllowedError
from dr_core.flow import Clock as Now
from dr_core.observability import logger
from dr_core.records import Approval, ApprovalStatus
from dr_core.state import Table
from dr_core.triggers import Vote
from dr_people.approval_context import ApprovalContext, load_request
from dr_people.slack import Slack
from dr_people.slack_messages import DIALOG, confirmation_of, dialog, notice

_REPLAY_SECONDS = 600  # a signature is good for 300 s before and after its time


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _User(_Model):
    id: str = Field(min_length=1, max_length=64)


class _Channel(_Model):
    id: str = Field(min_length=1, max_length=64)


class _Shown(_Model):
    """What the message asked about: the button's value."""

    execution: str = Field(min_length=1, max_length=64)
    manifest: str = Field(max_length=128)
    plan: str = Field(max_length=128)


class _Held(_Shown):
    """What the dialog keeps from the click to the submission."""

    decision: Literal["approve", "reject"]
    channel: str = Field(max_length=64)


class _Action(_Model):
    action_id: Literal["approve", "reject"]
    value: Json[_Shown]


class _Click(_Model):
    type: Literal["block_actions"]
    user: _User
    channel: _Channel
    trigger_id: str = Field(min_length=1, max_length=256)
    actions: tuple[_Action, ...] = Field(min_length=1, max_length=1)


class _Typed(_Model):
    value: str | None = Field(None, max_length=3000)


class _Values(_Model):
    values: dict[str, dict[str, _Typed]]

    def typed(self, name: str) -> str:
        return " ".join((self.values.get(name, {}).get(name, _Typed()).value or "").split())


class _View(_Model):
    callback_id: Literal["decide"]
    private_metadata: Json[_Held]
    state: _Values


class _Submission(_Model):
    type: Literal["view_submission"]
    user: _User
    view: _View


_PAYLOAD: TypeAdapter[_Click | _Submission] = TypeAdapter(Annotated[_Click | _Submission, Field(discriminator="type")])
assert DIALOG == "decide"


@dataclass
class _At(Clock):
    """The verifier's clock: ours."""

    moment: datetime

    def now(self) -> float:
        return self.moment.timestamp()


def is_signed(body: bytes, headers: Mapping[str, str], signing_secret: str, now: datetime) -> bool:
    """Whether Slack signed this very body in the last 300 s. Garbage in the headers is no signature."""
    try:
        return SignatureVerifier(signing_secret, _At(now)).is_valid_request(body, headers)
    except (ValueError, TypeError):  # a timestamp that is no number, a body or a signature that is no text
        return False


@dataclass(frozen=True)
class Interactions:
    """Answers Slack's requests. Each answer is a Lambda function URL's."""

    table: Table
    votes: Votes
    slack: Slack
    signing_secret: str
    clock: Now

    def answer(self, event: Mapping[str, Any]) -> dict[str, object]:
        """Answer one request, in the shape of a function URL's, payload format 2.0."""
        if event["requestContext"]["http"]["method"] != "POST":
            return _answer(405)
        body, headers = _body(event), event.get("headers") or {}
        if body is None or not is_signed(body, headers, self.signing_secret, self.clock()):
            logger.warning("not signed by Slack")
            return _answer(401)
        try:
            payload = _PAYLOAD.validate_json(parse_qs(body.decode(), max_num_fields=10)["payload"][0])
        except (ValidationError, KeyError, ValueError):
            logger.warning("not a request that we asked Slack for")
            return _answer(400)
        signature = next(value for name, value in headers.items() if name.lower() == "x-slack-signature")
        if not self.table.use_once(f"slack-{sha256(signature.encode()).hexdigest()}", self.clock(), _REPLAY_SECONDS):
            logger.warning("a request of Slack came twice")
            return _answer(409)
        try:
            return self._clicked(payload) if isinstance(payload, _Click) else self._submitted(payload)
        except (SlackApiError, SlackClientError, OSError) as error:
            # Slack tells who clicked that it did not work; nothing has been decided.
            logger.exception("Slack did not take our answer", extra={"error_type": type(error).__name__})
            return _answer(424)

    def _clicked(self, click: _Click) -> dict[str, object]:
        """Open the dialog; who may not decide is told so, and nobody else sees it."""
        (action,) = click.actions
        found = load_request(self.table, action.value.execution)
        refusal = _refusal(found, action.value, click.user.id)
        if found is None or refusal:
            self.slack.whisper(click.channel.id, click.user.id, refusal)
        else:
            self.slack.open_dialog(click.trigger_id, dialog(found[0], action.action_id, click.channel.id))
        return _answer(200)

    def _submitted(self, submission: _Submission) -> dict[str, object]:
        """Cast the vote. What came of it stands in the dialog."""
        held, user = submission.view.private_metadata, submission.user.id
        found = load_request(self.table, held.execution)
        refusal = _refusal(found, held, user)
        if found is None or refusal:
            return _updated(notice("Nothing was decided", refusal))
        context, _ = found
        wanted, reason = confirmation_of(context, held.decision), submission.view.state.typed("reason")
        errors = {}
        if wanted and submission.view.state.typed("confirmation") != wanted:
            errors["confirmation"] = f"Type {wanted}, as it is spelt"
        if held.decision == "reject" and not reason:
            errors["reason"] = "Say why"
        if errors:
            return _answer(200, {"response_action": "errors", "errors": errors})
        vote = Vote(held.decision == "approve", user, reason[:500], held.manifest, held.plan, "slack")
        try:
            now = self.votes.cast(held.execution, vote)
        except NotAllowedError as error:
            return _updated(notice("Nothing was decided", f"{error}."))
        return _updated(notice("Your vote counts", _said(context, now)))


def _refusal(found: tuple[ApprovalContext, Approval] | None, shown: _Shown, user: str) -> str:
    """Why this person cannot decide on what they were shown; empty if they can."""
    if found is None:
        return "There is no such request."
    context, approval = found
    if not approval.approvers or person(approval, "slack", user) is None:
        return "You are not one of those who may decide on this in Slack: no approver of the application has your member ID."
    if not context.is_open:
        return f"This request {context.decided}."
    if (shown.manifest, shown.plan) != (context.manifest_sha256, context.plan_sha256):
        return "This message is not about what would run now: decide on the newest one."
    return ""


def _said(context: ApprovalContext, now: Approval) -> str:
    if now.status is ApprovalStatus.PENDING:
        so_far = sum(one.approve for one in now.votes)
        return f"{context.title}: {so_far} of {now.quorum} approvals. It waits for more."
    return f"{context.title} is {now.status.lower()}."


def _body(event: Mapping[str, Any]) -> bytes | None:
    """The body as it was sent, byte for byte; None if it cannot be told."""
    body = event.get("body") or ""
    try:
        return b64decode(body, validate=True) if event.get("isBase64Encoded") else str(body).encode()
    except ValueError:
        return None


def _updated(view: dict[str, Any]) -> dict[str, object]:
    return _answer(200, {"response_action": "update", "view": view})


def _answer(status: int, document: dict[str, Any] | None = None) -> dict[str, object]:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(document) if document else ""}
