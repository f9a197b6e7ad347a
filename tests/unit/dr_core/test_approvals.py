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
from dr_core.approval_plan import plan_digest
from dr_core.approvals import link_for, respond
from dr_core.links import LinkSigner, LinkToken
from dr_core.phases import Phase
from dr_core.records import Approval, ApprovalStatus, Approver
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
        self.headers = {"Origin": "https://page.example", "sec-fetch-site": "same-origin"}
        self.cookies: list[str] = []

    def event(self, method: str, token: object = TOKEN, **more: Any) -> dict[str, Any]:
        """The request as Lambda hands it over."""
        context = {"http": {"method": method}, "domainName": "page.example"}
        return {
            "requestContext": context,
            "headers": self.headers,
            "cookies": self.cookies,
            "queryStringParameters": {"token": token},
            **more,
        }

    def ask(self, method: str, token: object = TOKEN, **more: Any) -> Shown:
        """A request without a form."""
        said: Any = answer(respond(self.event(method, token, **more), self.cloud.table, SIGNER, self.cloud.clock), self.cloud.table)
        return Shown(said["statusCode"], said["body"], said["headers"])

    def open(self, token: str = TOKEN) -> str:
        """Open the link: keeps the cookie, and gives the form's nonce."""
        shown = respond(self.event("GET", token), self.cloud.table, SIGNER, self.cloud.clock)
        if shown.cookies:
            self.cookies = ["other=1", shown.cookies[0].partition(";")[0]]
        return shown.nonce

    def post(self, **form: str) -> Shown:
        """The link is opened and its form sent; it carries what is right unless it says otherwise."""
        token = form.get("token", TOKEN)
        return self.send(urlencode({"token": token, "nonce": self.open(token), "confirmation": "shop", **form}))

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


@pytest.mark.failure("A link scanner opens the approval link")
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
    right = {"token": TOKEN, "nonce": page.open(), "confirmation": " Shop"}
    body = urlencode({**right, "decision": decision, "approver": " Jörg\n李\u202e ", "reason": "seen & agreed"})
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
    load, stale = page.cloud.table.load, [state, state, state]
    monkeypatch.setattr(page.cloud.table, "load", lambda identity: stale.pop() if stale else load(identity))
    late = page.post(token=made_out_to(""), decision="reject", approver="bob")
    assert not stale and late.status == 409 and "already APPROVED by ann" in late.body


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


@pytest.mark.failure("The manifest changes after it was shown for approval")
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
        assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "same-origin"
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
    token = SIGNER.read(link.partition("=")[2], T0)
    assert token == LinkToken(ID, SHA, approval.expires_at, id=token.id) and len(token.id) >= 16


def test_a_link_is_good_for_an_hour_and_no_longer_than_the_approval() -> None:
    execution, late = an_execution(), an_approval(expires_at=T0 + timedelta(days=1), plan_sha256="p1")
    made = [SIGNER.read(link_for(execution, late, SIGNER, "https://p", "ann", now=T0, seconds=s).partition("=")[2], T0) for s in (60, 1e6)]
    assert [one.expires_at - T0 for one in made] == [timedelta(minutes=1), timedelta(days=1)]
    assert (made[0].approver, made[0].plan_sha256, made[0].id == made[1].id) == ("ann", "p1", False)


def test_a_form_of_another_site_decides_nothing(page: Page) -> None:
    nonce = page.open()
    with page.untouched():
        for headers in (
            {},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": "http://page.example"},
            {"origin": "https://page.example", "sec-fetch-site": "cross-site"},
            {"origin": "https://page.example", "sec-fetch-site": "same-site"},
        ):
            page.headers = headers
            said = page.send(urlencode({"token": TOKEN, "nonce": nonce, "confirmation": "shop", "decision": "approve", "approver": "ann"}))
            assert said.status == 403 and "another site" in said.body


def test_a_page_behind_an_address_of_its_own(page: Page) -> None:
    event = page.event("GET")
    shown = respond(event, page.cloud.table, SIGNER, page.cloud.clock, page_url="https://approve.example/x")
    assert "; Secure" in shown.cookies[0] and "SameSite=Strict" in shown.cookies[0] and "HttpOnly" in shown.cookies[0]
    local = respond(event, page.cloud.table, SIGNER, page.cloud.clock, page_url="http://127.0.0.1:4566/x")
    assert "Secure" not in local.cookies[0], "a browser would not send it back"
    page.headers, page.cookies = {"origin": "https://approve.example"}, [shown.cookies[0].partition(";")[0]]
    form = {"token": TOKEN, "nonce": shown.nonce, "confirmation": "shop", "decision": "approve", "approver": "ann"}
    sent = page.event("POST", body=urlencode(form))
    assert respond(sent, page.cloud.table, SIGNER, page.cloud.clock).status == 403
    assert respond(sent, page.cloud.table, SIGNER, page.cloud.clock, page_url="https://approve.example/x").status == 200


def test_a_form_is_for_the_browser_and_the_link_that_it_was_made_for(page: Page) -> None:
    other = SIGNER.sign(LinkToken(ID, SHA, T0 + timedelta(hours=1)))
    nonce = page.open()
    mine, form = page.cookies, {"decision": "approve", "approver": "ann"}
    with page.untouched():
        for cookies in ([], ["approval="], ["approval=" + "x" * 32], ["approval=../../etc"], ["other=" + "x" * 32]):
            page.cookies = cookies
            assert page.send(urlencode({**form, "token": TOKEN, "nonce": nonce, "confirmation": "shop"})).status == 403
        page.cookies = mine
        for wrong in ("", "x", TOKEN, page.open(other)):
            assert page.send(urlencode({**form, "token": TOKEN, "nonce": wrong, "confirmation": "shop"})).status == 403
        page.cloud.clock.advance(1800)
        assert page.send(urlencode({**form, "token": TOKEN, "nonce": nonce, "confirmation": "shop"})).status == 403
    page.cloud.clock.advance(-1)
    assert page.cookies == mine and page.send(urlencode({**form, "token": TOKEN, "nonce": nonce, "confirmation": "shop"})).status == 200


@pytest.mark.parametrize("phase", list(Phase))
def test_what_cannot_be_undone_is_typed_to_be_approved(cloud: Cloud, phase: Phase) -> None:
    assert cloud.table.create(an_execution(phase=phase), [a_layer()], [a_resource()], an_approval(), T0)
    page, asks = Page(cloud), phase in (Phase.ACTIVATE, Phase.CLEANUP)
    assert ('name="confirmation"' in page.ask("GET").body) is asks
    for typed in ("", "shopp", phase):
        said = page.post(decision="approve", approver="ann", confirmation=typed)
        if not asks:
            assert said.status == 200
            return
        assert said.status == 400 and page.approval.status is ApprovalStatus.PENDING
    assert page.post(decision="reject", approver="ann", confirmation="").status == 200


PEOPLE = (Approver("ann", email="ann@x.org"), Approver("bob", email="bob@x.org"))


def made_out_to(name: str, plan: str = "") -> str:
    return SIGNER.sign(LinkToken(ID, SHA, T0 + timedelta(hours=1), plan, name))


def test_a_link_is_its_approvers_and_good_for_one_vote(cloud: Cloud) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(quorum=2, approvers=PEOPLE), T0)
    page, anns = Page(cloud), made_out_to("ann")
    first = page.post(token=anns, decision="approve", approver="bob")
    assert first.status == 200 and "1 of 2 people have approved" in first.body
    assert [vote.approver for vote in page.approval.votes] == ["ann"], "not what is typed, but whom the link is made out to"
    with page.untouched():
        for decision in ("approve", "reject"):
            again = page.post(token=anns, decision=decision)
            assert again.status == 409 and "this link has been used before" in again.body
        assert "ann has approved this already" in page.post(token=made_out_to("ann"), decision="approve").body
        assert "not one of those who may decide" in page.post(decision="approve", approver="ann").body, "made out to nobody"
        assert "not one of those who may decide" in page.post(token=made_out_to("mallory"), decision="approve").body
    assert page.post(token=made_out_to("bob"), decision="approve").status == 200
    assert page.approval.approver == "ann, bob"


def test_a_link_is_for_the_plan_that_it_showed(cloud: Cloud) -> None:
    digest = plan_digest([a_resource()], [])
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(plan_sha256=digest), T0)
    page = Page(cloud)
    for other in ("", "f" * 64):
        assert "the plan is not the one that was shown" in page.post(token=made_out_to("", other), decision="approve", approver="ann").body
    assert page.post(token=made_out_to("", digest), decision="approve", approver="ann").status == 200


def test_a_decision_elsewhere_shows_on_the_page(page: Page) -> None:
    state = page.cloud.table.load(ID)
    assert state and flow.follow(page.cloud.table, state, Vote(True, "ann", "", SHA), page.cloud.clock)
    flow.advance(page.cloud.table, ID, page.cloud.clock)
    with page.untouched():
        answer = page.post(decision="reject", approver="bob")
    assert answer.status == 409 and "is RUNNING: there is nothing to decide" in answer.body
