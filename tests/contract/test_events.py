"""The samples in events/ are what the core stores, the rules ask for events that exist, and the requests to copy are good ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.validate import ParamValidator

from dr_core.events import MAX_EVENT_BYTES, Incoming, WakeUp
from dr_core.records import DetailType
from dr_core.requests import ExecutionRequested
from dr_engine.forwarding import native_events
from tests.support.desk import Desk, desk
from tests.support.samples import FOLDER, build, file_of
from tests.support.state_table import template

__all__ = ["desk"]

MANIFESTS = FOLDER.parent / "manifests"
REQUESTS = sorted((FOLDER / "put-events").glob("*.json"))


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def test_each_event_has_a_sample_and_each_sample_an_event() -> None:
    assert {file_of(detail_type) for detail_type in DetailType} == set(FOLDER.glob("*.json"))


def test_the_samples_are_what_the_core_stores(desk: Desk) -> None:
    built = build(desk)
    assert set(built) == set(DetailType)
    for detail_type, sample in built.items():
        assert read(file_of(detail_type)) == sample, f"{detail_type}: write it anew by `python -m tests.support.samples`"


@pytest.mark.parametrize("detail_type", DetailType)
def test_a_sample_is_an_event_as_eventbridge_delivers_it(detail_type: DetailType) -> None:
    body = file_of(detail_type).read_text()
    sample = json.loads(body)
    assert list(sample) == ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]
    assert (sample["detail-type"], sample["source"]) == (detail_type, detail_type.source)
    assert len(json.dumps(sample["detail"]).encode()) <= MAX_EVENT_BYTES
    assert WakeUp.from_queue(body).execution_id == sample["detail"]["executionId"]


def test_the_operators_own_event_is_a_good_request() -> None:
    incoming = Incoming.model_validate_json((FOLDER / "operator" / "ExecutionRequested.json").read_text())
    assert ExecutionRequested.parse(incoming.detail).client_token


@pytest.mark.parametrize("file", REQUESTS, ids=lambda file: file.stem)
def test_a_request_to_copy_is_accepted(file: Path) -> None:
    entries = read(file)
    shape = boto3.Session().client("events", region_name="us-west-2").meta.service_model.operation_model("PutEvents").input_shape
    assert shape and not ParamValidator().validate({"Entries": entries}, shape).has_errors()
    (entry,) = entries
    assert (entry["EventBusName"], entry["Source"], entry["DetailType"]) == ("dr-orchestrator", "dr.operator", "Execution Requested")
    request = ExecutionRequested.parse(json.loads(entry["Detail"]))
    assert request.client_token is None, "a token in a file would make its second use do nothing"
    assert f"Start{request.phase.capitalize()}" == file.stem
    assert (MANIFESTS / request.manifest_key).is_file()


def test_the_four_phases_go_to_the_right_regions() -> None:
    found = {request.stem: ExecutionRequested.parse(json.loads(read(request)[0]["Detail"])) for request in REQUESTS}
    assert {name: (one.target_region, one.source_region) for name, one in found.items()} == {
        "StartInstantiate": ("us-west-2", "us-east-1"),
        "StartActivate": ("us-west-2", "us-east-1"),
        "StartCleanup": ("us-east-1", "us-west-2"),
        "StartReplicate": ("us-east-1", "us-west-2"),
    }
    assert found["StartActivate"].mode == "unplanned"


def patterns() -> Iterator[tuple[str, dict[str, Any]]]:
    """The pattern of each rule of the stack."""
    for name, resource in template()["Resources"].items():
        if resource["Type"] == "AWS::Events::Rule" and "detail-type" in (pattern := resource["Properties"].get("EventPattern", {})):
            yield name, pattern


@pytest.mark.parametrize(("rule", "pattern"), tuple(patterns()), ids=lambda value: value if isinstance(value, str) else "")
def test_rules_wait_for_events_that_there_are(rule: str, pattern: dict[str, Any]) -> None:
    known = {detail_type.value: {detail_type.source} for detail_type in DetailType}
    known["Execution Requested"].add("dr.operator")
    known["Command Requested"] = {"dr.operator"}
    known |= {event.detail_type: {event.source} for event in native_events()}
    for detail_type in pattern["detail-type"]:
        assert detail_type in known, f"{rule} waits for {detail_type}, which nobody sends"
        assert known[detail_type] & set(pattern["source"]), f"{rule} waits for {detail_type} of another source"
