"""The mail as a mail client shows it: taken from the message that goes to SES, without scripts and images, narrow and wide."""

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from dr_people.approval_context import load_context
from dr_people.approval_views import mail
from dr_people.mail import compose
from tests.support.approval_scene import request
from tests.support.control_plane import ID, emulated
from tests.support.screenshots import LOOKS, shoot

LINK = "https://page.example/?token=" + "x" * 400


@pytest.fixture
def message(monkeypatch: pytest.MonkeyPatch) -> EmailMessage:
    """The mail to Ann, parsed from its bytes."""
    with emulated(monkeypatch) as cloud:
        request(cloud)
        context = load_context(cloud.table, ID)
        assert context
        raw = compose("dr@example.com", "ann@example.com", *mail(context, LINK, "Ann"))
    return email.message_from_bytes(raw, policy=email.policy.default)


def part(message: EmailMessage, kind: str) -> str:
    """The text of one of its parts."""
    found = message.get_body((kind,))
    assert found
    return str(found.get_content())


@pytest.fixture
def client(browser: Browser) -> Iterator[Page]:
    """What a mail client is: no scripts, no images, nothing from elsewhere."""
    context = browser.new_context(java_script_enabled=False)
    context.route("**/*", lambda route: route.abort())
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("width", [400, 800])
def test_it_reads_well_at_any_width(client: Page, message: EmailMessage, width: int) -> None:
    client.set_viewport_size({"width": width, "height": 800})
    asked: list[str] = []
    client.on("request", lambda one: asked.append(one.url))
    client.set_content(part(message, "html"))
    assert asked == [], "it loads nothing"
    shown = client.inner_text("body")
    for words in ("ACTIVATE of storefront waits for your decision", "olga (as stated in the request, not verified)", "about 4.2 s of data"):
        assert words in shown
    for words in ("irreversible: what this step does cannot be undone", "RuleMissing", "rds:FailoverGlobalCluster", "made out to Ann"):
        assert words in shown
    for box in (one.bounding_box() for one in client.locator("h1, table, li, p, a").all()):
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width, "nothing sticks out"
    assert client.get_by_role("link", name="Look at it, then approve or reject").get_attribute("href") == LINK


def test_the_text_alone_says_as_much(message: EmailMessage) -> None:
    text = part(message, "plain")
    assert LINK in text.splitlines() and "opening the link decides nothing" in text
    for words in ("ACTIVATE of storefront in us-west-2 (planned)", "not verified", "about 4.2 s of data", "IRREVERSIBLE", "RuleMissing"):
        assert words in text
    assert "<" not in text and message["Subject"].startswith("Approval needed: ACTIVATE of storefront")
    assert message["Auto-Submitted"] == "auto-generated" and message["To"] == "ann@example.com"


@pytest.mark.parametrize("look", LOOKS)
def test_screenshots(client: Page, message: EmailMessage, look: str, tmp_path: Path) -> None:
    client.emulate_media(color_scheme=look)  # type: ignore[arg-type]
    client.set_viewport_size({"width": 640, "height": 800})
    client.set_content(part(message, "html").replace("x" * 400, "…"))
    assert shoot(client, f"approval-mail-{look}", tmp_path).stat().st_size > 10_000
