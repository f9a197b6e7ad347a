"""What takes too long: told once by the sweep, for every stall and every mark, and nothing is ended by it."""

import json
from datetime import timedelta
from typing import Any

import pytest

from dr_core import flow
from dr_core.commands import Command
from dr_core.errors import ErrorClass
from dr_core.records import ExecutionStatus, Failure, Resource, ResourceStatus
from dr_core.triggers import Checked, Claim, Outcome, Started, Vote
from tests.support.control_plane import HOME, ID, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution

Out = pytest.CaptureFixture[str]
IN_PROGRESS = Outcome("IN_PROGRESS", "half way", 50)
NO = Outcome("FAILED", failure=Failure("Broken", ErrorClass.TERMINAL, "no"))


def begun(cloud: Cloud, resources: int = 1, **values: Any) -> None:
    """An execution whose resources are requested."""
    execution = an_execution(due_at=T0, **values)
    inside = [a_resource(1, index, timeout_seconds=7200, max_attempts=1) for index in range(1, resources + 1)]
    assert cloud.table.create(execution, [a_layer(1, resources)], inside, an_approval(), T0)
    follow(cloud, Vote(True, "ann", "seen", SHA))
    flow.advance(cloud.table, ID, cloud.clock)


def follow(cloud: Cloud, trigger: Any) -> None:
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, trigger, cloud.clock)


def waiting(cloud: Cloud, **values: Any) -> None:
    """Its one resource is waited for."""
    begun(cloud, **values)
    follow(cloud, Claim("0001-001", 1, "x", "[]"))
    follow(cloud, Started("0001-001", 1, "x", IN_PROGRESS, None, 5, 0.5))


def sweep(cloud: Cloud, times: int = 1, seconds: float = 60) -> None:
    for _ in range(times):
        cloud.clock.advance(seconds)
        flow.sweep(cloud.table, HOME, cloud.clock)


def resource(cloud: Cloud) -> Resource:
    return cloud.table.resources(ID)[0]


def told(cloud: Cloud, detail_type: str) -> list[dict[str, Any]]:
    return [json.loads(one.detail) for one in cloud.table.timeline(ID) if one.detail_type == detail_type]


def measured(out: Out, metric: str) -> list[float]:
    lines = (json.loads(line) for line in out.readouterr().out.splitlines() if '"_aws"' in line)
    return [line[metric][0] for line in lines if metric in line]


# --- stuck ---


def test_the_third_sweep_that_finds_nothing_moved_tells_once(cloud: Cloud, capsys: Out) -> None:
    waiting(cloud)  # due after 50 s
    sweep(cloud, 2)
    assert not resource(cloud).is_stuck and told(cloud, "Stuck Detected") == []
    sweep(cloud, 1)
    assert resource(cloud).is_stuck and resource(cloud).status is ResourceStatus.WAITING
    sweep(cloud, 5)
    (event,) = told(cloud, "Stuck Detected")
    assert (event["resourceId"], event["status"], event["dueAt"], event["sweeps"]) == ("0001-001", "WAITING", "2031-03-01T12:00:50.000Z", 3)
    assert measured(capsys, "StuckResources") == [1]


def test_sweeps_in_quick_succession_are_not_time(cloud: Cloud) -> None:
    waiting(cloud)
    sweep(cloud)
    sweep(cloud, 10, seconds=10)  # 110 s overdue
    assert told(cloud, "Stuck Detected") == []
    sweep(cloud, 1, seconds=10)
    assert len(told(cloud, "Stuck Detected")) == 1


def test_what_moves_is_not_stuck_and_may_be_stuck_again(cloud: Cloud) -> None:
    waiting(cloud)
    sweep(cloud, 2)
    follow(cloud, Checked("0001-001", 1, 1, IN_PROGRESS, 5, 0.5))
    sweep(cloud, 2)
    assert told(cloud, "Stuck Detected") == [], "the sweeps before the check do not count"
    sweep(cloud, 1)
    assert resource(cloud).is_stuck
    follow(cloud, Checked("0001-001", 1, 2, IN_PROGRESS, 5, 0.5))
    assert not resource(cloud).is_stuck
    sweep(cloud, 3)
    assert resource(cloud).is_stuck and len(told(cloud, "Stuck Detected")) == 2


def test_a_pause_holds_what_has_not_begun_but_not_what_is_waited_for(cloud: Cloud) -> None:
    begun(cloud, 2)
    follow(cloud, Claim("0001-001", 1, "x", "[]"))
    follow(cloud, Started("0001-001", 1, "x", IN_PROGRESS, None, 5, 0.5))
    follow(cloud, Command("pause", "olga", "a look"))
    sweep(cloud, 6)
    assert [event["resourceId"] for event in told(cloud, "Stuck Detected")] == ["0001-001"]
    follow(cloud, Command("resume", "olga", "on"))
    sweep(cloud, 4)
    assert [event["resourceId"] for event in told(cloud, "Stuck Detected")] == ["0001-001", "0001-002"]


def test_a_stall_ends_nothing_before_the_deadline(cloud: Cloud) -> None:
    waiting(cloud)
    sweep(cloud, 60)
    assert resource(cloud).status is ResourceStatus.WAITING and told(cloud, "Resource Timed Out") == []


def test_a_hundred_that_stall_at_once_are_all_told(cloud: Cloud) -> None:
    begun(cloud, 100)
    sweep(cloud, 3)
    assert len({event["resourceId"] for event in told(cloud, "Stuck Detected")}) == 100


def test_two_sweeps_at_once_are_one(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting(cloud, rto_seconds=100)
    sweep(cloud, 2)
    cloud.clock.advance(60)
    stale = cloud.table.load(ID)
    flow.sweep(cloud.table, HOME, cloud.clock)
    monkeypatch.setattr(type(cloud.table), "load", lambda *_: stale)
    flow.sweep(cloud.table, HOME, cloud.clock)
    assert len(told(cloud, "Stuck Detected")) == 1 and len(told(cloud, "RTO Missed")) == 1


# --- the recovery time ---


def test_without_a_target_there_is_nothing_to_miss(cloud: Cloud, capsys: Out) -> None:
    waiting(cloud)
    sweep(cloud, 100)
    assert told(cloud, "RTO At Risk") == told(cloud, "RTO Missed") == []
    assert measured(capsys, "RtoElapsedRatio") == []


def test_each_mark_is_told_once_and_the_execution_goes_on(cloud: Cloud, capsys: Out) -> None:
    waiting(cloud, rto_seconds=1000)
    sweep(cloud, 13)  # 780 s
    assert told(cloud, "RTO At Risk") == []
    sweep(cloud, 1)
    (event,) = told(cloud, "RTO At Risk")
    assert (event["elapsedSeconds"], event["targetSeconds"], event["ratio"]) == (840, 1000, 0.84)
    sweep(cloud, 2)
    assert told(cloud, "RTO Missed") == []
    sweep(cloud, 4)
    assert len(told(cloud, "RTO At Risk")) == 1
    assert [event["ratio"] for event in told(cloud, "RTO Missed")] == [1.02]
    state = cloud.table.load(ID)
    assert state and state.execution.status is ExecutionStatus.RUNNING
    assert measured(capsys, "RtoElapsedRatio") == [0.84, 1.02]


def test_where_both_have_passed_only_the_second_is_told(cloud: Cloud) -> None:
    waiting(cloud, rto_seconds=1000)
    sweep(cloud, 1, seconds=2000)
    sweep(cloud, 3)
    assert told(cloud, "RTO At Risk") == [] and len(told(cloud, "RTO Missed")) == 1


def test_a_halted_execution_is_looked_at_for_its_marks_and_then_no_more(cloud: Cloud) -> None:
    waiting(cloud, rto_seconds=1000)
    follow(cloud, Checked("0001-001", 1, 1, NO, 5, 0.5))
    state = flow.advance(cloud.table, ID, cloud.clock)
    assert state and state.execution.status is ExecutionStatus.FAILED
    assert state.execution.due_at == T0 + timedelta(seconds=800)
    assert cloud.table.due(HOME, T0 + timedelta(seconds=799)) == []
    sweep(cloud, 20)
    assert len(told(cloud, "RTO At Risk")) == len(told(cloud, "RTO Missed")) == 1
    assert cloud.table.due(HOME, T0 + timedelta(days=9)) == [], "it waits for a person, and for nothing else"


def test_a_good_end_that_comes_late_says_so_once(cloud: Cloud, capsys: Out) -> None:
    waiting(cloud, rto_seconds=100)
    cloud.clock.advance(110)
    follow(cloud, Checked("0001-001", 1, 1, Outcome("DONE", "there"), 5, 0.5))
    flow.advance(cloud.table, ID, cloud.clock)
    sweep(cloud, 3)
    assert [event["ratio"] for event in told(cloud, "RTO Missed")] == [1.1]
    assert measured(capsys, "RtoElapsedRatio")[-1] == 1.1


def test_a_good_end_in_time_misses_nothing(cloud: Cloud, capsys: Out) -> None:
    waiting(cloud, rto_seconds=200)
    cloud.clock.advance(170)
    follow(cloud, Checked("0001-001", 1, 1, Outcome("DONE", "there"), 5, 0.5))
    flow.advance(cloud.table, ID, cloud.clock)
    assert told(cloud, "RTO Missed") == []
    assert measured(capsys, "RtoElapsedRatio") == [0.85]
