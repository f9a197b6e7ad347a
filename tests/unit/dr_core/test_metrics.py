"""What is measured of an execution: the right value, once, under dimensions that alarms and dashboards can ask for."""

import json
from datetime import timedelta
from typing import Any

import pytest

from dr_core import flow
from dr_core.arrivals import arrived
from dr_core.metrics import Metric, measure, measure_move
from dr_core.records import DetailType, Event, ExecutionStatus, Move, State
from dr_core.triggers import Vote
from tests.support.control_plane import ID, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.deployed import on_bus

Out = pytest.CaptureFixture[str]
STATE = State(an_execution(started_at=T0), (a_layer(started_at=T0 + timedelta(seconds=5)),), (a_resource(),), an_approval(asked_at=T0))


def written(out: Out) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.readouterr().out.splitlines() if '"_aws"' in line]


def values(out: Out) -> dict[str, float]:
    return {name: one[name][0] for one in written(out) for name in set(Metric) if name in one}


def moved(*events: Event) -> None:
    measure_move(STATE, Move((), events), T0 + timedelta(seconds=65))


def test_a_value_is_counted_for_all_and_for_its_application(capsys: Out) -> None:
    measure(Metric.LAYER_DURATION, 1.5, application="shop", phase="ACTIVATE", execution_id=ID)
    (line,) = written(capsys)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("DROrchestrator", [["service"], ["application", "phase"]])
    assert directive["Metrics"] == [{"Name": "LayerDurationSeconds", "Unit": "Seconds"}]
    assert (line["service"], line["application"], line["phase"], line["execution_id"]) == ("dr-orchestrator", "shop", "ACTIVATE", ID)
    assert line["LayerDurationSeconds"] == [1.5]


def test_two_values_do_not_mix(capsys: Out) -> None:
    measure(Metric.RESOURCE_DURATION, 1, application="a", phase="CLEANUP", module="ECS")
    measure(Metric.SWEEPS_COMPLETED, 1)
    first, second = written(capsys)
    assert first["_aws"]["CloudWatchMetrics"][0]["Dimensions"][-1] == ["application", "phase", "module"]
    assert second["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]] and "application" not in second


def test_how_long_things_took(capsys: Out) -> None:
    moved(Event(DetailType.LAYER_COMPLETED, {"layer": 1}))
    assert values(capsys) == {"LayerDurationSeconds": 60}
    moved(Event(DetailType.RESOURCE_SUCCEEDED, {"module": "ECS", "durationMs": 1500}))
    assert values(capsys) == {"ResourceDurationSeconds": 1.5}
    moved(Event(DetailType.EXECUTION_COMPLETED, {"outcome": ExecutionStatus.SUCCEEDED}))
    assert values(capsys) == {"ExecutionDurationSeconds": 65}
    moved(Event(DetailType.APPROVAL_GRANTED))
    assert values(capsys) == {"ApprovalWaitSeconds": 65}


def test_an_attempt_that_will_be_tried_again_ends_nothing(capsys: Out) -> None:
    moved(Event(DetailType.RESOURCE_FAILED, {"module": "ECS", "willRetry": True}))
    assert values(capsys) == {}


def test_a_halt_is_counted(capsys: Out) -> None:
    moved(Event(DetailType.LAYER_COMPLETED, {"layer": 1}), Event(DetailType.EXECUTION_HALTED, {"layer": 1}))
    assert values(capsys) == {"LayerDurationSeconds": 60, "ExecutionsHalted": 1}


def test_a_dry_run_has_no_recovery_time(capsys: Out) -> None:
    state = State(an_execution(status=ExecutionStatus.PLANNING, dry_run=True))
    measure_move(state, Move((), (Event(DetailType.EXECUTION_COMPLETED),)), T0)
    assert values(capsys) == {}


def test_each_sweep_gives_a_sign_of_life_and_tells_what_it_mended(cloud: Cloud, capsys: Out) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    flow.sweep(cloud.table, "us-west-2", cloud.clock)
    assert values(capsys) == {"SweepsCompleted": 1}
    cloud.clock.advance(46)
    assert flow.sweep(cloud.table, "us-west-2", cloud.clock) == 1
    assert values(capsys) == {"SweeperRepairs": 1, "SweepsCompleted": 1}


def test_a_sweep_that_fails_gives_none(cloud: Cloud, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    monkeypatch.setattr(flow, "decide", lambda *_: 1 / 0)
    with pytest.raises(ExceptionGroup):
        flow.sweep(cloud.table, "us-west-2", cloud.clock)
    assert values(capsys) == {}


def test_a_step_that_somebody_else_took_is_counted(cloud: Cloud, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Vote(True, "ann", "", SHA), cloud.clock)
    assert values(capsys) == {}, "nobody had been asked: no wait"
    commit, faster = cloud.table.commit, iter([True])

    def raced(*given: Any) -> bool:
        return commit(*given) and not next(faster, False)

    monkeypatch.setattr(cloud.table, "commit", raced)
    flow.advance(cloud.table, ID, cloud.clock)
    assert values(capsys)["JoinConflicts"] == 1


def test_how_late_an_event_is(capsys: Out) -> None:
    detail = {"executionId": ID, "application": "shop", "phase": "ACTIVATE", "occurredAt": "2020-01-01T00:00:00.000Z"}
    assert arrived(on_bus("Layer Started", detail, "dr.layer", "e")).execution_id == ID
    assert values(capsys)["EventLagSeconds"] > 1_000_000
    del detail["occurredAt"]
    arrived(on_bus("Layer Started", detail, "dr.layer", "e"))
    assert values(capsys) == {}, "what was sent past the bus is late on purpose"
