"""Preflight: everything that can be told before anybody decides, and nothing changed."""

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import boto3
import pytest

from dr_core import flow
from dr_core.commands import Command
from dr_core.errors import ErrorClass, ModuleError
from dr_core.moves import on_resource
from dr_core.phases import Mode, Phase
from dr_core.records import ExecutionStatus, Move, ResourceStatus
from dr_core.triggers import Preflown, Trigger, Vote
from dr_modules.base import PreflightFinding
from tests.support import lamps
from tests.support.control_plane import ID, SHA, Cloud, error
from tests.support.lamps import Lamp, LampParameters
from tests.support.lit_room import Room

PUT = ("ssm:PutParameter", False)
CUT = "further calls depend on the answers"


def reports(cloud: Cloud) -> list[dict[str, Any]]:
    """What is stored."""
    found: list[dict[str, Any]] = cloud.table.preflights(ID)
    return found


def findings(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The severities and codes."""
    return [(finding["severity"], finding["code"]) for finding in report["findings"]]


def calls(report: dict[str, Any]) -> list[tuple[str, bool]]:
    """What would be called."""
    return [(call["action"], call["sent"]) for call in report["calls"]]


def status(cloud: Cloud) -> ExecutionStatus:
    """The execution's."""
    state = cloud.table.load(ID)
    assert state
    return state.execution.status


def move(cloud: Cloud, trigger: Trigger) -> None:
    """Somebody does something."""
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, trigger, cloud.clock)
    flow.advance(cloud.table, ID, cloud.clock)


def test_a_dry_run_reports_and_ends(room: Room, cloud: Cloud) -> None:
    room.loses(2.5)
    room.plan({"Name": "hall"}, [{"Name": "attic"}, {"Name": "cellar"}])
    found = room.preflight.run(ID)
    assert found == Preflown(errors=0, warnings=0, calls=3, lag_seconds=2.5)
    first, second = reports(cloud)
    assert first == {
        "resourceId": "0001-001",
        "layer": 1,
        "resourceName": "lamp-1",
        "module": "Lamp",
        "account": "123456789012",
        "progress": "NOT_STARTED",
        "detail": "it is dark",
        "findings": [],
        "lagSeconds": 2.5,
        "calls": first["calls"],
        "mayAlsoCall": [],
        "note": "",
        "irreversible": False,
    }
    assert calls(first) == [PUT] and calls(second) == [PUT, PUT]
    assert first["calls"][0]["parameters"] == {"Name": "/lamp/hall", "Value": "***", "Type": "String", "Overwrite": True}
    assert lamps.shown("hall") is None and lamps.shown("attic") is None, "nothing was changed"
    assert status(cloud) is ExecutionStatus.SUCCEEDED
    assert cloud.events() == ["Execution Requested", "Preflight Completed", "Execution Completed"]
    completed = json.loads(cloud.table.timeline(ID)[1].detail)
    assert (completed["errors"], completed["warnings"], completed["calls"], completed["lagSeconds"]) == (0, 0, 3, 2.5)


def test_it_may_only_read(room: Room, cloud: Cloud) -> None:
    room.plan({})
    room.preflight.run(ID)
    policies = [json.loads(call.parameters["Policy"])["Statement"][0]["Action"] for call in cloud.made("AssumeRole")]
    assert policies == [["ssm:GetParameter"]]


def test_people_are_asked_afterwards(room: Room, cloud: Cloud) -> None:
    room.plan({}, dry_run=False)
    room.preflight.run(ID)
    assert status(cloud) is ExecutionStatus.PENDING_APPROVAL
    assert cloud.events() == ["Execution Requested", "Preflight Completed", "Approval Requested"]
    state = cloud.table.load(ID)
    assert state and state.execution.preflight_at == cloud.clock()


def test_a_second_delivery_changes_nothing(room: Room, cloud: Cloud) -> None:
    room.plan({}, dry_run=False)
    room.preflight.run(ID)
    before = cloud.items()
    cloud.calls.clear()
    assert room.preflight.run(ID) is None
    assert cloud.items() == before and {call.service for call in cloud.calls} == {"dynamodb"}
    assert room.preflight.run("01NO") is None


def test_a_second_delivery_that_is_slower_changes_nothing(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people have been shown stays as it is."""
    inner = Lamp.preflight
    before: list[object] = []

    def overtaken(self: Lamp, parameters: LampParameters) -> Iterable[PreflightFinding]:
        monkeypatch.setattr(Lamp, "preflight", inner)
        cloud.clock.advance(1)
        assert room.preflight.run(ID) is not None
        before.extend(cloud.items())
        cloud.clock.advance(1)
        yield self.warning("Late", "comes late")

    room.plan({}, dry_run=False)
    monkeypatch.setattr(Lamp, "preflight", overtaken)
    assert room.preflight.run(ID) is None
    assert cloud.items() == before and before


@pytest.mark.parametrize(
    ("meanwhile", "ends", "asked"),
    [
        (Command("cancel", "olga", "not needed"), ExecutionStatus.CANCELLED, False),
        (Vote(True, "ann", "", SHA), ExecutionStatus.RUNNING, False),
        (Vote(False, "bob", "", SHA), ExecutionStatus.REJECTED, False),
    ],
)
def test_what_was_decided_meanwhile_stays_decided(
    room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, meanwhile: Trigger, ends: ExecutionStatus, asked: bool
) -> None:
    def decided(self: Lamp, parameters: LampParameters) -> Iterable[PreflightFinding]:
        move(cloud, meanwhile)
        return ()

    room.plan({}, dry_run=False)
    monkeypatch.setattr(Lamp, "preflight", decided)
    room.preflight.run(ID)
    assert status(cloud) is ends and ("Approval Requested" in cloud.events()) is asked
    assert [report["progress"] for report in reports(cloud)] == ["NOT_STARTED"], "people can look at it all the same"


@pytest.mark.parametrize("given", [ExecutionStatus.RUNNING, ExecutionStatus.PAUSED, ExecutionStatus.FAILED, ExecutionStatus.SUCCEEDED])
def test_what_runs_already_is_not_looked_at(room: Room, cloud: Cloud, given: ExecutionStatus) -> None:
    room.plan({}, dry_run=False, status=given)
    assert room.preflight.run(ID) is None and reports(cloud) == [] and cloud.made("AssumeRole") == []


# --- what is found ---


def test_findings_are_in_the_modules_order_and_counted(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(self: Lamp, parameters: LampParameters) -> Iterable[PreflightFinding]:
        yield self.warning("Dusty", f"{parameters.name} is dusty: dust it")
        yield self.obstacle("NoBulb", f"{parameters.name} has no bulb: screw one in")
        raise self.error("NoPower", "there is no power")

    room.plan([{"Name": "hall"}, {"Name": "attic"}], {"Name": "cellar"})
    monkeypatch.setattr(Lamp, "preflight", found)
    assert room.preflight.run(ID) == Preflown(errors=5, warnings=3, calls=3)
    each = [("WARNING", "Dusty"), ("ERROR", "NoBulb"), ("ERROR", "NoPower")]
    both = [*each, *each[:2]]  # that there is no power is said once for both
    assert [findings(report) for report in reports(cloud)] == [both, each]
    assert reports(cloud)[1]["findings"][0]["message"] == "lamp-2 (Lamp): cellar is dusty: dust it"


@pytest.mark.parametrize(
    ("shines", "progress", "planned"),
    [("on", "DONE", []), ("warming", "IN_PROGRESS", []), ("broken", "FAILED", [PUT]), ("part-1", "NEXT_STEP", [PUT])],
)
def test_what_is_done_or_under_way_plans_no_call(room: Room, cloud: Cloud, shines: str, progress: str, planned: list[object]) -> None:
    lamps.make(shines)
    room.loses(999)
    room.plan({})
    room.preflight.run(ID)
    (report,) = reports(cloud)
    assert (report["progress"], calls(report)) == (progress, planned) and lamps.shown() == shines
    assert report["mayAlsoCall"] == ([] if planned or progress == "DONE" else ["ssm:PutParameter"])
    assert bool(findings(report)) is bool(planned), "a lag counts where something would be acted on"


@pytest.mark.parametrize(
    ("mode", "loss", "found", "lag"),
    [
        (Mode.PLANNED, 60.0, [], 60.0),
        (Mode.PLANNED, 60.5, [("ERROR", "ReplicationLagTooHigh")], 60.5),
        (Mode.UNPLANNED, 60.5, [("WARNING", "ReplicationLagTooHigh")], 60.5),
        (Mode.DRILL, 60.5, [("WARNING", "ReplicationLagTooHigh")], 60.5),
        (Mode.PLANNED, ModuleError("NoMetric", "nobody knows"), [("ERROR", "NoMetric")], None),
        (Mode.UNPLANNED, ModuleError("NoMetric", "nobody knows"), [("WARNING", "NoMetric")], None),
        (Mode.PLANNED, None, [], None),
    ],
)
def test_the_lag_counts_as_the_executor_takes_it(
    room: Room, cloud: Cloud, mode: Mode, loss: float | ModuleError | None, found: list[object], lag: float | None
) -> None:
    room.loses(loss)
    room.plan({}, mode=mode)
    assert room.preflight.run(ID) == Preflown(
        errors=sum(one[0] == "ERROR" for one in found),  # type: ignore[index]
        warnings=sum(one[0] == "WARNING" for one in found),  # type: ignore[index]
        calls=1,
        lag_seconds=lag,
    )
    (report,) = reports(cloud)
    assert findings(report) == found and report["lagSeconds"] == lag and calls(report) == [PUT]
    message = str([finding["message"] for finding in report["findings"]])
    assert not lag or not found or "60 s allowed" in message


def test_no_lag_is_asked_for_in_another_phase(room: Room, cloud: Cloud) -> None:
    room.loses(999)
    room.plan({}, phase=Phase.INSTANTIATE)
    assert room.preflight.run(ID) == Preflown(errors=0, warnings=0, calls=1)
    assert Lamp.measured == []


def test_the_largest_lag_stands_for_all(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    lags = {"hall": 3.0, "attic": None, "cellar": 41.0}
    monkeypatch.setattr(Lamp, "lag_seconds", lambda self, parameters: lags[parameters.name])
    room.plan(*({"Name": name} for name in lags))
    found = room.preflight.run(ID)
    assert found and found.lag_seconds == 41.0
    assert [report["lagSeconds"] for report in reports(cloud)] == [3.0, None, 41.0]


# --- what goes wrong ---


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", "InternalServerError"])
def test_what_cannot_be_looked_at_is_an_error_of_that_resource(room: Room, cloud: Cloud, code: str) -> None:
    lamps.make("on", "attic")
    room.plan({"Name": "hall"})
    cloud.answer("ssm", "GetParameter", *[error(code)] * 9)
    found = room.preflight.run(ID)
    (report,) = reports(cloud)
    assert found and found.errors == 1 and findings(report) == [("ERROR", code)]
    assert (report["progress"], report["calls"]) == (None, []) and status(cloud) is ExecutionStatus.SUCCEEDED


def test_a_role_that_cannot_be_assumed_is_an_error(room: Room, cloud: Cloud) -> None:
    room.plan({})
    cloud.answer("sts", "AssumeRole", error("AccessDenied"), status=403)
    room.preflight.run(ID)
    (report,) = reports(cloud)
    assert findings(report) == [("ERROR", "AccessDenied")] and "cannot assume arn:aws:iam" in report["findings"][0]["message"]


def test_a_module_that_this_version_does_not_have_is_an_error(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr_engine.opening.modules", lambda: {"Candle": Lamp})
    room.plan({})
    room.preflight.run(ID)
    assert [findings(report) for report in reports(cloud)] == [[("ERROR", "UnknownModule")]]


@pytest.mark.parametrize("where", ["activate_status_check", "guard", "preflight", "lag_seconds", "activate"])
def test_a_module_that_makes_a_mistake_does_not_hide_the_others(
    room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    inner = getattr(Lamp, where)

    def mistaken(self: Lamp, parameters: LampParameters) -> object:
        if parameters.name == "hall":
            raise KeyError("nothing")
        return inner(self, parameters)

    room.plan({"Name": "hall"}, {"Name": "attic"})
    monkeypatch.setattr(Lamp, where, mistaken)
    assert room.preflight.run(ID) == Preflown(errors=1, warnings=0, calls=1)
    bad, good = reports(cloud)
    assert findings(bad) == [("ERROR", "PreflightFailed")] and "KeyError: 'nothing'" in bad["findings"][0]["message"]
    assert (findings(good), calls(good)) == ([], [PUT]) and status(cloud) is ExecutionStatus.SUCCEEDED


# --- acts that stop half-way ---


def test_an_act_that_needs_an_answer_is_cut_there(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(self: Lamp, parameters: LampParameters) -> None:
        versions = self.client("ssm").put_parameter(Name="/one", Value="1", Type="String")["Version"]
        self.client("ssm").put_parameter(Name=[4, 5][versions - 1 + 9], Value="2", Type="String")

    room.plan({})
    monkeypatch.setattr(Lamp, "activate", act)
    room.preflight.run(ID)
    (report,) = reports(cloud)
    assert (findings(report), calls(report), report["note"]) == ([], [PUT], CUT)


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_what_an_act_makes_of_a_made_up_answer_is_no_finding(
    room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, error_class: ErrorClass
) -> None:
    def act(self: Lamp, parameters: LampParameters) -> None:
        if self.client("ssm").put_parameter(Name="/one", Value="1", Type="String")["Version"] == 0:
            raise self.error("Nonsense", "that is no version", error_class)

    room.plan({})
    monkeypatch.setattr(Lamp, "activate", act)
    room.preflight.run(ID)
    (report,) = reports(cloud)
    assert (findings(report), calls(report), report["note"]) == ([], [PUT], CUT)


@pytest.mark.parametrize("guarded", [True, False])
def test_an_act_that_refuses_is_an_error_told_once(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, guarded: bool) -> None:
    def refuse(self: Lamp, parameters: LampParameters) -> None:
        raise self.error("LiveSide", "it still serves")

    room.plan({})
    monkeypatch.setattr(Lamp, "guard", refuse if guarded else Lamp.guard)
    monkeypatch.setattr(Lamp, "activate", refuse)
    assert room.preflight.run(ID) == Preflown(errors=1, warnings=0, calls=0)
    (report,) = reports(cloud)
    assert findings(report) == [("ERROR", "LiveSide")] and calls(report) == []
    assert report["note"] == "the act would refuse: lamp-1 (Lamp): it still serves"
    assert report["mayAlsoCall"] == ["ssm:PutParameter"]


@pytest.mark.parametrize("parameters", [{"Password": "resolve:ssm:/password"}, {"Watts": "resolve:ssm:/password"}])
def test_a_securestring_is_not_looked_up(room: Room, cloud: Cloud, parameters: dict[str, str]) -> None:
    boto3.client("ssm").put_parameter(Name="/password", Value="60", Type="SecureString")
    room.plan(parameters)
    found = room.preflight.run(ID)
    (report,) = reports(cloud)
    assert found and found.errors == 0 and findings(report) == []
    assert report["note"] == "the parameters refer to a SecureString, which is only read when the phase runs"
    assert [call for call in cloud.made("GetParameter") if call.parameters["Name"] == "/password"] == []


# --- many ---


def test_time_is_up_for_those_that_have_not_been_looked_at(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr_engine.preflight._WITHIN_SECONDS", -1.0)
    room.plan({}, {})
    assert room.preflight.run(ID) == Preflown(errors=0, warnings=2, calls=0)
    assert [findings(report) for report in reports(cloud)] == [[("WARNING", "NotLookedAt")]] * 2
    assert cloud.made("AssumeRole") == [] and status(cloud) is ExecutionStatus.SUCCEEDED


def test_two_hundred_resources_take_seconds(room: Room, cloud: Cloud) -> None:
    room.plan(*({"Name": f"lamp-{i}"} for i in range(200)))
    began = time.monotonic()
    assert room.preflight.run(ID) == Preflown(errors=0, warnings=0, calls=200)
    assert time.monotonic() - began < 60
    assert [report["calls"][0]["parameters"]["Name"] for report in reports(cloud)] == [f"/lamp/lamp-{i}" for i in range(200)]


def test_a_report_that_is_too_large_is_cut(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr_core.state._LARGEST_JOURNAL", 3_000)
    room.plan([{"Name": f"{i}" * 100} for i in range(10, 99)])
    assert room.preflight.run(ID) is not None
    (report,) = reports(cloud)
    *kept, last = report["calls"]
    assert last["action"] == "…" and len(kept) + last["parameters"]["furtherCalls"] == 89 and kept
    assert len(json.dumps(kept)) <= 3_100


def test_an_execution_that_vanishes_is_left_alone(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    room.plan({})
    loaded = cloud.table.load(ID)
    assert loaded
    seen = iter([loaded, None])
    monkeypatch.setattr(type(cloud.table), "load", lambda *_: next(seen))
    assert room.preflight.run(ID) is None and reports(cloud) == []
    assert replace(loaded.execution).status is ExecutionStatus.PLANNING


def test_what_a_drill_leaves_out_is_not_looked_at_and_says_so(room: Room, cloud: Cloud) -> None:
    room.plan({"Name": "hall"}, {"Name": "attic"})
    state = cloud.table.load(ID)
    assert state
    why = {"status": ResourceStatus.SKIPPED, "detail": "left out of the drill: it is bright"}
    assert cloud.table.commit(state.execution, Move((on_resource(cloud.table.resources(ID)[0], due_at=None, **why),)), cloud.clock())
    assert room.preflight.run(ID) == Preflown(errors=0, warnings=0, calls=1, lag_seconds=None)
    first, second = reports(cloud)
    assert (first["progress"], first["detail"], first["calls"]) == ("SKIPPED", "left out of the drill: it is bright", [])
    assert second["progress"] == "NOT_STARTED" and len(cloud.made("GetParameter")) > 0
    assert not [call for call in cloud.made("GetParameter") if "hall" in str(call.parameters)]
