"""Signing in to the approval page: who the provider names decides, and nobody else; what comes back from it is believed in nothing."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import boto3
import pytest
import urllib3
from joserfc import jwt
from joserfc.jwk import OctKey

from dr_core.approvals import link_for, respond
from dr_core.links import LinkSigner
from dr_core.records import Approval, ApprovalStatus, Approver
from dr_people.approval_views import answer
from dr_people.sign_in import ATTEMPT_SECONDS, SESSION_SECONDS, SignIn
from tests.support import deployed
from tests.support.control_plane import ID, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.identity_provider import CLIENT_ID, CLIENT_SECRET, Provider, rsa_key, running
from tests.support.state_table import TEMPLATE

SIGNER = LinkSigner("the-secret")
PAGE = "https://page.example"
ANN, BOB = Approver("ann", subject="oidc-ann"), Approver("bob", "bob@example.com")
AS_BOB = {"sub": "oidc-bob", "email": "Bob@Example.com", "email_verified": True}


@pytest.fixture
def provider(cloud: Cloud, socket_enabled: None) -> Iterator[Provider]:
    """A provider that knows the page, and at which ann is signed in."""
    with running(lambda: cloud.clock().timestamp(), f"{PAGE}/signed-in") as made:
        yield made


@dataclass
class Browser:
    """Somebody's browser, which keeps cookies as it is told to."""

    cloud: Cloud
    provider: Provider
    sign_in: SignIn
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookies: list[str] = field(default_factory=list)

    def ask(self, method: str, address: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        """One request to the page."""
        parts = urlsplit(address)
        event = {
            "rawPath": parts.path or "/",
            "requestContext": {"http": {"method": method}, "domainName": "page.example"},
            "headers": {"origin": PAGE},
            "cookies": [f"{name}={value}" for name, value in self.cookies.items()],
            "queryStringParameters": dict(parse_qsl(parts.query)),
            "body": urlencode(form or {}),
        }
        table, clock = self.cloud.table, self.cloud.clock
        said: Any = answer(respond(event, table, SIGNER, clock, read_manifest=lambda _: None, sign_in=self.sign_in), table)
        for cookie in said.get("cookies", ()):
            self.set_cookies.append(cookie)
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return dict(said)

    def begin(self, link: str) -> str:
        """From the page to the provider; where that sends the browser back to."""
        sent = self.ask("GET", f"{PAGE}/sign-in?{urlsplit(link).query}")
        assert sent["statusCode"] == 302, sent["body"]
        back = urllib3.request("GET", sent["headers"]["Location"], redirect=False, retries=False)
        assert back.status == 302, back.data
        return str(back.headers["Location"])

    def signs_in(self, link: str) -> dict[str, Any]:
        """There and back; what the page says at last."""
        back = self.ask("GET", self.begin(link))
        return self.ask("GET", back["headers"]["Location"]) if back["statusCode"] == 302 else back

    def decides(self, link: str, decision: str = "approve") -> dict[str, Any]:
        """Open the page and send its form."""
        shown = self.ask("GET", link)["body"]
        nonce = shown.partition('name="nonce" value="')[2].partition('"')[0]
        token = dict(parse_qsl(urlsplit(link).query))["token"]
        return self.ask("POST", PAGE, {"token": token, "nonce": nonce, "decision": decision, "confirmation": "shop", "reason": "seen"})


def requested(cloud: Cloud, *approvers: Approver, made_out_to: str = "", **approval: Any) -> str:
    """An ACTIVATE that waits; the link to its page."""
    execution = an_execution()
    stored = an_approval(approvers=approvers, **approval)
    assert cloud.table.create(execution, [a_layer()], [a_resource()], stored, T0)
    return link_for(execution, stored, SIGNER, PAGE, made_out_to)


def approval_of(cloud: Cloud) -> Approval:
    found = cloud.table.approval(ID)
    assert found
    return found


@pytest.fixture
def browser(cloud: Cloud, provider: Provider) -> Browser:
    return Browser(cloud, provider, SignIn(provider.url, CLIENT_ID, lambda: CLIENT_SECRET))


def test_who_signs_in_decides_as_whom_the_provider_names(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, ANN, BOB, made_out_to="ann")
    shown = browser.signs_in(link)
    assert shown["statusCode"] == 200 and "You decide as <strong>ann</strong>" in shown["body"]
    assert approval_of(cloud).votes == (), "signing in decides nothing"
    assert browser.decides(link)["statusCode"] == 200
    (vote,) = approval_of(cloud).votes
    assert (vote.approver, vote.channel, vote.identity, approval_of(cloud).status) == ("ann", "oidc", "oidc-ann", ApprovalStatus.APPROVED)


def test_without_signing_in_the_page_shows_the_request_and_takes_no_decision(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, ANN, made_out_to="ann")
    before = cloud.items()
    shown = browser.ask("GET", link)
    assert shown["statusCode"] == 200 and "ACTIVATE of shop" in shown["body"] and 'href="sign-in?token=' in shown["body"]
    assert "<form" not in shown["body"] and "cookies" not in shown
    refused = browser.decides(link)
    assert refused["statusCode"] == 403 and "Sign in first" in refused["body"]
    assert cloud.items() == before


def test_a_form_of_who_is_signed_out_meanwhile_decides_nothing(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, ANN)
    browser.signs_in(link)
    shown = browser.ask("GET", link)["body"]
    nonce = shown.partition('name="nonce" value="')[2].partition('"')[0]
    token = dict(parse_qsl(urlsplit(link).query))["token"]
    form = {"token": token, "nonce": nonce, "decision": "approve", "confirmation": "shop"}
    session = browser.cookies.pop("__Host-session")
    assert browser.ask("POST", PAGE, form)["statusCode"] == 403 and approval_of(cloud).votes == ()
    browser.cookies["__Host-session"] = session
    assert browser.ask("POST", PAGE, form)["statusCode"] == 200


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (AS_BOB, "This link is made out to ann, and you are signed in as Bob@Example.com: use your own"),
        (
            {"sub": "oidc-eve", "email": "eve@example.com", "email_verified": True},
            "eve@example.com, who is not one of those who may decide",
        ),
        ({"sub": "oidc-bob", "email": "ann@example.com"}, "oidc-bob, who is not one of those"),
    ],
)
def test_a_link_is_of_no_use_to_anybody_else(cloud: Cloud, browser: Browser, who: dict[str, Any], why: str) -> None:
    link = requested(cloud, ANN, BOB, made_out_to="ann")
    browser.provider.who = who
    before = cloud.items()
    shown = browser.signs_in(link)
    assert why in shown["body"] and "<form" not in shown["body"] and "sign in as somebody else" in shown["body"]
    refused = browser.decides(link)
    assert refused["statusCode"] == 403 and why in refused["body"] and cloud.items() == before


def test_a_link_that_is_made_out_to_nobody_is_for_every_approver_who_signs_in(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, ANN, BOB)
    browser.provider.who = AS_BOB
    browser.signs_in(link)
    assert browser.decides(link)["statusCode"] == 200
    (vote,) = approval_of(cloud).votes
    assert (vote.approver, vote.identity) == ("bob", "Bob@Example.com")


def test_an_address_that_the_provider_has_not_verified_names_nobody(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, BOB)
    browser.provider.who = {**AS_BOB, "email_verified": False}
    assert "oidc-bob, who is not one of those" in browser.signs_in(link)["body"]


def test_where_nobody_is_configured_whoever_signs_in_decides_in_their_own_name(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud)
    browser.signs_in(link)
    assert browser.decides(link, "reject")["statusCode"] == 200
    (vote,) = approval_of(cloud).votes
    assert (vote.approver, vote.channel) == ("ann@example.com", "oidc")


def test_who_asked_does_not_approve_by_signing_in(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, ANN, BOB, requester="oidc-ann")
    browser.signs_in(link)
    refused = browser.decides(link)
    assert refused["statusCode"] == 409 and "ann asked for this" in refused["body"]


def test_what_the_provider_is_asked_and_what_the_browser_keeps(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, ANN)
    browser.signs_in(link)
    (asked,) = browser.provider.attempts
    assert asked["redirect_uri"] == "https://page.example/signed-in" and asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) >= 32 and len(asked["nonce"]) >= 32 and asked["state"] != asked["nonce"]
    assert "token=" not in urlencode(asked), "the link is not the provider's to know"
    attempt, session, gone, _ = browser.set_cookies
    for cookie, name, seconds in ((attempt, "__Host-sign-in", ATTEMPT_SECONDS), (session, "__Host-session", SESSION_SECONDS)):
        assert cookie.startswith(f"{name}=")
        assert cookie.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Lax", f"Max-Age={seconds}", "Secure"]
    assert gone.startswith("__Host-sign-in=; ") and "Max-Age=0" in gone


def test_signing_in_begins_with_a_link_of_ours(browser: Browser) -> None:
    refused = browser.ask("GET", f"{PAGE}/sign-in?token=x")
    assert refused["statusCode"] == 403 and browser.provider.attempts == []


def test_only_a_get_signs_in(cloud: Cloud, browser: Browser) -> None:
    back = browser.begin(requested(cloud, ANN))
    for method in ("HEAD", "POST"):
        assert browser.ask(method, back)["statusCode"] == 405
    assert browser.provider.exchanged == 0


def changed_state(browser: Browser, back: str) -> str:
    return back.replace("state=", "state=x")


def without_cookie(browser: Browser, back: str) -> str:
    browser.cookies.clear()
    return back


def too_late(browser: Browser, back: str) -> str:
    browser.cloud.clock.advance(ATTEMPT_SECONDS)
    return back


def with_a_cookie_of_ones_own(browser: Browser, back: str) -> str:
    kept = LinkSigner("another-secret").seal("sign-in", {"link": "x", "state": "s", "nonce": "n", "verifier": "v"}, T0 + timedelta(days=1))
    browser.cookies["__Host-sign-in"] = kept
    return back.partition("state=")[0] + "state=s"


def with_a_session_as_attempt(browser: Browser, back: str) -> str:
    kept = SIGNER.seal("session", {"link": "x", "state": "s", "nonce": "n", "verifier": "v"}, T0 + timedelta(days=1))
    browser.cookies["__Host-sign-in"] = kept
    return back.partition("state=")[0] + "state=s"


WRONG_WAYS = (changed_state, without_cookie, too_late, with_a_cookie_of_ones_own, with_a_session_as_attempt)


@pytest.mark.parametrize("wrong", WRONG_WAYS)
def test_who_comes_back_without_having_been_sent_is_not_signed_in(
    cloud: Cloud, browser: Browser, wrong: Callable[[Browser, str], str]
) -> None:
    back = wrong(browser, browser.begin(requested(cloud, ANN)))
    refused = browser.ask("GET", back)
    assert refused["statusCode"] == 403 and "You are not signed in" in refused["body"]
    assert browser.provider.exchanged == 0 and "__Host-session" not in browser.cookies


def test_a_code_of_another_browser_is_not_taken(cloud: Cloud, browser: Browser, provider: Provider) -> None:
    """PKCE: the code that somebody else got is of no use, since this browser's verifier is another."""
    link = requested(cloud, ANN)
    theirs = dict(parse_qsl(urlsplit(Browser(cloud, provider, browser.sign_in).begin(link)).query))
    mine = dict(parse_qsl(urlsplit(browser.begin(link)).query))
    refused = browser.ask("GET", f"{PAGE}/signed-in?{urlencode({'code': theirs['code'], 'state': mine['state']})}")
    assert refused["statusCode"] == 403 and "did not take the code" in refused["body"] and provider.exchanged == 0


def test_a_way_back_is_good_once(cloud: Cloud, browser: Browser) -> None:
    back = browser.begin(requested(cloud, ANN))
    kept = dict(browser.cookies)
    assert browser.ask("GET", back)["statusCode"] == 302
    browser.cookies = kept
    assert browser.ask("GET", back)["statusCode"] == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another client"},
        {"aud": [CLIENT_ID, "another client"]},
        {"aud": [CLIENT_ID, "another client"], "azp": "another client"},
        {"azp": "another client"},
        {"nonce": "of another attempt"},
        {"nonce": None},
        {"exp": int(T0.timestamp()) - 31},
        {"exp": None},
        {"iat": int(T0.timestamp()) + 3600},
        {"sub": None},
        {"sub": ""},
        {"iss": None},
        {"aud": None},
    ],
    ids=str,
)
def test_an_id_token_that_is_not_for_us_and_for_now_signs_nobody_in(cloud: Cloud, browser: Browser, claims: dict[str, Any]) -> None:
    browser.provider.claims = claims
    refused = browser.signs_in(requested(cloud, ANN))
    assert refused["statusCode"] == 403 and browser.provider.exchanged == 1 and "__Host-session" not in browser.cookies


def unsigned(provider: Provider, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "none"}, claims, OctKey.import_key("x" * 32), algorithms=["none"])


def of_another_key(provider: Provider, claims: dict[str, Any]) -> str:
    other = rsa_key()
    return jwt.encode({"alg": "RS256", "kid": provider.key.kid}, claims, other)


def by_the_clients_secret(provider: Provider, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET.ljust(32, "x")))


def by_the_public_key_as_a_secret(provider: Provider, claims: dict[str, Any]) -> str:
    public = OctKey.import_key(json.dumps(provider.key.as_dict(private=False)))
    return jwt.encode({"alg": "HS256", "kid": provider.key.kid}, claims, public)


def altered(provider: Provider, claims: dict[str, Any]) -> str:
    header, _, signature = jwt.encode({"alg": "RS256", "kid": provider.key.kid}, claims, provider.key).split(".")
    other = jwt.encode({"alg": "RS256", "kid": provider.key.kid}, {**claims, "sub": "oidc-root"}, provider.key).split(".")[1]
    return f"{header}.{other}.{signature}"


def garbage(provider: Provider, claims: dict[str, Any]) -> str:
    return "ä.b.c"


@pytest.mark.parametrize("forge", [unsigned, of_another_key, by_the_clients_secret, by_the_public_key_as_a_secret, altered, garbage])
def test_an_id_token_that_the_provider_has_not_signed_signs_nobody_in(
    cloud: Cloud, browser: Browser, forge: Callable[[Provider, dict[str, Any]], str]
) -> None:
    browser.provider.forge = lambda claims: forge(browser.provider, claims)
    refused = browser.signs_in(requested(cloud, ANN))
    assert refused["statusCode"] == 403 and "does not say who you are" in refused["body"] and "__Host-session" not in browser.cookies


def test_a_new_key_of_the_provider_is_good_at_once(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, ANN)
    browser.signs_in(link)
    browser.provider.key = rsa_key()
    browser.cookies.clear()
    assert "You decide as" in browser.signs_in(link)["body"]


def test_a_session_ends_and_is_good_for_its_provider_and_client_alone(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, ANN)
    assert "<form" in browser.signs_in(link)["body"]
    cloud.clock.advance(SESSION_SECONDS - 1)
    assert "<form" in browser.ask("GET", link)["body"]
    cloud.clock.advance(1)
    assert "<form" not in browser.ask("GET", link)["body"]
    body = {"sub": "oidc-ann", "email": "", "iss": browser.provider.url, "aud": CLIENT_ID}
    for wrong in ({"iss": "https://elsewhere.example"}, {"aud": "another client"}):
        browser.cookies["__Host-session"] = SIGNER.seal("session", {**body, **wrong}, T0 + timedelta(days=1))
        assert "<form" not in browser.ask("GET", link)["body"]
    for forged in (
        LinkSigner("another-secret").seal("session", body, T0 + timedelta(days=1)),
        "x",
        dict(parse_qsl(urlsplit(link).query))["token"],
    ):
        browser.cookies["__Host-session"] = forged
        assert "<form" not in browser.ask("GET", link)["body"]


def test_who_cancels_at_the_provider_is_told_so(cloud: Cloud, browser: Browser) -> None:
    browser.provider.error = "access_denied"
    refused = browser.signs_in(requested(cloud, ANN))
    assert refused["statusCode"] == 403 and "the provider says access_denied" in refused["body"]


@pytest.mark.parametrize(
    "described", [{"issuer": "https://elsewhere.example"}, {"token_endpoint": "http://elsewhere.example/"}, {"jwks_uri": 1}]
)
def test_a_provider_that_is_not_the_one_that_was_named_signs_nobody_in(cloud: Cloud, browser: Browser, described: dict[str, Any]) -> None:
    browser.provider.described = described
    refused = browser.ask("GET", f"{PAGE}/sign-in?{urlsplit(requested(cloud, ANN)).query}")
    assert refused["statusCode"] == 503 and "Nothing was decided; drctl approve and drctl reject need no provider" in refused["body"]


def test_a_provider_that_does_not_answer_holds_up_sign_in_alone(cloud: Cloud, browser: Browser) -> None:
    link = requested(cloud, ANN)
    away = Browser(cloud, browser.provider, SignIn("http://127.0.0.1:9", CLIENT_ID, lambda: ""))
    assert away.ask("GET", link)["statusCode"] == 200
    assert away.ask("GET", f"{PAGE}/sign-in?{urlsplit(link).query}")["statusCode"] == 503


def test_the_deployed_function_signs_in_within_its_policy(cloud: Cloud, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    link = requested(cloud, ANN)
    for name, value in {"OidcIssuer": provider.url, "OidcClientId": CLIENT_ID}.items():
        monkeypatch.setitem(deployed._STANDS_FOR, name, value)
    secrets = {deployed.SECRET_NAME: "the-secret", "the-oidc-secret": json.dumps({"clientSecret": CLIENT_SECRET})}
    for name, text in secrets.items():
        boto3.client("secretsmanager").create_secret(Name=name, SecretString=text)
    handler = deployed.Function("decide_approval", cloud, monkeypatch)
    context = {"http": {"method": "GET"}, "domainName": "page.example"}
    token = {"token": dict(parse_qsl(urlsplit(link).query))["token"]}
    sent = handler.invoke({"rawPath": "/sign-in", "requestContext": context, "queryStringParameters": token})
    back = urllib3.request("GET", sent["headers"]["Location"], redirect=False, retries=False).headers["Location"]
    query, kept = dict(parse_qsl(urlsplit(str(back)).query)), [cookie.partition(";")[0] for cookie in sent["cookies"]]
    signed = handler.invoke({"rawPath": "/signed-in", "requestContext": context, "queryStringParameters": query, "cookies": kept})
    assert signed["statusCode"] == 302 and signed["headers"]["Location"].startswith(f"{PAGE}/?token=")
    query, kept = dict(parse_qsl(urlsplit(signed["headers"]["Location"]).query)), [one.partition(";")[0] for one in signed["cookies"]]
    page = handler.invoke({"rawPath": "/", "requestContext": context, "queryStringParameters": query, "cookies": kept})
    assert "You decide as <strong>ann</strong>" in page["body"]


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (TEMPLATE.parent / "functions").glob("*/app.py")))
def test_a_function_loads_the_keys_library_only_to_sign_somebody_in(name: str) -> None:
    path = TEMPLATE.parent / "functions" / name / "app.py"
    code = f"import runpy, sys; runpy.run_path({str(path)!r}); print([one for one in ('joserfc', 'cryptography') if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"AWS_DEFAULT_REGION": "us-west-2"})
    assert done.stdout.strip() == "[]"
