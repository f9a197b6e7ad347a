"""The approval page: looking at it decides nothing, however often; a POST with a good link and a name decides once."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr_core import flow
from dr_core.approvals import link_for, respond
from dr_core.links import LinkSigner, LinkToken
from dr_core.records import Approval, ApprovalStatus
from dr_core.triggers import Vote
from dr_people.approval_context import context_of
from dr_people.approval_views import answer, mail
from tests.support.control_plane import HOME, ID, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution

SIGNER = LinkSigner("the-secret")
TOKEN = SIGNER.sign(LinkToken(ID, SHA, T0 + timedelta(hours=1)))
FUZZ = settings(
    deadline=None, derandomize=True, database=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def page(cloud: Cloud) -> "Page":
    """The page, with one request that waits for its decision."""
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    return Page(cloud)


@dataclass(frozen=True)
class Shown:
    """What a browser gets."""

    status: int
    body: str
    headers: dict[str, str]


class Page:
    """The page as a browser sees it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def ask(self, method: str, token: object = TOKEN, **more: Any) -> Shown:
        """A request without a form."""
        event = {"requestContext": {"http": {"method": method}}, "queryStringParameters": {"token": token}, **more}
        said: Any = answer(respond(event, self.cloud.table, SIGNER, self.cloud.clock), self.cloud.table)
        return Shown(said["statusCode"], said["body"], said["headers"])

    def post(self, **form: str) -> Shown:
        """A form is sent; it carries a good link unless it says otherwise."""
        return self.send(urlencode({"token": TOKEN, **form}))

    def send(self, body: object, encoded: bool = False) -> Shown:
        """Whatever stands in a POST."""
        return self.ask("POST", body=body, isBase64Encoded=encoded)

    @property
    def approval(self) -> Approval:
        """What has been decided."""
        found = self.cloud.table.approval(ID)
        assert found
        return found

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Nothing is written here: not even the same again."""
        before = self.cloud.items()
        self.cloud.calls.clear()
        yield
        assert {call.operation for call in self.cloud.calls} <= {"GetItem", "Query"}
        assert self.cloud.items() == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "post"])
def test_only_a_post_decides(page: Page, method: str) -> None:
    form = urlencode({"token": TOKEN, "decision": "approve", "approver": "scanner"})
    with page.untouched():
        for _ in range(100 if method == "GET" else 3):
            asked = page.ask(method, body=form, queryStringParameters={"token": TOKEN, "decision": "approve", "approver": "scanner"})
    assert asked.status == (200 if method in ("GET", "HEAD") else 405)
    assert page.approval.status is ApprovalStatus.PENDING


def test_the_page_shows_what_is_decided(page: Page) -> None:
    shown = page.ask("GET").body
    for fact in ("shop", "ACTIVATE", "planned", HOME, "us-east-1", "olga (as stated in the request, not verified)", "Region down", ID, SHA):
        assert fact in shown
    assert '<strong>lamp-1</strong> <span class="quiet">Lamp, account 123456789012</span>' in shown and "<h3>Layer 1</h3>" in shown
    assert f'name="token" value="{TOKEN}"' in shown and "2031-03-01 13:00:00Z" in shown
    assert "<script" not in shown and "http" not in shown, "it needs nothing from elsewhere"


@pytest.mark.parametrize(("decision", "status", "event"), [("approve", "APPROVED", "Granted"), ("reject", "REJECTED", "Rejected")])
@pytest.mark.parametrize("encoded", [False, True])
def test_a_post_decides(page: Page, decision: str, status: str, event: str, encoded: bool) -> None:
    body = urlencode({"token": TOKEN, "decision": decision, "approver": " Jörg\n李\u202e ", "reason": "seen & agreed"})
    answer = page.send(b64encode(body.encode()).decode() if encoded else body, encoded)
    assert answer.status == 200 and f"You {status.lower()} it" in answer.body
    assert (page.approval.status, page.approval.approver, page.approval.reason) == (status, "Jörg 李", "seen & agreed")
    assert page.approval.decided_at == T0 and page.approval.due_at is None
    assert page.cloud.events()[-1] == f"Approval {event}"


def test_a_decision_stands(page: Page) -> None:
    page.post(decision="approve", approver="ann")
    with page.untouched():
        for decision in ("approve", "reject"):
            again = page.post(decision=decision, approver="bob")
            assert again.status == 409 and "already APPROVED by ann" in again.body
        assert "already APPROVED by ann" in page.ask("GET").body and "<form" not in page.ask("GET").body


def test_of_two_who_decide_at_once_one_does(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    state = page.cloud.table.load(ID)
    assert state and page.post(decision="approve", approver="ann").status == 200
    monkeypatch.setattr(page.cloud.table, "load", lambda _: state)
    monkeypatch.setattr(page.cloud.table, "approval", lambda _: state.approval)
    late = page.post(decision="reject", approver="bob")
    monkeypatch.undo()
    assert late.status == 409 and "Somebody else decided at this moment" in late.body


@pytest.mark.parametrize(
    "form",
    [
        {"decision": "approve"},
        {"decision": "approve", "approver": ""},
        {"decision": "approve", "approver": " \t\u200b "},
        {"approver": "ann"},
        {"decision": "", "approver": "ann"},
        {"decision": "Approve", "approver": "ann"},
        {"decision": "approved", "approver": "ann"},
    ],
)
def test_without_a_name_and_a_choice_nothing_is_decided(page: Page, form: dict[str, str]) -> None:
    with page.untouched():
        assert page.post(**form).status == 400


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        TOKEN[:-4] + "AAAA",
        "A" + TOKEN[1:],
        LinkSigner("another-secret").sign(LinkToken(ID, SHA, T0 + timedelta(hours=1))),
        SIGNER.sign(LinkToken(ID, SHA, T0)),
    ],
    ids=["none", "forged", "altered signature", "altered content", "foreign", "expired"],
)
def test_without_a_good_link_there_is_no_page(page: Page, token: str) -> None:
    with page.untouched():
        for answer in (page.ask("GET", token), page.ask("HEAD", token), page.post(token=token, decision="approve", approver="ann")):
            assert answer.status == 403 and "shop" not in answer.body and "olga" not in answer.body


def test_the_link_of_the_query_does_not_count_for_a_post(page: Page) -> None:
    with page.untouched():
        assert page.send(urlencode({"decision": "approve", "approver": "ann"})).status == 403
        assert page.ask("GET", queryStringParameters=None).status == 403


def test_a_vote_is_for_the_manifest_that_was_shown(page: Page) -> None:
    other = SIGNER.sign(LinkToken(ID, "other", T0 + timedelta(hours=1)))
    with page.untouched():
        answer = page.post(token=other, decision="approve", approver="ann")
    assert answer.status == 409 and "the manifest is not the one that was shown" in answer.body


def test_too_late_is_too_late(page: Page) -> None:
    longer = SIGNER.sign(LinkToken(ID, SHA, T0 + timedelta(days=1)))
    page.cloud.clock.now = T0 + timedelta(hours=1)
    with page.untouched():
        assert page.post(decision="approve", approver="ann").status == 403
        answer = page.post(token=longer, decision="approve", approver="ann")
    assert answer.status == 409 and "expired at 2031-03-01 13:00:00Z" in answer.body


def test_an_execution_that_is_not_there_is_not_found(page: Page) -> None:
    gone = SIGNER.sign(LinkToken("01NO", SHA, T0 + timedelta(hours=1)))
    assert (page.ask("GET", gone).status, page.post(token=gone, decision="approve", approver="ann").status) == (404, 404)


EVIL = "<script>alert('\"x\"')</script>&$title${content}"


def test_what_people_wrote_is_text_and_never_html(cloud: Cloud) -> None:
    execution = an_execution(requested_by=EVIL, reason=EVIL)
    assert cloud.table.create(execution, [a_layer()], [a_resource(name=EVIL, module=EVIL)], an_approval(), T0)
    page = Page(cloud)
    shown = [page.ask("GET"), page.ask("<svg/onload=1>"), page.post(decision="reject", approver=EVIL, reason=EVIL), page.ask("GET")]
    assert all("<script" not in answer.body and "<svg" not in answer.body for answer in shown)
    escaped = "&lt;script&gt;alert(&#39;&#34;x&#34;&#39;)&lt;/script&gt;&amp;$title${content}"
    assert shown[0].body.count(escaped) == 4
    assert f"already REJECTED by {escaped}" in shown[3].body


def test_every_answer_is_shut_in(page: Page) -> None:
    for shown in (page.ask("GET"), page.ask("PUT"), page.ask("GET", "x"), page.post(decision="approve", approver="ann")):
        headers = shown.headers
        assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Content-Type"] == "text/html; charset=utf-8"
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert (policy["default-src"], policy["frame-ancestors"], policy["form-action"]) == ("'none'", "'none'", "'self'")
        assert "script-src" not in policy


def test_no_body_and_no_token_make_it_fail_or_vote(page: Page) -> None:
    tokens = st.text() | st.text(TOKEN) | st.text("\ud800.") | st.none()
    choices = st.fixed_dictionaries({"decision": st.just("approve"), "approver": st.just("ann"), "token": st.text() | st.text(TOKEN)})
    forms = st.binary().map(lambda body: body.decode("latin-1")) | choices.map(urlencode) | st.text(alphabet="&=%;a") | st.none()

    @FUZZ
    @given(forms, st.booleans(), tokens)
    def fuzz(body: str | None, encoded: bool, token: str | None) -> None:
        assert page.send(body, encoded).status == 403
        assert page.ask("GET", token).status == 403

    with page.untouched():
        fuzz()


@pytest.mark.parametrize("body", [urlencode({str(n): "x" for n in range(500)}), "&" * 5000, "%ff" * 999, "=" * 999, quote("🜁" * 999)])
def test_a_form_that_is_none_is_no_vote(page: Page, body: str) -> None:
    with page.untouched():
        assert page.send(body).status == 403
        assert page.send(body, encoded=True).status == 403


def test_the_message_says_what_is_asked_and_where(page: Page) -> None:
    execution, approval = an_execution(requested_by="olga\nBcc: eve", application="s" * 64), an_approval()
    link = link_for(execution, approval, SIGNER, "https://page.example/decide/")
    subject, text, _ = mail(context_of(execution, approval, [a_resource(1, 1), a_resource(2, 1)], []), link)
    assert len(subject) < 100 and subject.startswith("Approval needed: ACTIVATE of ssss") and subject.isprintable()
    assert link in text.splitlines() and "opening the link decides nothing" in text
    assert "  layer 2: lamp-1 (Lamp, account 123456789012)" in text.splitlines()
    assert link.startswith("https://page.example/decide/?token=")
    assert SIGNER.read(link.partition("=")[2], T0) == LinkToken(ID, SHA, approval.expires_at)


def test_a_decision_elsewhere_shows_on_the_page(page: Page) -> None:
    state = page.cloud.table.load(ID)
    assert state and flow.follow(page.cloud.table, state, Vote(True, "ann", "", SHA), page.cloud.clock)
    flow.advance(page.cloud.table, ID, page.cloud.clock)
    with page.untouched():
        answer = page.post(decision="reject", approver="bob")
    assert answer.status == 409 and "is RUNNING: there is nothing to decide" in answer.body
