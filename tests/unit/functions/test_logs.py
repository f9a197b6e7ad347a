"""Whoever knows the execution has its id on every line of the log."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import boto3
import pytest

from dr_core.observability import logger
from tests.support.control_plane import HOME, ID, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.deployed import REPORTS, Function, functions, on_bus

Functions = Callable[[str], Function]
NAMES = sorted(one["CodeUri"].removeprefix("functions/") for one in functions().values())
# Who starts from no execution: requests that are not one yet, schedules, and pages that read it out of a signed link.
WITHOUT = {"request_preflights", "decide_approval", "start_execution", "control_execution", "accept_request"}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What is logged from now on."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    logger.clear_state()
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines() if '"level"' in line]
    logger.clear_state()


def message() -> dict[str, object]:
    fields = {"layer": 1, "resourceId": "0001-001", "attempt": 1, "checkNo": 1, "eventId": "01X", "occurredAt": "2031-03-01T12:00:00Z"}
    return {"executionId": ID, "application": "shop", "phase": "ACTIVATE", **fields}


def event_for(name: str) -> dict[str, Any]:
    """What the function is woken up by, about the execution `ID`."""
    if name in ("request_approval", "expire_approval"):
        return {"executionId": ID, "taskToken": "token"}
    if name == "publish_changes":
        image = {"pk": f"EXEC#{ID}", "sk": "EVT#01X", "home": HOME, "source": "dr.x", "detail_type": "Layer Started", "detail": "{}"}
        change = {"SequenceNumber": "7", "NewImage": {key: {"S": value} for key, value in image.items()}}
        return {"Records": [{"eventName": "INSERT", "dynamodb": change}]}
    return {}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT])
def test_every_line_has_the_execution(
    name: str, function: Functions, cloud: Cloud, lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function may fail here for want of a topic or a state machine: what it logs until then counts."""
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    boto3.client("s3").create_bucket(Bucket=REPORTS, CreateBucketConfiguration={"LocationConstraint": HOME})  # type: ignore[typeddict-item]
    cloud.answer("events", "PutEvents", {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}, status=200)
    cloud.clock.advance(100)
    with suppress(Exception):
        if given := event_for(name):
            function(name).invoke(given)
        elif name == "sweep":
            function(name).invoke({})
        else:
            function(name).deliver(on_bus("Execution Requested", message(), "dr.execution", "e"))
    if name == "publish_changes":
        assert lines(), "an event that was not taken"
    ours = [line for line in lines() if line["location"].split(":")[0] not in ("_clean",)]
    assert all(line.get("execution_id") == ID for line in ours), [line for line in ours if line.get("execution_id") != ID]


@pytest.mark.parametrize("name", ["advance_execution", "start_resource", "check_resource", "preflight_execution", "sweep"])
def test_an_id_does_not_stay_for_the_next_invocation(name: str, function: Functions, cloud: Cloud) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    with suppress(Exception):
        if name == "sweep":
            function(name).invoke({})
        else:
            function(name).deliver(on_bus("Execution Requested", message(), "dr.execution", "e"))
    with suppress(Exception):
        function(name).deliver("not JSON")
    assert logger.get_current_keys().get("execution_id") is None
