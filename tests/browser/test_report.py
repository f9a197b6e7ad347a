"""The recovery report as a page: it opens, says what the table says, loads nothing, and can be read by day and by night."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from dr_people.report_building import picture_of, report_of
from dr_people.report_rendering import as_html
from tests.support.desk import ID, Desk, emulated
from tests.support.recovery import EVIL, recovered


@pytest.fixture(scope="module")
def html() -> str:
    """The report of a recovery with everything in it."""
    with pytest.MonkeyPatch.context() as patch, emulated(patch) as desk:
        return written(desk)


def written(desk: Desk) -> str:
    recovered(desk)
    state = desk.table.load(ID)
    assert state
    report = report_of(desk.table, state, desk.now)
    return as_html(report, picture_of(desk.table, state, report.as_of))


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page of a reader who prefers that scheme."""
    context = browser.new_context(viewport={"width": 480, "height": 600}, color_scheme=request.param)
    yield context.new_page()
    context.close()


def test_it_opens_and_its_parts_add_up(page: Page, html: str) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.set_content(html)
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery report: ACTIVATE of storefront")
    expect(page.get_by_text("8 min 9.000 s = 3 min 0.000 s AWS at work + 5 min 9.000 s overhead")).to_be_visible()
    layers = page.get_by_role("table").filter(has=page.get_by_role("columnheader", name="Overhead"))
    sums = [[seconds(cell) for cell in row.locator("td.n").all_inner_texts()] for row in layers.get_by_role("row").all()[1:]]
    *each, everything = sums
    assert len(each) == 2 and everything[0] > 0
    for total, aws, overhead, orchestration, retry, people in sums:
        assert round(aws + overhead, 3) == total and round(orchestration + retry + people, 3) == overhead
    assert [round(sum(column), 3) for column in zip(*each, strict=True)] == everything
    expect(page.get_by_role("rowheader", name=EVIL)).to_be_visible()
    assert requests == []


def test_it_fits_a_narrow_screen_by_day_and_by_night(scheme: Page, html: str) -> None:
    scheme.set_content(html)
    assert scheme.evaluate("document.documentElement.scrollWidth") == 480
    paper, waits = (
        scheme.evaluate(f"getComputedStyle(document.querySelector('{one}')).{style}")
        for one, style in (("body", "backgroundColor"), (".dr-gantt .people", "fill"))
    )
    assert abs(brightness(paper) - brightness(waits)) < 40, "where people are waited for is shaded, not lit"


def seconds(words: str) -> float:
    minutes, rest = re.fullmatch(r"(?:(\d+) min )?([\d.]+) s", words.strip()).groups()  # type: ignore[union-attr]
    return 60 * int(minutes or 0) + float(rest)


def brightness(colour: str) -> float:
    red, green, blue = map(float, re.findall(r"[\d.]+", colour)[:3])
    return (red + green + blue) / 3
