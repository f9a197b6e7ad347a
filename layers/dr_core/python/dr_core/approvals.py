"""Deciding: the link that people get, what the page behind it answers, and the vote. Only a POST decides. What it looks like: dr_people."""

import hashlib
import re
import secrets
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hmac import compare_digest
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, quote, urlsplit

from dr_core import flow
from dr_core.approval_rules import approvals_of, person
from dr_core.approval_votes import Votes, published
from dr_core.commands import NotAllowedError
from dr_core.links import BadLinkError, FormToken, LinkSigner, LinkToken
from dr_core.observability import logger
from dr_core.phases import Phase
from dr_core.records import Approval, ApprovalStatus, Channel, Execution, ExecutionStatus
from dr_core.secret_store import Secret
from dr_core.settings import setting
from dr_core.state import Once, Table
from dr_core.triggers import Vote

LINK_SECONDS: Final = 3600
_FORM_SECONDS: Final = 1800
_COOKIE: Final = "approval"
_COOKIE_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{20,64}")
# The phases of which an approval asks for the application's name, typed.
_TYPED: Final = (Phase.ACTIVATE, Phase.CLEANUP)


@dataclass(frozen=True)
class Response:
    """An answer of the page: HTTP status, title, and a sentence. With `signed` it is the request for approval of `execution_id` itself.

    `signed` is the link's token and `nonce` a number used once, which the form sends back. `approver`: whom the link is made out to, or who
    has signed in; if nobody, the form asks for a name. `confirm`: what must be typed to approve, empty for nothing.
    `sign_in`: where to sign in before anything can be decided; `refusal`: why whoever has signed in cannot decide. With either there is no
    form. `cookies`: what the browser is to keep, as Set-Cookie headers. `location`: where the browser is sent instead.
    """

    status: int
    title: str
    message: str = ""
    execution_id: str = ""
    signed: str = ""
    nonce: str = ""
    approver: str = ""
    confirm: str = ""
    sign_in: str = ""
    refusal: str = ""
    cookies: tuple[str, ...] = ()
    location: str = ""


@dataclass(frozen=True)
class Identity:
    """Whom an OpenID provider names: its `subject`, and an e-mail address that it has verified, empty without one."""

    subject: str
    email: str = ""


class SignIn(Protocol):
    """A way to know who is on the page: see dr_people.sign_in."""

    def answer(self, event: Mapping[str, Any], signer: LinkSigner, now: datetime) -> Response | None:
        """The answer to a request that is about signing in; None to all others."""

    def who(self, event: Mapping[str, Any], signer: LinkSigner, now: datetime) -> Identity | None:
        """Whom the browser's session names; None if nobody is signed in."""


@cache
def _signing_secret() -> Secret:
    return Secret(setting("SIGNING_SECRET_ARN"))


def link_signer() -> LinkSigner:
    """The signer with the stack's keys, as they are now or were a minute ago."""
    return LinkSigner(_signing_secret().text(), lambda: _signing_secret().text(fresh=True))


def link_for(
    execution: Execution,
    approval: Approval,
    signer: LinkSigner,
    base_url: str,
    approver: str = "",
    *,
    now: datetime | None = None,
    seconds: float = LINK_SECONDS,
) -> str:
    """The link to the page on which `execution` is decided, made out to the approver of that name; where none is configured, to nobody.

    It is good for `seconds` from `now` on, and no longer than the approval; without `now` as long as that.
    """
    expires_at = approval.expires_at if now is None else min(approval.expires_at, now + timedelta(seconds=seconds))
    token = signer.sign(LinkToken(execution.id, approval.manifest_sha256, expires_at, approval.plan_sha256 or "", approver))
    return f"{base_url.rstrip('/')}/?token={token}"


def respond(
    event: Mapping[str, Any],
    table: Table,
    signer: LinkSigner,
    clock: flow.Clock,
    *,
    read_manifest: Callable[[str], bytes | None] = published,
    page_url: str = "",
    sign_in: SignIn | None = None,
) -> Response:
    """Answer a request to the page: GET and HEAD show it and change nothing, POST decides.

    `event`: a Lambda function URL's, payload format 2.0. `page_url`: where people reach the page, if not at the function's own URL.
    `sign_in`: with it only who has signed in decides.
    """
    method = event["requestContext"]["http"]["method"]
    if sign_in is not None and (answer := sign_in.answer(event, signer, clock())) is not None:
        return answer
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
    approval = table.approval_of(state) if state else None
    if state is None or approval is None:
        return Response(404, "Not found", "There is no such execution.")
    execution = state.execution
    if approval.layer and token.plan_sha256 != (approval.plan_sha256 or ""):
        return _outdated(execution, approval, token, table.approvals(execution.id))
    voter: _Voter | None = _voter(approval, token, form)
    if sign_in is not None:
        who = sign_in.who(event, signer, clock())
        voter = _signed_in(approval, token, who) if who is not None else None
    if method == "POST":
        if voter is None or voter.refusal:
            return Response(403, "Nothing was decided", f"{voter.refusal if voter else 'Sign in first: open the link again'}.")
        return _decide(event, execution, voter, token, form, Votes(table, clock, read_manifest), signer, page_url)
    if voter is None or voter.refusal:
        return Response(
            200,
            f"{execution.phase} of {execution.application}",
            execution_id=execution.id,
            signed=signed or "",
            sign_in=f"sign-in?token={quote(signed or '')}",
            refusal=voter.refusal if voter else "",
        )
    browser = _browser(event) or secrets.token_urlsafe(24)
    secure = "" if page_url.startswith("http://") else "; Secure"
    return Response(
        200,
        f"{execution.phase} of {execution.application}",
        execution_id=execution.id,
        signed=signed or "",
        nonce=signer.sign_form(FormToken(token.id, _digest(browser), clock() + timedelta(seconds=_FORM_SECONDS))),
        approver=voter.name,
        confirm=execution.application if execution.phase in _TYPED else "",
        cookies=(f"{_COOKIE}={browser}; Path=/; HttpOnly; SameSite=Strict; Max-Age={_FORM_SECONDS}{secure}",),
    )


@dataclass(frozen=True)
class _Voter:
    """Who would decide: as the channel knows them, by the name that the page shows; and why they may not, empty if they may try.

    `is_configured`: there are approvers, of whom they have to be one; who is none is told so by the vote.
    """

    channel: Channel
    identity: str
    name: str
    refusal: str = ""
    is_configured: bool = False


def _voter(approval: Approval, token: LinkToken, form: Mapping[str, str]) -> _Voter:
    """Where people are configured, they are who the link is made out to, whatever is typed."""
    typed = "" if approval.approvers else _typed(form.get("approver", ""), 100)
    return _Voter("page", token.approver or typed, token.approver, is_configured=bool(approval.approvers))


def _signed_in(approval: Approval, token: LinkToken, who: Identity) -> _Voter:
    """Whoever the provider names, if it is one of the approvers, and the one that the link is made out to."""
    called = who.email or who.subject
    if not approval.approvers:
        return _Voter("oidc", called, called)
    found = [(identity, person(approval, "oidc", identity)) for identity in (who.subject, who.email) if identity]
    for identity, name in found:
        if name is not None and token.approver in ("", name):
            return _Voter("oidc", identity, name)
    if any(name for _, name in found):
        return _Voter("oidc", called, called, f"This link is made out to {token.approver}, and you are signed in as {called}: use your own")
    return _Voter("oidc", called, called, f"You are signed in as {called}, who is not one of those who may decide on this")


def _outdated(execution: Execution, approval: Approval, token: LinkToken, approvals: Sequence[Approval]) -> Response:
    """The link is for a request before that of a layer: it says so, and shows nothing that it cannot decide."""
    meant = next((one for one in approvals if one.layer < approval.layer and (one.plan_sha256 or "") == token.plan_sha256), None)
    by = f" by {meant.approver}" if meant and meant.approver else ""
    became = f"is {meant.status}{by}" if meant else "is decided"
    waits = approval.status is ApprovalStatus.PENDING and execution.status is ExecutionStatus.PENDING_APPROVAL
    now = "waits" if waits else "has waited"
    what = f"{execution.phase} of {execution.application}"
    message = (
        f"The request that this link was made for {became}. {what} {now} before layer {approval.layer}: that request has a link of its own."
    )
    return Response(410, "This request is decided", message)


def _decide(
    event: Mapping[str, Any],
    execution: Execution,
    voter: _Voter,
    token: LinkToken,
    form: Mapping[str, str],
    votes: Votes,
    signer: LinkSigner,
    page_url: str,
) -> Response:
    try:
        _came_from_the_page(event, page_url)
        nonce = signer.read_form(form.get("nonce", ""), votes.clock())
        browser = _browser(event)
        if nonce.link_id != token.id or not browser or not compare_digest(nonce.browser, _digest(browser)):
            raise BadLinkError("this form was not made for you: open the link again, and let the page keep its cookie")
    except BadLinkError as error:
        return Response(403, "Nothing was decided", f"{error}.")
    decision = form.get("decision")
    if decision not in ("approve", "reject") or not (voter.identity or voter.is_configured):
        return Response(400, "Nothing was decided", "Choose approve or reject, and give your name.")
    typed = _typed(form.get("confirmation", ""), 100)
    if decision == "approve" and execution.phase in _TYPED and typed.casefold() != execution.application.casefold():
        return Response(
            400, "Nothing was decided", f"To approve {execution.phase}, type the name of the application: {execution.application}."
        )
    reason = _typed(form.get("reason", ""), 500)
    vote = Vote(decision == "approve", voter.identity, reason, token.manifest_sha256, token.plan_sha256, voter.channel)
    try:
        decided = votes.cast(execution.id, vote, (Once(f"link:{token.id}", token.expires_at), Once(f"form:{nonce.id}", nonce.expires_at)))
    except NotAllowedError as error:
        return Response(409, "Nothing was decided", f"{error}.")
    word, what = "approved" if vote.approve else "rejected", f"{execution.phase} of {execution.application}"
    if decided.status is ApprovalStatus.PENDING:
        return Response(200, f"You {word} it", f"{approvals_of(decided)} of {decided.quorum} people have approved {what}.")
    return Response(200, f"You {word} it", f"{what} is {word}.")


def _came_from_the_page(event: Mapping[str, Any], page_url: str) -> None:
    """Raises BadLinkError for a form that another site has sent: browsers say from where it comes."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    pages = {page_of(event), *([_origin(page_url)] if page_url else [])}
    if headers.get("origin") not in pages or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise BadLinkError("this form was sent from another site: open the link yourself")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def page_of(event: Mapping[str, Any], page_url: str = "") -> str:
    """Where people reach the page, without a slash at its end."""
    return (page_url or f"https://{event['requestContext'].get('domainName', '')}").rstrip("/")


def cookie_of(event: Mapping[str, Any], wanted: str) -> str:
    """What the browser's cookie of that name says, empty without one."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    given = event.get("cookies") or headers.get("cookie", "").split(";")
    return next((value for name, _, value in (one.strip().partition("=") for one in given) if name == wanted), "")


def _browser(event: Mapping[str, Any]) -> str:
    """What the page's cookie says, empty without one."""
    found = cookie_of(event, _COOKIE)
    return found if _COOKIE_VALUE.fullmatch(found) else ""


def _digest(browser: str) -> str:
    return hashlib.sha256(browser.encode()).hexdigest()


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
