"""Asking people: the request that goes out, the page behind its link, and the vote. Only a POST decides."""

import html
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3

from dr_core import flow
from dr_core.commands import NotAllowedError
from dr_core.events import printable
from dr_core.links import BadLinkError, LinkSigner, LinkToken
from dr_core.observability import logger
from dr_core.records import Approval, ApprovalStatus, Execution, Resource, State
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


def request_text(execution: Execution, approval: Approval, resources: Sequence[Resource], link: str) -> tuple[str, str]:
    """Subject and body of the message that asks for a decision; plain text, as SNS sends it to mail."""
    title = f"{execution.phase} of {execution.application} in {execution.target_region} ({execution.mode})"
    lines = [
        f"{title} waits for your decision.",
        "",
        f"Requested by: {execution.requested_by} (as stated in the request, not verified)",
        f"Reason:       {execution.reason}",
        f"Execution:    {execution.id}",
        f"Manifest:     {execution.manifest_sha256[:16]} (SHA-256)",
        f"Expires:      {approval.expires_at:%Y-%m-%d %H:%M:%SZ}",
        "",
        *(f"  layer {resource.layer}: {resource.name} ({resource.module}, account {resource.account})" for resource in resources),
        "",
        "Look at it, and approve or reject it, here (opening the link decides nothing):",
        link,
    ]
    return printable(f"Approval needed: {title}", 99), "\n".join(lines)


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
        return _page(405, "Not allowed", f"<p>{_safe(method)} is not something this page does.</p>")
    try:
        token = signer.read(signed or "", clock())
    except BadLinkError as error:
        return _page(403, "This link is not valid", f"<p>{_safe(error)}.</p>")
    logger.append_keys(execution_id=token.execution_id)
    state = table.load(token.execution_id)
    approval = table.approval(token.execution_id)
    if state is None or approval is None:
        return _page(404, "Not found", "<p>There is no such execution.</p>")
    state = State(state.execution, state.layers, state.resources, approval)
    if method != "POST":
        return _show(state, approval, table.resources(token.execution_id), signed or "")
    return _decide(state, token, form, table, clock)


def _decide(state: State, token: LinkToken, form: Mapping[str, str], table: Table, clock: flow.Clock) -> Response:
    decision, approver = form.get("decision"), _typed(form.get("approver", ""), 100)
    if decision not in ("approve", "reject") or not approver:
        return _page(400, "Nothing was decided", "<p>Choose approve or reject, and give your name.</p>")
    vote = Vote(decision == "approve", approver, _typed(form.get("reason", ""), 500), token.manifest_sha256)
    try:
        moved = flow.follow(table, state, vote, clock)
    except NotAllowedError as error:
        return _page(409, "Nothing was decided", f"<p>{_safe(error)}.</p>")
    if moved is None:
        return _page(409, "Nothing was decided", "<p>Somebody else decided at this moment. Open the link again to see what.</p>")
    word = "approved" if vote.approve else "rejected"
    return _page(200, f"You {word} it", f"<p>{_safe(state.execution.phase)} of {_safe(state.execution.application)} is {word}.</p>")


def _show(state: State, approval: Approval, resources: Sequence[Resource], signed: str) -> Response:
    execution = state.execution
    rows = "".join(
        f"<tr><td>{r.layer}</td><td>{_safe(r.name)}</td><td>{_safe(r.module)}</td><td>{_safe(r.account)}</td></tr>" for r in resources
    )
    facts = {
        "Application": execution.application,
        "Phase": execution.phase,
        "Mode": execution.mode,
        "Acts on": execution.target_region,
        "Other Region": execution.source_region,
        "Requested by": f"{execution.requested_by} (as stated in the request, not verified)",
        "Reason": execution.reason,
        "Execution": execution.id,
        "Manifest (SHA-256)": approval.manifest_sha256,
        "Expires": f"{approval.expires_at:%Y-%m-%d %H:%M:%SZ}",
    }
    shown = "".join(f"<dt>{_safe(key)}</dt><dd>{_safe(value)}</dd>" for key, value in facts.items())
    if approval.status is ApprovalStatus.PENDING:
        ending = _FORM.substitute(token=_safe(signed))
    else:
        by = f" by {_safe(approval.approver)}" if approval.approver else ""
        ending = f"<p><strong>This request is already {_safe(approval.status)}{by}.</strong></p>"
    table_of = f"<table><tr><th>Layer</th><th>Resource</th><th>Module</th><th>Account</th></tr>{rows}</table>"
    return _page(200, f"{execution.phase} of {execution.application}", f"<dl>{shown}</dl>{table_of}{ending}")


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


def _safe(value: object) -> str:
    return html.escape(str(value), quote=True)


_FORM = Template(
    '<form method="post"><input type="hidden" name="token" value="$token">'
    '<label>Your name <input name="approver" required maxlength="100"></label>'
    '<label>Reason <input name="reason" maxlength="500"></label>'
    '<p><button name="decision" value="approve">Approve</button> <button name="decision" value="reject">Reject</button></p></form>'
)

_PAGE = Template(
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>$title</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #999;padding:.2rem .6rem;text-align:left}"
    "label{display:block;margin:.5rem 0}button{font:inherit;padding:.4rem 1.2rem}</style></head>"
    "<body><h1>$title</h1>$content</body></html>"
)


def _page(status: int, title: str, content: str) -> Response:
    return Response(status, _PAGE.substitute(title=_safe(title), content=content))
