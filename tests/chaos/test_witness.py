"""The witness notices a table that has been tampered with, and finds nothing in one that has not."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.verdict import check_acts, check_commands, check_events
from tests.chaos.witness import PAST, Witness, acts_of

ONE, TWO = "01M83CJ358ADDCTBQXPX8RCQZK", "01M83CJ358ADDCTBQXPX8RCQZM"
NOW = datetime.now(UTC)
Values = Mapping[str, object]


def image(pk: str, sk: str, **values: object) -> dict[str, Any]:
    """An item as the stream shows it."""
    return {"pk": {"S": pk}, "sk": {"S": sk}, **{name: _typed(value) for name, value in values.items() if value is not None}}


def _typed(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"S": value.isoformat(timespec="milliseconds").replace("+00:00", "Z") if isinstance(value, datetime) else str(value)}


class Story:
    """Writes to a table of which only the stream is seen: an execution of one layer with one resource, step by step."""

    def __init__(self, execution_id: str = ONE) -> None:
        self.witness = Witness()
        self.execution_id = execution_id
        self._events = 0
        self.meta: dict[str, object] = {
            **{"application": "app-0", "phase": "ACTIVATE", "mode": "unplanned", "source_region": "us-east-1"},
            **{"target_region": "us-west-2", "home_region": "us-west-2", "status": "PENDING_APPROVAL", "current_layer": 0},
            **{"layers_total": 1, "fence": 1, "manifest_sha256": "5ha", "manifest_version_id": "1", "requested_by": "chaos"},
            **{"reason": "chaos", "requested_at": NOW, "due_at": NOW},
        }
        self.resource: dict[str, object] = {
            **{"id": "0001-000", "layer": 1, "name": "hook", "module": "LambdaFunction", "account": "222222222222", "parameters": "{}"},
            **{"status": "PENDING", "attempt": 0, "check_no": 0, "spent": 0, "max_attempts": 2, "timeout_seconds": 60},
            **{"lease_seconds": 60, "max_lag_seconds": 60, "best_effort": False},
        }
        self.layer: dict[str, object] = {"number": 1, "status": "PENDING", "epoch": 0, "total": 1, "policy": "drain", "max_failures": 0}
        self.approval: dict[str, object] = {
            "status": "PENDING",
            "expires_at": NOW,
            "manifest_sha256": "5ha",
            "requester": "chaos",
            "due_at": NOW,
        }

    def put(self, sk: str, **values: object) -> None:
        """An item of the execution."""
        self.witness.take("MODIFY", image(f"EXEC#{self.execution_id}", sk, **values))

    def lock(self, owner: str | None) -> None:
        """Both locks of the application."""
        for region in ("us-east-1", "us-west-2"):
            self.witness.take("MODIFY", image(f"LOCK#app-0#{region}", "LOCK", owner=owner, fence=1))

    def tell(self, detail_type: str, **fields: object) -> None:
        """An event."""
        self._events += 1
        detail = json.dumps(fields)
        self.put(f"EVT#{self._events:026d}", source="dr.x", detail_type=detail_type, detail=detail, home="us-west-2")

    def move(self, sk: str, of: dict[str, object], **values: object) -> None:
        """A record with new values."""
        of |= values
        self.put(sk, **of)

    def about(self, detail_type: str, **fields: object) -> None:
        """An event about the resource."""
        self.tell(detail_type, resourceId="0001-000", attempt=self.resource["attempt"], layer=1, **fields)

    def request(self) -> None:
        """The execution waits for its approval."""
        self.put("RES#0001-000", **self.resource)
        self.lock(self.execution_id)
        self.put("META", **self.meta)
        self.put("APPR", **self.approval)
        self.put("LAYER#0001", **self.layer)
        self.tell("Execution Requested")

    def begin(self) -> None:
        """It is approved and runs; its resource is asked for."""
        self.tell("Approval Granted")
        self.move("APPR", self.approval, status="APPROVED", due_at=None)
        self.tell("Execution Started")
        self.tell("Layer Started", layer=1)
        self.move("META", self.meta, status="RUNNING", current_layer=1)
        self.move("LAYER#0001", self.layer, status="RUNNING")
        self.resource["attempt"] = 1
        self.about("Resource Requested")
        self.move("RES#0001-000", self.resource, status="REQUESTED", due_at=NOW, deadline_at=NOW)

    def claim(self, owner: str = "someone") -> None:
        """An executor takes it."""
        self.about("Resource Started", takeover=False)
        self.move("RES#0001-000", self.resource, status="STARTING", lease_owner=owner, lease_until=NOW, started_at=NOW)

    def wait(self, check_no: int = 1, seconds: float = -1, *, tell: bool = True) -> None:
        """It has acted, and looks again later."""
        if tell:
            self.about("Resource Waiting", checkNo=check_no)
        free = {"lease_owner": None, "lease_until": None}
        self.move("RES#0001-000", self.resource, status="WAITING", check_no=check_no, next_at=NOW + timedelta(seconds=seconds), **free)

    def succeed(self) -> None:
        """The resource is done."""
        self.about("Resource Succeeded")
        self.move("RES#0001-000", self.resource, status="SUCCEEDED", due_at=None, next_at=None, ended_at=NOW)

    def end(self) -> None:
        """The layer is closed, and the execution with it."""
        self.tell("Layer Completed", layer=1, outcome="SUCCEEDED")
        self.tell("Execution Completed", outcome="SUCCEEDED")
        self.move("META", self.meta, status="SUCCEEDED", due_at=None, ended_at=NOW)
        self.lock(None)
        self.move("LAYER#0001", self.layer, status="SUCCEEDED")

    def whole(self) -> "Story":
        """All of it."""
        for step in (self.request, self.begin, self.claim, self.wait, self.succeed, self.end):
            step()
        return self

    def violations(self) -> set[str]:
        """The invariants that were found not to hold."""
        for seen in self.witness.executions.values():
            seen.check()
        return {violation.invariant for violation in self.witness.violations}


def test_nothing_is_found_in_a_sound_execution() -> None:
    story = Story().whole()
    assert story.violations() == set(), story.witness.violations
    assert story.witness.checked["I11 each change has its event"] > 5


def _no_event(story: Story) -> None:
    story.request()
    story.begin()
    story.claim()
    story.wait(tell=False)
    story.succeed()


def _event_later(story: Story) -> None:
    story.request()
    story.begin()
    story.claim()
    story.wait(tell=False)
    story.about("Resource Waiting", checkNo=1)


def _closed_too_early(story: Story) -> None:
    story.request()
    story.begin()
    story.claim()
    story.end()


def _claimed_twice(story: Story) -> None:
    story.request()
    story.begin()
    story.claim("one")
    story.claim("two")


def _same_check_twice(story: Story) -> None:
    story.request()
    story.begin()
    story.claim()
    story.wait(1)
    story.move("RES#0001-000", story.resource, detail="seen again")


def _second_chain(story: Story) -> None:
    story.request()
    story.begin()
    story.claim()
    story.wait(1, seconds=3600)
    story.wait(2, seconds=3600, tell=False)


def _claim_while_paused(story: Story) -> None:
    story.request()
    story.begin()
    story.tell("Execution Paused")
    story.move("META", story.meta, status="PAUSED")
    story.claim()


def _moved_after_the_end(story: Story) -> None:
    story.whole()
    story.about("Resource Retried")
    story.move("RES#0001-000", story.resource, status="PENDING")


def _never_approved(story: Story) -> None:
    story.request()
    story.tell("Execution Started")
    story.move("META", story.meta, status="RUNNING", current_layer=1)


def _two_at_once(story: Story) -> None:
    story.request()
    story.execution_id = TWO
    story.put("META", **story.meta)


def _lock_taken(story: Story) -> None:
    story.request()
    story.lock(TWO)


def _lock_kept(story: Story) -> None:
    story.whole()
    story.lock(ONE)


def _preflight_told_twice(story: Story) -> None:
    story.request()
    story.tell("Preflight Completed")
    story.tell("Preflight Completed")


@pytest.mark.parametrize(
    ("doctor", "invariant"),
    [
        (_preflight_told_twice, "I12"),
        (_no_event, "I11"),
        (_event_later, "I11"),
        (_closed_too_early, "I4"),
        (_claimed_twice, "I5"),
        (_same_check_twice, "I24"),
        (_second_chain, "I24"),
        (_claim_while_paused, "I8"),
        (_moved_after_the_end, "I10"),
        (_never_approved, "I14"),
        (_two_at_once, "I9"),
        (_lock_taken, "I9"),
        (_lock_kept, "I9/I10"),
    ],
)
def test_what_must_not_be_is_noticed(doctor: Callable[[Story], None], invariant: str) -> None:
    story = Story()
    doctor(story)
    assert invariant in story.violations(), story.witness.violations


def test_time_that_the_run_lets_pass_is_no_change_nor_is_a_note_of_the_sweep() -> None:
    story = Story()
    for step in (story.request, story.begin, story.claim):
        step()
    story.wait(1, seconds=30)
    story.move("RES#0001-000", story.resource, due_at=PAST)
    story.move("RES#0001-000", story.resource, stalled_at=PAST, stalled_sweeps=1)  # a sweep counts: no check, and it still has not moved
    story.wait(2, seconds=30, tell=False)  # early, as the sweep had it
    assert story.violations() == set(), story.witness.violations


def test_events_that_are_lost_made_up_or_too_large_are_noticed() -> None:
    story = Story().whole()
    ended = story.witness.ended()
    stored = {event_id: 1 for event_id, _, _ in ended[0].told}
    check_events(story.witness, ended, stored)
    assert not story.witness.violations
    (lost, *_) = stored
    check_events(story.witness, ended, {**stored, lost: 0, "made-up": 1})
    assert [violation.what.split()[-1] for violation in story.witness.violations] == ["bus", "stored"]


def test_a_command_told_twice_is_noticed() -> None:
    story = Story().whole()
    story.put("CMD#t", command="pause", actor="chaos", outcome="REFUSED", at=NOW)
    story.tell("Command Refused")
    check_commands(story.witness, story.witness.ended())
    assert not story.witness.violations
    story.tell("Command Refused")
    check_commands(story.witness, story.witness.ended())
    assert [violation.invariant for violation in story.witness.violations] == ["commands"]


def called(invocation: str, status: int = 200) -> dict[str, Any]:
    """A call of the hook, as the gateway's journal has it."""
    context = {"executionId": ONE, "resourceName": "hook", "attempt": 1}
    return {"operation": "Invoke", "status": status, "act": {"invocation": invocation, "parameters": {"context": context}}}


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([called("a")], []),
        ([called("a"), called("a", 500)], []),  # a second try of the same call
        ([called("a"), called("b", 0)], []),  # it was not carried out
        ([called("a"), called("b")], ["I5"]),
        ([], ["I6"]),
    ],
)
def test_acts_are_counted_by_the_call(calls: list[Mapping[str, Any]], expected: list[str]) -> None:
    story = Story().whole()
    check_acts(story.witness, story.witness.ended(), calls)
    assert [violation.invariant for violation in story.witness.violations] == expected
    assert len(acts_of(calls)) == bool(calls)
