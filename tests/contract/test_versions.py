"""Deploying during a run: what a version has sent and stored, the version that follows takes.

tests/samples/v<n>/ keeps a sample of each event of version n, and items.json the table's items, as they were when the version was new.
They are never written anew: an event that can no longer be read as they are is a new version.
"""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from dr_core import events
from dr_core.events import SCHEMA_VERSION, UnknownVersionError, WakeUp
from dr_core.execution import decide, lost_wake_ups
from dr_core.records import DetailType
from dr_core.triggers import Wake
from tests.support.desk import Desk, desk
from tests.support.samples import build
from tests.support.state_table import TABLE_NAME

__all__ = ["desk"]

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
PRESENT = SAMPLES / f"v{SCHEMA_VERSION}"
SENT = sorted(path for version in SAMPLES.glob("v*") for path in version.glob("[A-Z]*.json"))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def message(version: object) -> str:
    detail = {"executionId": "01X", "resourceId": "0001-001", "attempt": 2, "schemaVersion": version}
    return json.dumps({"detail-type": "Resource Requested", "detail": detail})


@pytest.mark.failure("A deployment during a run")
@pytest.mark.parametrize("path", SENT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_was_sent_is_still_understood(path: Path) -> None:
    sample = read(path)
    taken = WakeUp.from_queue(json.dumps(sample))
    fields = sample["detail"]
    assert taken.execution_id == fields["executionId"]
    assert (taken.resource_id, taken.attempt) == (fields.get("resourceId", ""), fields.get("attempt", 0))
    assert DetailType(sample["detail-type"]).source == sample["source"]


@pytest.mark.failure("A deployment during a run")
def test_an_event_only_grows_within_a_version(desk: Desk) -> None:
    """A field that is gone, or of another type, is a new version: raise SCHEMA_VERSION, name the old one in PREVIOUS_VERSION."""
    for detail_type, sample in build(desk).items():
        kept = PRESENT / f"{detail_type.replace(' ', '')}.json"
        if not kept.exists():
            continue  # an event that is new within the version
        for name, value in read(kept)["detail"].items():
            assert name in sample["detail"], f"{detail_type}: {name} is gone"
            now = sample["detail"][name]
            assert value is None or now is None or type(now) is type(value), f"{detail_type}: {name} is another type"


@pytest.mark.failure("A deployment during a run")
def test_the_present_and_the_previous_version_are_taken_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WakeUp.from_queue(message("1")).attempt == 2
    for strange in ("2", "0", 1, None, "x"):
        with pytest.raises(UnknownVersionError, match=r"Resource Requested has schemaVersion .*, this stack knows 1: deploy"):
            WakeUp.from_queue(message(strange))
    monkeypatch.setattr(events, "SCHEMA_VERSION", "2")
    monkeypatch.setattr(events, "PREVIOUS_VERSION", "1")
    assert WakeUp.from_queue(message("1")) == WakeUp.from_queue(message("2"))
    with pytest.raises(UnknownVersionError, match="this stack knows 1 and 2"):
        WakeUp.from_queue(message("3"))


def test_a_wake_up_of_before_there_was_a_version_is_of_the_first() -> None:
    assert WakeUp.from_queue('{"detail-type": "Resource Waiting", "detail": {"executionId": "01X", "checkNo": 3}}').check_no == 3


@pytest.mark.failure("A deployment during a run")
@pytest.mark.parametrize("version", sorted(SAMPLES.glob("v*")), ids=lambda path: path.name)
def test_what_was_stored_is_still_read(desk: Desk, version: Path) -> None:
    """Executions in every state, as that version left them in the table: each is loaded, shown and decided on."""
    client, items = boto3.client("dynamodb"), read(version / "items.json")
    for item in items:
        client.put_item(TableName=TABLE_NAME, Item=item)
    ids = {item["pk"]["S"].removeprefix("EXEC#") for item in items if item["sk"]["S"] == "META"}
    assert len(ids) >= 6
    for execution_id in ids:
        state = desk.table.load(execution_id)
        assert state and state.layers and desk.table.resources(execution_id) and desk.table.timeline(execution_id)
        assert desk.table.approval(execution_id)
        decide(state, Wake(), desk.now)
        lost_wake_ups(state, desk.now)
    refusals = [item["pk"]["S"].removeprefix("EXEC#") for item in items if item["sk"]["S"] == "REFUSAL"]
    assert refusals and all(desk.table.refusal(one) for one in refusals)
