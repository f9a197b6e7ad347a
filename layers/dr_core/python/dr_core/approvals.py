"""Deciding: the link that people get, what the page behind it answers, and the vote. Only a POST decides. What it looks like: dr_people."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3

from dr_core import flow
from dr_core.commands import NotAllowedError
from dr_core.links import BadLinkError, LinkSigner, LinkToken
from dr_core.observability import logger
from dr_core.records import Approval, Execution, State
from dr_core.settings import setting
from dr_core.state import Table
from dr_core.triggers import Vote

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


@dataclass(frozen=True)
class Response:
    """An answer of the page: HTTP status, title, and a sentence. With `signed` it is the request for approval of `execution_id` itself.

    `signed` is the link's token and `nonce` a number used once, which the form sends back. `approver`: whom the link is made out to; if
    nobody, the form asks for a name. `confirm`: what must be typed to approve, empty for nothing.
    """

    status: int
    title: str
    message: str = ""
    execution_id: str = ""
    signed: str = ""
    nonce: str = ""
    approver: str = ""
    confirm: str = ""


@cache
def link_signer() -> LinkSigner:
    """The signer with the stack's secret."""
    client: SecretsManagerClient = boto3.client("secretsmanager")
    return LinkSigner(client.get_secret_value(SecretId=setting("SIGNING_SECRET_ARN"))["SecretString"])


def link_for(execution: Execution, approval: Approval, signer: LinkSigner, base_url: str) -> str:
    """The link to the page on which `execution` is decided."""
    token = signer.sign(LinkToken(execution.id, approval.manifest_sha256, approval.expires_at))
    return f"{base_url.rstrip('/')}/?token={token}"


def respond(event: Mapping[str, Any], table: Table, signer: LinkSigner, clock: flow.Clock) -> Response:
    """Answer a request to the page: GET and HEAD show it and change nothing, POST decides.

    `event`: a Lambda function URL's, payload format 2.0.
    """
    method = event["requestContext"]["http"]["method"]
    form = _form(event) if method == "POST" else {}
    signed = form.get("token") if method == "POST" else (event.get("queryStringParameters") or {}).get("token")
    if method not in ("GET", "HEAD", "POST"):
        return Response(405, "Not allowed", f"{method} is not something this page does.")
    try:
        token = signer.read(signed or "", clock())
    except BadLinkError as error:
        return Response(403, "This link is not valid", f"{error}.")
    logger.append_keys(execution_id=token.execution_id)
    state = table.load(token.execution_id)
    approval = table.approval(token.execution_id)
    if state is None or approval is None:
        return Response(404, "Not found", "There is no such execution.")
    state = State(state.execution, state.layers, state.resources, approval)
    if method != "POST":
        execution = state.execution
        return Response(200, f"{execution.phase} of {execution.application}", execution_id=execution.id, signed=signed or "")
    return _decide(state, token, form, table, clock)


def _decide(state: State, token: LinkToken, form: Mapping[str, str], table: Table, clock: flow.Clock) -> Response:
    decision, approver = form.get("decision"), _typed(form.get("approver", ""), 100)
    if decision not in ("approve", "reject") or not approver:
        return Response(400, "Nothing was decided", "Choose approve or reject, and give your name.")
    plan = (state.approval.plan_sha256 if state.approval else None) or ""
    vote = Vote(decision == "approve", approver, _typed(form.get("reason", ""), 500), token.manifest_sha256, plan)
    try:
        moved = flow.follow(table, state, vote, clock)
    except NotAllowedError as error:
        return Response(409, "Nothing was decided", f"{error}.")
    if moved is None:
        return Response(409, "Nothing was decided", "Somebody else decided at this moment. Open the link again to see what.")
    word = "approved" if vote.approve else "rejected"
    return Response(200, f"You {word} it", f"{state.execution.phase} of {state.execution.application} is {word}.")


def _form(event: Mapping[str, Any]) -> dict[str, str]:
    """The fields of the form that was sent; none if it is not a form."""
    body = event.get("body") or ""
    try:
        if event.get("isBase64Encoded"):
            body = b64decode(body).decode("utf-8", errors="replace")
        return {key: values[0] for key, values in parse_qs(body, max_num_fields=20).items()}
    except ValueError:
        return {}


def _typed(text: str, limit: int) -> str:
    """What somebody typed, in any script: on one line, without what cannot be seen."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:limit].strip()
