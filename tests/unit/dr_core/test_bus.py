"""Onto the bus in batches of ten; what the bus does not take comes back."""

from typing import Any

import boto3
import pytest

from dr_core.bus import publish
from dr_core.changes import Entry
from tests.support.control_plane import Cloud


def entries(number: int, source: str = "dr.execution") -> list[Entry]:
    return [Entry(str(n), source, "Execution Paused", f'{{"n":{n}}}') for n in range(number)]


@pytest.fixture(autouse=True)
def _bus(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("events").create_event_bus(Name="the-bus")
    monkeypatch.setenv("BUS_NAME", "the-bus")
    cloud.calls.clear()


def put(cloud: Cloud) -> list[list[dict[str, Any]]]:
    return [call.parameters["Entries"] for call in cloud.made("PutEvents")]


def test_events_go_in_order_ten_at_a_time(cloud: Cloud) -> None:
    assert publish(entries(23)) == []
    assert [len(batch) for batch in put(cloud)] == [10, 10, 3]
    sent = [entry for batch in put(cloud) for entry in batch]
    assert [entry["Detail"] for entry in sent] == [entry.detail for entry in entries(23)]
    expected = {"EventBusName": "the-bus", "Source": "dr.execution", "DetailType": "Execution Paused", "Detail": '{"n":0}'}
    assert sent[0] == expected


def test_a_trace_goes_with_its_event(cloud: Cloud) -> None:
    assert publish([Entry("1", "dr.layer", "Layer Started", "{}", "e1", "Root=1;Sampled=1"), *entries(1)]) == []
    ((traced, other),) = put(cloud)
    assert traced["TraceHeader"] == "Root=1;Sampled=1" and "TraceHeader" not in other


def test_without_events_nothing_is_called(cloud: Cloud) -> None:
    assert publish([]) == [] and cloud.calls == []


@pytest.mark.failure("PutEvents takes only a part, or is throttled")
def test_what_the_bus_does_not_take_comes_back(cloud: Cloud) -> None:
    taken, refused = {"EventId": "1"}, {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
    cloud.answer("events", "PutEvents", {"FailedEntryCount": 2, "Entries": [taken, refused, taken, refused] + [taken] * 6}, status=200)
    given = entries(12)
    assert publish(given) == [given[1], given[3]]
    assert [len(batch) for batch in put(cloud)] == [10, 2], "the rest has gone all the same"
