"""Ahead of a failover: how much data it would lose, and what a planned one does not accept. And the journal of what was called."""

import json

import boto3
import pytest

from dr_core import flow
from dr_core.commands import Command
from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_core.records import ResourceStatus
from tests.support import lamps
from tests.support.control_plane import ID, Cloud, error
from tests.support.lamps import Lamp
from tests.support.lit_room import LAMP, CrashError, Room

UNKNOWN = ModuleError("NoMetric", "lamp-1 (Lamp): there is no metric")
SECRET = "s3cr3t-w0rd"


# --- the lag ---


@pytest.mark.parametrize(
    ("mode", "loss", "acts"),
    [
        (Mode.PLANNED, 0.0, True),
        (Mode.PLANNED, 30.0, True),
        (Mode.PLANNED, 30.25, False),
        (Mode.UNPLANNED, 30.25, True),
        (Mode.DRILL, 30.25, True),
        (Mode.PLANNED, None, True),
        (Mode.PLANNED, UNKNOWN, False),
        (Mode.UNPLANNED, UNKNOWN, True),
        (Mode.DRILL, UNKNOWN, True),
    ],
)
def test_a_planned_failover_accepts_only_so_much_loss(
    room: Room, cloud: Cloud, mode: Mode, loss: float | ModuleError | None, acts: bool
) -> None:
    room.loses(loss)
    room.request(mode=mode, max_lag_seconds=30)
    resource = room.start()
    assert resource.status is (ResourceStatus.WAITING if acts else ResourceStatus.FAILED)
    assert len(room.acts) == acts and Lamp.measured == [LAMP]
    measured = loss if acts and isinstance(loss, float) else None
    assert resource.lag_seconds == measured
    told = [json.loads(entry.detail) for entry in cloud.table.timeline(ID) if entry.detail_type == "Resource Measured"]
    assert [(one["resourceId"], one["lagSeconds"]) for one in told] == ([] if measured is None else [(LAMP, measured)])


@pytest.mark.parametrize(("loss", "code"), [(31.0, "ReplicationLagTooHigh"), (UNKNOWN, "NoMetric")])
def test_a_refused_failover_ends_without_another_attempt(room: Room, cloud: Cloud, loss: float | ModuleError, code: str) -> None:
    room.loses(loss)
    room.request(max_lag_seconds=30, max_attempts=3)
    failure = room.start().failure
    assert failure and (failure.code, failure.error_class) == (code, ErrorClass.TERMINAL)
    assert room.resource.before is None and lamps.shown() is None
    if code == "ReplicationLagTooHigh":
        assert failure.message.startswith("lamp-1 (Lamp): 31 s of data not yet replicated, 30 s allowed: wait until")


def test_a_lag_that_is_throttled_is_measured_again(room: Room, cloud: Cloud) -> None:
    room.loses(ModuleError("Throttling", "slow down", ErrorClass.THROTTLED))
    room.request()
    resource = room.start()
    assert (resource.status, resource.spent, room.acts) == (ResourceStatus.RETRY_WAIT, 0, [])
    room.loses(1.0)
    cloud.clock.advance(400)
    flow.advance(cloud.table, ID, cloud.clock)
    assert room.start(attempt=2).lag_seconds == 1.0


def test_after_a_refusal_a_retry_measures_anew(room: Room, cloud: Cloud) -> None:
    room.loses(99.0)
    room.request(max_lag_seconds=30)
    assert room.start().status is ResourceStatus.FAILED
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Command("retry", "olga", "it has caught up", (LAMP,)), cloud.clock)
    flow.advance(cloud.table, ID, cloud.clock)
    room.loses(2.0)
    resource = room.start(attempt=2)
    assert (resource.status, resource.lag_seconds, len(room.acts)) == (ResourceStatus.WAITING, 2.0, 1)


@pytest.mark.parametrize("shines", ["on", "warming"])
def test_what_is_not_acted_on_is_not_measured(room: Room, shines: str) -> None:
    lamps.make(shines)
    room.loses(999)
    room.request()
    assert room.start().status in (ResourceStatus.SUCCEEDED, ResourceStatus.WAITING)
    assert Lamp.measured == [] and room.resource.lag_seconds is None


def test_other_phases_are_not_measured(room: Room) -> None:
    room.loses(999)
    room.request(phase=Phase.INSTANTIATE)
    assert room.start().status is ResourceStatus.WAITING
    assert Lamp.measured == [] and len(room.acts) == 1


def test_it_is_measured_once_and_stays_as_it_was(room: Room, cloud: Cloud) -> None:
    room.loses(1.5)
    room.request({"Becomes": "broken"}, max_attempts=3)
    room.start()
    room.check()
    cloud.clock.advance(400)
    flow.advance(cloud.table, ID, cloud.clock)
    room.loses(999)
    resource = room.start(attempt=2)
    assert (resource.lag_seconds, Lamp.measured, len(room.acts)) == (1.5, [LAMP], 2)
    assert cloud.events().count("Resource Measured") == 1


def test_who_takes_over_before_the_act_measures_if_nobody_has(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Lamp.record_before

    def crash(*_: object) -> object:
        raise CrashError

    room.loses(4.0)
    room.request()
    monkeypatch.setattr(Lamp, "record_before", crash)
    with pytest.raises(CrashError):
        room.start()
    monkeypatch.setattr(Lamp, "record_before", recorded)
    cloud.clock.advance(120)
    assert room.start(owner="y").lag_seconds == 4.0 and Lamp.measured == [LAMP] * 2


# --- an act that was carried out, and cannot be seen ---


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ParameterLimitExceeded", "ThrottlingException", "InternalServerError", "ValidationException"]
)
def test_an_observation_that_fails_after_the_act_spends_no_attempt(room: Room, cloud: Cloud, code: str) -> None:
    def blind(moment: str) -> None:
        if moment == "after":
            cloud.answer("ssm", "GetParameter", *[error(code)] * 3)

    room.request(max_attempts=1)
    room.watch(blind)
    resource = room.start()
    assert (resource.status, resource.spent, resource.failure) == (ResourceStatus.WAITING, 0, None)
    assert json.loads(resource.handles or "") == [{"lit": "hall"}] and len(room.acts) == 1


# --- the journal ---


def journal(cloud: Cloud) -> list[tuple[str, int, list[str]]]:
    """The actions that are kept, for each claim and check."""
    return [(resource_id, attempt, [call["action"] for call in calls]) for resource_id, attempt, calls in cloud.table.calls(ID)]


def test_each_claim_that_changed_something_is_in_the_journal(room: Room, cloud: Cloud) -> None:
    room.request([{"Name": "hall"}, {"Name": "attic", "Becomes": "broken"}])
    room.start()
    assert journal(cloud) == [(LAMP, 1, ["ssm:PutParameter"] * 2)]
    ((_, _, calls),) = cloud.table.calls(ID)
    assert [call["parameters"]["Name"] for call in calls] == ["/lamp/hall", "/lamp/attic"]
    assert all(call["sent"] and call["request_id"] and call["duration_ms"] >= 0 and call["region"] == "us-west-2" for call in calls)
    cloud.clock.advance(1)
    room.check()
    assert len(journal(cloud)) == 1, "a check that found what it found has changed nothing"
    cloud.clock.advance(400)
    flow.advance(cloud.table, ID, cloud.clock)
    room.start(attempt=2)
    assert journal(cloud)[1:] == [(LAMP, 2, ["ssm:PutParameter"])], "what is lit already is left alone"
    assert cloud.table.calls(ID, "0009-001") == [] and len(cloud.table.calls(ID, LAMP)) == 2


def test_what_is_adopted_leaves_nothing(room: Room, cloud: Cloud) -> None:
    lamps.make("warming")
    room.request()
    room.start()
    room.check()
    assert journal(cloud) == []


def test_a_failure_keeps_the_call_that_failed_also_if_it_only_read(room: Room, cloud: Cloud) -> None:
    room.request()
    room.start()
    cloud.answer("ssm", "GetParameter", error("AccessDeniedException", "not you"))
    cloud.clock.advance(1)
    room.check()
    assert journal(cloud) == [(LAMP, 1, ["ssm:PutParameter"]), (LAMP, 1, ["ssm:GetParameter"])]
    (call,) = cloud.table.calls(ID)[1][2]
    assert (call["error_code"], call["error_message"], call["request_id"]) == ("AccessDeniedException", "not you", "req-1")


def test_an_act_that_failed_is_in_the_journal_with_its_error(room: Room, cloud: Cloud) -> None:
    room.request()
    cloud.answer("ssm", "PutParameter", error("ParameterLimitExceeded"))
    room.start()
    *vain, call = cloud.table.calls(ID)[0][2]
    assert {one["error_code"] for one in vain} == {"ParameterNotFound"}, "and what it looked for"
    assert (call["action"], call["error_code"]) == ("ssm:PutParameter", "ParameterLimitExceeded")


def test_the_journal_hides_the_values_of_securestrings(room: Room, cloud: Cloud) -> None:
    boto3.client("ssm").put_parameter(Name="/password", Value=SECRET, Type="SecureString")
    room.request({"Name": "resolve:ssm:/password"})
    cloud.answer("ssm", "PutParameter", error("ParameterLimitExceeded", f"no room for /lamp/{SECRET}"))
    room.start()
    *_, call = cloud.table.calls(ID)[0][2]
    assert call["parameters"]["Name"] == "/lamp/***" and call["error_message"] == "no room for /lamp/***"
