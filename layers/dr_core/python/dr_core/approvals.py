"""Deciding: the link that people get, the answers of the page behind it, and the vote. Only a POST decides."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3

from dr_core import flow
from dr_core.approval_page import page, request_content, safe
from dr_core.commands import NotAllowedError
from dr_core.links import BadLinkError, LinkSigner, LinkToken
from dr_core.observability import logger
from dr_core.records import Approval, Execution, Resource, State
from dr_core.reports import ResourceReport, read_reports
from dr_core.settings import setting
from dr_core.state import Table
from dr_core.triggers import Vote

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# The page needs no script and no foreign resource: nothing runs, nothing is loaded, nobody frames it.
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Response:
    """An answer of the page: HTTP status and HTML."""

    status: int
    body: str

    def as_function_url(self) -> dict[str, object]:
        """The answer in the shape that a Lambda function URL takes."""
        return {"statusCode": self.status, "headers": HEADERS, "body": self.body}


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
        return _page(405, "Not allowed", f"<p>{safe(method)} is not something this page does.</p>")
    try:
        token = signer.read(signed or "", clock())
    except BadLinkError as error:
        return _page(403, "This link is not valid", f"<p>{safe(error)}.</p>")
    logger.append_keys(execution_id=token.execution_id)
    state = table.load(token.execution_id)
    approval = table.approval(token.execution_id)
    if state is None or approval is None:
        return _page(404, "Not found", "<p>There is no such execution.</p>")
    state = State(state.execution, state.layers, state.resources, approval)
    if method != "POST":
        reports = read_reports(table.preflights(token.execution_id))
        return _show(state, approval, table.resources(token.execution_id), reports, signed or "")
    return _decide(state, token, form, table, clock)


def _decide(state: State, token: LinkToken, form: Mapping[str, str], table: Table, clock: flow.Clock) -> Response:
    decision, approver = form.get("decision"), _typed(form.get("approver", ""), 100)
    if decision not in ("approve", "reject") or not approver:
        return _page(400, "Nothing was decided", "<p>Choose approve or reject, and give your name.</p>")
    vote = Vote(decision == "approve", approver, _typed(form.get("reason", ""), 500), token.manifest_sha256)
    try:
        moved = flow.follow(table, state, vote, clock)
    except NotAllowedError as error:
        return _page(409, "Nothing was decided", f"<p>{safe(error)}.</p>")
    if moved is None:
        return _page(409, "Nothing was decided", "<p>Somebody else decided at this moment. Open the link again to see what.</p>")
    word = "approved" if vote.approve else "rejected"
    return _page(200, f"You {word} it", f"<p>{safe(state.execution.phase)} of {safe(state.execution.application)} is {word}.</p>")


def _show(state: State, approval: Approval, resources: Sequence[Resource], reports: Sequence[ResourceReport], signed: str) -> Response:
    execution = state.execution
    return _page(200, f"{execution.phase} of {execution.application}", request_content(execution, approval, resources, reports, signed))


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


def _page(status: int, title: str, content: str) -> Response:
    return Response(status, page(title, content))
