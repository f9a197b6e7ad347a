"""Signing in with a real browser: it comes back from another site, keeps its cookies as it is told to, and decides as whom it was named."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from dr_core.records import ApprovalStatus, Approver
from dr_people.sign_in import SignIn
from tests.support.approval_scene import Site, approval_of, request, served
from tests.support.control_plane import emulated
from tests.support.identity_provider import CLIENT_ID, CLIENT_SECRET, Provider, running

PEOPLE = (Approver("ann", subject="oidc-ann"), Approver("bob", subject="oidc-bob"))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, Provider]]:
    """The page, and a provider on another site at which ann is signed in."""
    with (
        emulated(monkeypatch) as cloud,
        served(cloud) as site,
        running(lambda: cloud.clock().timestamp(), f"{site.address}/signed-in") as provider,
    ):
        site.sign_in = SignIn(provider.url, CLIENT_ID, lambda: CLIENT_SECRET, site.address)
        request(cloud, approvers=PEOPLE)
        yield site, provider


def test_who_signs_in_decides(site: tuple[Site, Provider], page: Page, context: BrowserContext) -> None:
    place, provider = site
    page.goto(place.link(approver="ann"))
    assert page.locator("form").count() == 0
    page.get_by_role("link", name="sign in").click()
    expect(page.locator("form")).to_contain_text("You decide as ann")
    assert page.url.startswith(f"{place.address}/?token=") and len(provider.attempts) == 1
    kept = {cookie["name"]: cookie for cookie in context.cookies()}
    assert kept["session"]["httpOnly"] and kept["session"]["sameSite"] == "Lax" and "sign-in" not in kept
    assert approval_of(place.cloud).votes == (), "signing in decides nothing"
    page.locator("#confirmation").fill("storefront")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You approved it")
    (vote,) = approval_of(place.cloud).votes
    assert (vote.approver, vote.channel, vote.identity) == ("ann", "oidc", "oidc-ann")


def test_somebody_else_is_told_so_and_decides_nothing(site: tuple[Site, Provider], page: Page) -> None:
    place, provider = site
    provider.who = {"sub": "oidc-bob"}
    page.goto(place.link(approver="ann"))
    page.get_by_role("link", name="sign in").click()
    expect(page.locator("p.bad")).to_have_text("This link is made out to ann, and you are signed in as oidc-bob: use your own.")
    assert page.locator("form").count() == 0
    provider.who = {"sub": "oidc-ann"}
    page.get_by_role("link", name="sign in as somebody else").click()
    expect(page.locator("form")).to_contain_text("You decide as ann")
    assert approval_of(place.cloud).status is ApprovalStatus.PENDING
