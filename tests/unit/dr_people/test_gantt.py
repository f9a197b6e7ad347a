"""The picture of an execution over time: what each row did, which resources held up the end, and SVG that anybody can read."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from dr_core.commands import Command
from dr_core.errors import ErrorClass
from dr_core.records import Failure
from dr_core.triggers import Outcome, Vote
from dr_people import snapshot
from dr_people.gantt import Chart, Doing, Row, chart, picture, slowest
from tests.support.desk import DONE, T0, Desk, failed

BUSY = Outcome("IN_PROGRESS", "1 of 2")
SVG = "{http://www.w3.org/2000/svg}"


def after(desk: Desk, seconds: float) -> Desk:
    desk.now += timedelta(seconds=seconds)
    return desk


def drawn(desk: Desk) -> Chart:
    state = desk.table.load(desk.execution_id)
    assert state is not None
    return chart(snapshot.read(desk.table, state, desk.now))


def rows(found: Chart) -> dict[str, Row]:
    return {row.key or "execution": row for row in found.rows}


def told(row: Row) -> list[tuple[Doing, float]]:
    return [(span.doing, span.seconds) for span in row.spans]


def two_layers(desk: Desk) -> None:
    """Ten minutes until the approval; a database in 95 s beside a service in 35 s; then a record in 1 s."""
    desk.request([("database", "AuroraMySQL"), ("api", "ECS")], [("dns", "R53Record")])
    after(desk, 600).approve()
    after(desk, 5).begin("0001-001", BUSY)
    desk.begin("0001-002", BUSY)
    after(desk, 30).check("0001-002", DONE)
    after(desk, 60).check("0001-001", DONE)
    after(desk, 1).begin("0002-001", DONE)


def test_each_row_says_what_it_did_and_how_long(desk: Desk) -> None:
    two_layers(desk)
    found = rows(drawn(desk))
    assert told(found["execution"]) == [(Doing.APPROVAL, 600), (Doing.RUNNING, 96)]
    assert told(found["1"]) == [(Doing.RUNNING, 95)] and told(found["2"]) == [(Doing.RUNNING, 1)]
    assert told(found["0001-001"]) == [(Doing.QUEUED, 5), (Doing.WAITING, 90)]
    assert told(found["0001-002"]) == [(Doing.QUEUED, 5), (Doing.WAITING, 30)]
    assert not any(span.open for row in found.values() for span in row.spans)


def test_the_critical_path_is_the_last_resource_of_each_layer(desk: Desk) -> None:
    two_layers(desk)
    found = drawn(desk)
    assert [row.label for row in found.critical] == ["database", "dns"]
    assert sum(row.seconds for row in found.critical) == 96, "its time is that of the run"


def test_of_two_that_end_together_the_one_that_took_longer_is_critical(desk: Desk) -> None:
    desk.request([("short", "ECS"), ("long", "ECS")])
    desk.approve()
    desk.begin("0001-002", BUSY)
    desk.begin("0001-001", BUSY)
    after(desk, 10).check("0001-001", DONE)
    desk.check("0001-002", DONE)
    found = drawn(desk)
    shorter = replace(found.rows[2], spans=(replace(found.rows[2].spans[0], start=T0 + timedelta(seconds=5)),))
    assert slowest([shorter, found.rows[3]]) == slowest([found.rows[3], shorter]) == found.rows[3]


def test_what_is_under_way_goes_on_until_now(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")], [("dns", "R53Record")])
    desk.approve()
    desk.begin("0001-001", BUSY)
    found = rows(drawn(after(desk, 20)))
    (waiting,) = found["0001-001"].spans
    assert waiting.open and (waiting.doing, waiting.seconds, waiting.end) == (Doing.WAITING, 20, desk.now)
    assert found["execution"].spans[-1].open and found["1"].spans[-1].open
    assert found["0002-001"].spans == () and found["2"].spans == () and not found["0002-001"].critical
    assert found["0001-001"].words() == "database: WAITING, on the critical path; AWS is at work 20.0 s so far"


def test_a_failure_waits_for_a_person_until_one_decides(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL"), ("api", "ECS")])
    desk.approve()
    desk.begin("0001-001", failed("AccessDenied", "no"))
    after(desk, 5).begin("0001-002", DONE)
    halted = rows(drawn(after(desk, 60)))
    assert told(halted["0001-001"]) == [(Doing.PERSON, 65)] and halted["0001-001"].spans[-1].open
    assert told(halted["1"]) == [(Doing.RUNNING, 5), (Doing.PERSON, 60)] and halted["1"].spans[-1].open
    assert told(halted["execution"]) == [(Doing.RUNNING, 5), (Doing.PERSON, 60)]
    desk.move(Command("retry", "olga", "the role is mended"))
    after(desk, 3).begin("0001-001", DONE)
    mended = rows(drawn(after(desk, 100)))
    assert told(mended["0001-001"]) == [(Doing.PERSON, 65), (Doing.QUEUED, 3)]
    assert told(mended["1"]) == [(Doing.RUNNING, 5), (Doing.PERSON, 60), (Doing.RUNNING, 3)]
    assert not any(span.open for row in mended.values() for span in row.spans), "it has ended, whatever time it is"


def test_an_attempt_that_will_be_repeated_waits_for_the_next(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")])
    desk.approve()
    desk.begin("0001-001", Outcome("ERROR", failure=Failure("Throttling", ErrorClass.THROTTLED, "slow down")))
    (waits,) = rows(drawn(after(desk, 2)))["0001-001"].spans
    assert waits.open and (waits.doing, waits.seconds, waits.attempt) == (Doing.RETRY, 2, 1)


def test_a_pause_is_the_executions_own(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")])
    desk.approve()
    desk.begin("0001-001", BUSY)
    after(desk, 10).move(Command("pause", "olga", "a look first"))
    after(desk, 30).move(Command("resume", "olga", "go on"))
    after(desk, 5).check("0001-001", DONE)
    found = rows(drawn(desk))
    assert told(found["execution"]) == [(Doing.RUNNING, 10), (Doing.PAUSED, 30), (Doing.RUNNING, 5)]
    assert told(found["0001-001"]) == [(Doing.WAITING, 45)], "what is under way is followed on"


def test_a_request_that_was_rejected_has_waited_for_people_alone(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")])
    after(desk, 60).move(Vote(False, "ann", "no", "5ha"))
    found = drawn(desk)
    assert told(found.rows[0]) == [(Doing.APPROVAL, 60)] and found.critical == ()
    assert found.at(found.start) == 0 and found.at(found.end) == 1


def test_a_picture_of_the_very_moment_of_the_request(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")])
    found = drawn(desk)
    assert found.start == found.end == T0 and found.rows[0].spans[-1].open
    ET.fromstring(picture(found))


# --- the axis ---


def test_time_runs_evenly_but_for_the_time_of_people(desk: Desk) -> None:
    two_layers(desk)
    found = drawn(desk)
    started = T0 + timedelta(seconds=600)
    assert found.at(found.start) == 0 and found.at(found.end) == pytest.approx(1)
    assert found.at(started) == pytest.approx(0.2 / 1.2), "ten minutes of people are drawn as a fifth of what machines took"
    half = found.at(started + timedelta(seconds=48)) - found.at(started)
    assert half == pytest.approx((1 - found.at(started)) / 2)
    assert found.at(T0 - timedelta(days=1)) == 0 and found.at(found.end + timedelta(days=1)) == 1


def test_ticks_rise_and_do_not_touch(desk: Desk) -> None:
    two_layers(desk)
    found = drawn(desk)
    ticks = found.ticks()
    places = [found.at(when) for when, _ in ticks]
    assert ticks[0] == (T0, "0:00") and (T0 + timedelta(seconds=600), "10:00") in ticks
    assert 4 <= len(ticks) <= 10 and all(b - a >= 0.07 for a, b in pairwise(places))


# --- the SVG ---

TAGS = {"svg", "g", "title", "desc", "style", "rect", "line", "text"}


def test_the_svg_is_xml_of_few_tags_and_says_what_it_shows(desk: Desk) -> None:
    two_layers(desk)
    found = drawn(desk)
    root = ET.fromstring(picture(found, "one"))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= TAGS
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    assert root.get("role") == "img" and set((root.get("aria-labelledby") or "").split()) == ids == {"one-title", "one-desc"}
    description = root.findtext(f"{SVG}desc") or ""
    assert "The critical path, the slowest resource of each layer: database, then dns." in description
    assert "api: SUCCEEDED; waits for its turn 5.0 s, AWS is at work 30.0 s." in description
    labels = [text.text for text in root.iter(f"{SVG}text")]
    assert "◆ database" in labels and "api" in labels and "◆ on the critical path" in labels


def test_bars_stand_where_their_time_is(desk: Desk) -> None:
    two_layers(desk)
    found = drawn(desk)
    root = ET.fromstring(picture(found))
    bars = [bar for bar in root.iter(f"{SVG}rect") if bar.get("class") == "waiting" and bar.find(f"{SVG}title") is not None]
    (longer, shorter) = [(float(bar.get("x") or 0), float(bar.get("width") or 0)) for bar in bars]
    assert longer[0] == shorter[0] and longer[1] == pytest.approx(3 * shorter[1], rel=0.01)
    assert longer[0] + longer[1] < 236 + 752


def test_names_are_text_and_never_markup(desk: Desk) -> None:
    desk.request([("</text><script>alert(1)</script>", "ECS")])
    desk.approve()
    svg = picture(drawn(desk))
    assert "<script" not in svg
    ET.fromstring(svg)
