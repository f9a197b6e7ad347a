"""The board in a browser, as CloudWatch shows a custom widget: a click on what a cwdb-action follows calls the function again."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Dialog, Page, expect

from dr_people import board_shells
from tests.support.boards import ARN, DENIED, EVIL, REQUEST_ID, board_at, story
from tests.support.desk import ID, Desk, emulated
from tests.support.widget_shell import WidgetShell

pytestmark = pytest.mark.browser


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A table with one execution that is over, one that waits, and one that is halted."""
    with emulated(monkeypatch) as made:
        story(made)
        yield made


def shell(page: Page, desk: Desk, theme: str = "light") -> WidgetShell:
    """The dashboard, with the widget loaded."""
    return WidgetShell(page, lambda event: board_shells.widget(event, board_at(desk), ARN), theme)


def test_down_to_the_request_id_of_the_failed_call(page: Page, desk: Desk) -> None:
    widget = shell(page, desk)
    expect(page.get_by_role("heading", level=1)).to_have_text("1 of 2 executions halted")
    widget.click("ACTIVATE of storefront in us-west-2")
    expect(page.get_by_role("heading", name="Layer 1 FAILED")).to_be_visible()
    widget.click("workers")
    expect(page.get_by_role("heading", level=1)).to_have_text("workers FAILED")
    widget.click("Attempt 1")
    row = page.get_by_role("row").filter(has_text="autoscaling:UpdateAutoScalingGroup")
    expect(row).to_contain_text(REQUEST_ID)
    expect(row).to_contain_text("AccessDenied")
    expect(row).to_contain_text('"DesiredCapacity": 3')
    assert widget.clicks == 3, "at most four"
    widget.click("All executions")
    expect(page.get_by_role("heading", level=1)).to_have_text("1 of 2 executions halted")


def test_every_resource_and_every_execution_can_be_opened(page: Page, desk: Desk) -> None:
    widget = shell(page, desk)
    for execution in ("ACTIVATE of storefront in us-west-2", "ACTIVATE of shop in us-west-2", f"{ID[:-1]}A"):
        widget.click(execution)
        expect(page.get_by_role("heading", name="What happens next")).to_be_visible()
        widget.click("All executions")
    widget.click("ACTIVATE of storefront in us-west-2")
    for resource in ("database-failover", EVIL, "dns"):
        widget.click(resource)
        expect(page.get_by_role("heading", level=1)).to_contain_text(resource)
        widget.click(ID)


def test_with_the_keyboard_alone(page: Page, desk: Desk) -> None:
    shell(page, desk)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("ACTIVATE of storefront in us-west-2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2, name="Timeline")).to_be_visible()
    expect(page.get_by_role("img", name="Timeline of ACTIVATE of storefront")).to_be_visible()


def test_nothing_in_it_runs_and_nothing_is_loaded(page: Page, desk: Desk) -> None:
    dialogs: list[str] = []
    requests: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("request", lambda request: requests.append(request.url))
    widget = shell(page, desk)
    expect(page.get_by_text(DENIED).first).to_be_visible()
    widget.click("ACTIVATE of storefront in us-west-2")
    expect(page.get_by_role("button", name=EVIL)).to_be_visible()
    assert dialogs == [] and requests == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(page: Page, desk: Desk, theme: str) -> None:
    widget = shell(page, desk, theme)
    for follow in ("ACTIVATE of storefront in us-west-2", "workers", "All executions"):
        faint = page.evaluate(CONTRASTS)
        assert faint == [], json.dumps(faint, indent=1)
        widget.click(follow)


# WCAG 2.2, 1.4.3: text has a contrast of at least 4.5 to what is behind it.
CONTRASTS = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const lum = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (el) => { for (; el; el = el.parentElement) { const c = parse(getComputedStyle(el).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const found = [];
  for (const el of document.querySelectorAll('.dr *')) {
    if (el.closest('cwdb-action, style, svg')) continue;
    if (![...el.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [lum(parse(getComputedStyle(el).color)), lum(behind(el))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push([el.tagName, el.className, el.textContent.slice(0, 30), ratio]);
  }
  return found;
}"""
