"""The samples in events/: what the core really stores when an execution goes this way or that, in EventBridge's envelope.

`python -m tests.support.samples` writes them anew.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest

from dr_core.commands import Command
from dr_core.errors import Problem
from dr_core.events import first_event_id
from dr_core.records import DetailType
from dr_core.state import Refusal, TimelineEntry
from dr_core.triggers import Outcome, Vote, Wake
from tests.support.desk import DONE, HOME, SHA, T0, Desk, emulated, failed

FOLDER = Path(__file__).resolve().parents[2] / "events"

_DATABASE, _API = ("database-tier", "AuroraMySQL"), ("application-tier", "ECS")
_JOINING = Outcome("IN_PROGRESS", "1 of 2 instances available", 50)


def file_of(detail_type: DetailType) -> Path:
    """The sample of an event, named as the event without spaces."""
    return FOLDER / f"{detail_type.replace(' ', '')}.json"


def build(desk: Desk) -> dict[DetailType, dict[str, Any]]:
    """A sample of each event, as EventBridge delivers it: the first of its kind in the stories below."""
    samples: dict[DetailType, dict[str, Any]] = {}
    for execution_id in _stories(desk):
        for entry in desk.table.timeline(execution_id):
            samples.setdefault(DetailType(entry.detail_type), _delivered(entry))
        desk.now += timedelta(minutes=10)
    return samples


def _delivered(entry: TimelineEntry) -> dict[str, Any]:
    """The event in its envelope. Its own id, which is by chance, gives way to one that is always the same."""
    detail = json.loads(entry.detail)
    name = uuid5(NAMESPACE_OID, f"{entry.detail_type} {detail['executionId']}")
    detail["eventId"] = entry.id[:10] + name.hex[:16].upper()
    return {
        "version": "0",
        "id": str(name),
        "detail-type": entry.detail_type,
        "source": entry.source,
        "account": "111122223333",
        "time": f"{detail['occurredAt'][:19]}Z",
        "region": HOME,
        "resources": [],
        "detail": detail,
    }


def _stories(desk: Desk) -> Iterator[str]:
    """Executions that go different ways, one after the other; each by its id."""
    yield _succeeds(desk, _id("A"))
    yield _is_rejected(desk, _id("B"))
    yield _expires(desk, _id("C"))
    yield _is_retried_and_skipped(desk, _id("D"))
    yield _is_cancelled(desk, _id("E"))
    yield _is_abandoned(desk, _id("F"))
    yield _is_refused(desk, _id("G"))
    yield _is_forced_through(desk, _id("H"))
    yield _is_taken_over(desk, _id("J"))
    yield _takes_too_long(desk, _id("K"))
    yield _is_reminded_of(desk, _id("L"))


def _id(letter: str) -> str:
    return first_event_id(T0)[:10] + "5R6S7T8V9W" + 6 * letter


def _succeeds(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE], [_API], execution_id=execution_id, sent=("mail: ann", "topic", "slack"))
    _after(desk, 40).approve()
    _after(desk, 2).begin("0001-001", _JOINING, lag_seconds=0.84)
    _after(desk, 90).check("0001-001", DONE)
    _after(desk, 2).begin("0002-001", DONE)
    return execution_id


def _is_rejected(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE], execution_id=execution_id)
    _after(desk, 40).move(Vote(False, "ann", "not during the sale", SHA))
    return execution_id


def _expires(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE], execution_id=execution_id)
    _after(desk, 3601).move(Wake())
    return execution_id


def _is_retried_and_skipped(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE], execution_id=execution_id)
    _after(desk, 40).approve()
    _after(desk, 1).command("pause", "a look first")
    _after(desk, 1).command("skip", "not needed")
    _after(desk, 9).move(Command("resume", "olga", "go on"))
    message = "User: arn:aws:sts::222222222222:assumed-role/DR-Orchestrator-Execution-Role/dr-1 is not authorized"
    _after(desk, 2).begin("0001-001", failed("AccessDenied", message, "7c0e4d5a-9f53-4a5b-8d1e-2f60b7a1c9e8"))
    _after(desk, 60).move(Command("retry", "olga", "the role is mended"))
    _after(desk, 2).begin("0001-001", _JOINING)
    _after(desk, 1000).move(Wake())
    _after(desk, 60).move(Command("skip", "olga", "done by hand"))
    return execution_id


def _is_cancelled(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE, _API], execution_id=execution_id)
    _after(desk, 40).approve()
    _after(desk, 2).begin("0001-001", _JOINING)
    _after(desk, 10).move(Command("cancel", "olga", "the Region is back"))
    _after(desk, 60).check("0001-001", DONE)
    return execution_id


def _is_abandoned(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE], execution_id=execution_id)
    _after(desk, 40).approve()
    _after(desk, 2).begin("0001-001", failed("InvalidDBClusterStateFault", "the cluster is being deleted"))
    _after(desk, 60).move(Command("abandon", "olga", "goes on by hand"))
    return execution_id


def _is_taken_over(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE], execution_id=execution_id)
    _after(desk, 40).approve()
    desk.lose_home()
    _after(desk, 60).command("takeover", "us-east-1 does not answer")
    return execution_id


def _takes_too_long(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE], execution_id=execution_id, application="ledger", rto_seconds=200)
    _after(desk, 40).approve()
    _after(desk, 2).begin("0001-001", _JOINING)
    for _ in range(4):
        _after(desk, 60).sweep()
    _after(desk, 60).check("0001-001", DONE)
    return execution_id


def _is_reminded_of(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE], execution_id=execution_id, application="letters", sent=("mail: ann",))
    _after(desk, 1800).move(Wake())
    return execution_id


def _is_refused(desk: Desk, execution_id: str) -> str:
    message, remedy = "EcsDesiredSize is missing", "add it, such as 4"
    problem = Problem("storefront/Instantiate.json", "2", "application-tier", "parameters", message, remedy)
    refusal = Refusal(execution_id, "storefront", desk.now, [str(problem)], {})
    assert desk.table.refuse(refusal, HOME, None, [problem], desk.now)
    return execution_id


def _is_forced_through(desk: Desk, execution_id: str) -> str:
    desk.request([_DATABASE], execution_id=execution_id)
    principal = "arn:aws:sts::111122223333:assumed-role/BreakGlass/olga"
    _after(desk, 40).move(Vote(True, principal, "nobody answers, the Region is down", SHA, channel="iam", break_glass=True))
    _after(desk, 2).move(Command("cancel", "olga", "the Region is back"))
    return execution_id


def _after(desk: Desk, seconds: float) -> Desk:
    desk.now += timedelta(seconds=seconds)
    return desk


def _write() -> None:
    with pytest.MonkeyPatch.context() as patch, emulated(patch) as desk:
        for detail_type, sample in build(desk).items():
            file_of(detail_type).write_text(json.dumps(sample, indent=2) + "\n")


if __name__ == "__main__":
    _write()
