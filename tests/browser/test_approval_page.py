"""The approval page in a browser that executes scripts: looking changes nothing, a click on a button decides once."""

import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from dr_core import flow
from dr_core.moves import on_approval
from dr_core.records import ApprovalStatus, Approver, Move
from dr_core.triggers import Vote
from tests.support.approval_scene import Site, approval_of, request, served
from tests.support.control_plane import ID, emulated
from tests.support.screenshots import LOOKS, shoot


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with emulated(monkeypatch) as cloud, served(cloud) as running:
        request(cloud)
        yield running


def test_opening_the_link_a_hundred_times_changes_nothing(site: Site, context: BrowserContext) -> None:
    link, before = site.link(), site.cloud.items()
    site.cloud.calls.clear()
    for number in range(100):
        method = ("GET", "HEAD")[number % 2]
        with urllib.request.urlopen(urllib.request.Request(link, method=method)) as answer:
            assert answer.status == 200
    page = context.new_page()
    for _ in range(100):
        assert page.goto(link, wait_until="load")
    assert site.asked.count("GET") >= 150 and site.asked.count("POST") == 0
    assert {call.operation for call in site.cloud.calls} <= {"GetItem", "Query"} and site.cloud.items() == before


def test_a_scanner_that_presses_everything_but_the_buttons_changes_nothing(site: Site, page: Page) -> None:
    before = site.cloud.items()
    page.goto(site.link())
    for summary in page.locator("summary").all():
        summary.click()
    page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    assert site.cloud.items() == before and "POST" not in site.asked


def filled(page: Page, name: str = "Ann") -> None:
    """Fill in what the form asks for."""
    for field, value in (("Your name", name), ("Reason", "seen & <agreed>")):
        if page.get_by_label(field).count():
            page.get_by_label(field).fill(value)
    if page.locator("#confirmation").count():
        page.locator("#confirmation").fill("storefront")


@pytest.mark.parametrize(("button", "status"), [("Approve", ApprovalStatus.APPROVED), ("Reject", ApprovalStatus.REJECTED)])
def test_a_click_decides(site: Site, page: Page, button: str, status: ApprovalStatus) -> None:
    page.goto(site.link())
    filled(page)
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"You {status.lower()} it")
    assert (approval_of(site.cloud).status, approval_of(site.cloud).reason) == (status, "seen & <agreed>")
    assert site.origins == [site.address], "a browser says from where the form comes"
    page.goto(site.link())
    expect(page.locator(".verdict")).to_contain_text(f"already {status}")
    assert page.locator("form").count() == 0


def test_by_keyboard_alone(site: Site, page: Page) -> None:
    page.goto(site.link())
    page.locator("summary").last.focus()
    for text in ("Ann", "seen", "storefront"):
        page.keyboard.press("Tab")
        page.keyboard.type(text)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("You approved it")


@pytest.mark.parametrize("typed", ["", "storefront2"])
def test_without_the_applications_name_nothing_is_approved(site: Site, page: Page, typed: str) -> None:
    before = site.cloud.items()
    page.goto(site.link())
    filled(page)
    page.locator("#confirmation").fill(typed)
    page.get_by_role("button", name="Approve").click()
    if typed:
        expect(page.get_by_role("heading", level=1)).to_have_text("Nothing was decided")
    else:
        assert "POST" not in site.asked, "the browser itself asks for it"
    assert site.cloud.items() == before


def test_a_link_of_somebody_who_is_no_approver_decides_nothing(site: Site, page: Page) -> None:
    page.goto(site.link(approver="Eve"))
    state = site.cloud.table.load(ID)
    assert state
    change = on_approval(approval_of(site.cloud), approvers=(Approver("Ann", "ann@example.com"),))
    assert site.cloud.table.commit(state.execution, Move((change,)), site.cloud.clock())
    before = site.cloud.items()
    filled(page)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing was decided")
    assert site.cloud.items() == before


def test_too_late(site: Site, page: Page) -> None:
    page.goto(site.link())
    filled(page)
    site.cloud.clock.now += timedelta(hours=2)
    before = site.cloud.items()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This link is not valid")
    page.goto(site.link())
    expect(page.locator("p")).to_contain_text("expired")
    assert site.cloud.items() == before


def test_decided_by_somebody_else_meanwhile(site: Site, page: Page) -> None:
    page.goto(site.link())
    filled(page)
    state = site.cloud.table.load(ID)
    assert state and flow.follow(site.cloud.table, state, Vote(False, "bob", "no", "5ha"), site.cloud.clock)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing was decided")
    assert approval_of(site.cloud).status is ApprovalStatus.REJECTED


def test_the_browser_runs_nothing_and_loads_nothing_else(site: Site, page: Page) -> None:
    loaded: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    link = site.link()
    page.goto(link)
    page.wait_for_timeout(300)
    assert [url for url in loaded if not url.endswith("/favicon.ico")] == [link]
    assert not [text for text in complaints if "Content Security Policy" in text and "favicon" not in text], "its own style is let in"
    colour = page.evaluate("getComputedStyle(document.querySelector('.step.irreversible')).borderLeftWidth")
    assert float(colour.removesuffix("px")) > 4, "the style sheet is in force"
    assert page.evaluate("document.scripts.length") == 0


def test_nothing_sticks_out_on_a_phone(site: Site, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(site.link())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box and box["height"] >= 44, "a thumb can hit it"


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d');
  const rgb = colour => { canvas.fillStyle = colour; canvas.clearRect(0,0,1,1); canvas.fillRect(0,0,1,1);
    return canvas.getImageData(0,0,1,1).data; };
  const light = colour => { const [r,g,b] = [...rgb(colour)].map(v => v/255).map(v => v <= .03928 ? v/12.92 : ((v+.055)/1.055)**2.4);
    return .2126*r + .7152*g + .0722*b; };
  const behind = node => { for (; node; node = node.parentElement) { const c = getComputedStyle(node).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255,255,255)'; };
  return [...document.querySelectorAll('main *')].filter(n => [...n.childNodes].some(c => c.nodeType === 3 && c.data.trim())).map(n => {
    const [a, b] = [light(getComputedStyle(n).color), light(behind(n))].sort((x, y) => y - x);
    return [(a + .05) / (b + .05), n.textContent.trim().slice(0, 40)]; });
}"""


@pytest.mark.parametrize("look", LOOKS)
def test_everybody_can_read_it(site: Site, page: Page, look: str) -> None:
    page.emulate_media(color_scheme=look)  # type: ignore[arg-type]
    page.goto(site.link())
    assert [one for one in page.evaluate(CONTRAST) if one[0] < 4.5] == []  # WCAG 2.2 AA
    assert page.locator("html").get_attribute("lang") == "en" and page.locator("h1").count() == 1
    for field in page.locator("input:not([type=hidden]), textarea").all():
        assert page.locator(f"label[for={field.get_attribute('id')}]").count() == 1


@pytest.mark.parametrize("look", LOOKS)
def test_screenshots(site: Site, page: Page, look: str, tmp_path: Path) -> None:
    page.emulate_media(color_scheme=look)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 900, "height": 900})
    page.goto(site.link())
    assert shoot(page, f"approval-page-{look}", tmp_path).stat().st_size > 10_000
