"""The figures of a load are taken from the timelines as they are meant."""

import json

from dr_core.state import TimelineEntry
from localcloud.gauges import Readings
from localcloud.load import closes, lasted, machine, spread, waits


def entry(second: int, detail_type: str, **detail: object) -> TimelineEntry:
    occurred = {"occurredAt": f"2031-03-01T12:00:{second:02}.000Z", **detail}
    return TimelineEntry(str(second), "dr", detail_type, json.dumps(occurred))


TIMELINE = (
    entry(0, "Approval Granted"),
    entry(1, "Resource Requested", resourceId="a", attempt=1),
    entry(2, "Resource Requested", resourceId="b", attempt=1),
    entry(5, "Resource Started", resourceId="a", attempt=1),
    entry(6, "Resource Requested", resourceId="a", attempt=2),
    entry(8, "Resource Started", resourceId="b", attempt=1),
    entry(9, "Resource Started", resourceId="a", attempt=2),
    entry(9, "Resource Started", resourceId="a", attempt=2),
    entry(11, "Resource Succeeded", resourceId="b", attempt=1),
    entry(12, "Resource Succeeded", resourceId="a", attempt=2),
    entry(14, "Layer Completed"),
    entry(15, "Execution Completed"),
)


def test_waits_are_those_of_one_attempt_each() -> None:
    assert waits(TIMELINE, "Resource Requested", "Resource Started") == [4, 6, 3]


def test_a_layer_closes_after_its_last_success() -> None:
    assert closes(TIMELINE) == [2]


def test_an_execution_lasts_from_its_approval_to_its_end() -> None:
    assert lasted(TIMELINE) == 15
    assert lasted(TIMELINE[:-1]) == float("inf")


def test_a_spread() -> None:
    assert spread([float(value) for value in range(1, 101)]) == "median 51.0 s, p95 96.0 s, max 100.0 s"
    assert spread([]) == "none"


def test_who_had_the_machine_is_told() -> None:
    readings = Readings(machine_busy_seconds=80, machine_idle_seconds=20, load_averages=[3.0, 5.0, 7.0, 9.0])
    readings.processor_seconds = {"functions": 25.0, "gateway": 5.0}
    told = "30 % this cloud, 50 % other work and this command, 20 % idle; load average 3 before it began, 7 in the median"
    assert machine(readings) == told
