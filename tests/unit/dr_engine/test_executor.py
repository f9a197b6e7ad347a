"""Starting a resource: claimed once, looked at first, acted on once, and recorded, whatever dies or goes wrong in between."""

import json
from datetime import UTC, datetime
from typing import Literal

import pytest
from botocore.exceptions import ReadTimeoutError

from dr_core import flow
from dr_core.commands import Command
from dr_core.errors import ErrorClass
from dr_core.events import WakeUp
from dr_core.moves import LOST_AFTER
from dr_core.records import ResourceStatus
from dr_core.triggers import Claim
from tests.support import lamps
from tests.support.control_plane import HOME, ID, T0, Cloud, error
from tests.support.lit_room import LAMP, CrashError, Room

PUT, GET = "PutParameter", "GetParameter"


def test_a_resource_is_acted_on_once_and_waited_for(room: Room, cloud: Cloud) -> None:
    room.request()
    resource = room.start()
    assert (resource.status, resource.detail, resource.percent) == (ResourceStatus.WAITING, "it warms up", 50)
    assert (resource.lease_owner, resource.lease_until, resource.check_no) == (None, None, 1)
    assert len(room.acts) == 1 and lamps.shown() == "warming"
    assert cloud.events()[-2:] == ["Resource Started", "Resource Waiting"]
    ((kind, delay),) = room.delays()
    assert kind == "Resource Waiting" and 4 <= delay <= 6, "five seconds, a fifth more or less"
    assert cloud.sent("CHECK_QUEUE_URL")[0][0] == {
        "type": kind,
        "schemaVersion": "1",
        "executionId": ID,
        "resourceId": LAMP,
        "attempt": 1,
        "checkNo": 1,
    }


def test_a_second_delivery_stops_at_the_claim(room: Room, cloud: Cloud) -> None:
    room.request()
    room.start()
    before = cloud.items()
    cloud.calls.clear()
    room.start(owner="y")
    assert cloud.items() == before
    assert {call.service for call in cloud.calls} == {"dynamodb"}, "the target account is not even opened"


def test_a_delivery_while_another_acts_stops_too(room: Room) -> None:
    room.request()
    room.watch(lambda moment: room.executor.start(WakeUp(executionId=ID, resourceId=LAMP, attempt=1), "y"))
    assert room.start().status is ResourceStatus.WAITING
    assert len(room.acts) == 1


def test_what_is_done_already_is_left_alone(room: Room, cloud: Cloud) -> None:
    lamps.make("on")
    room.request()
    resource = room.start()
    assert (resource.status, resource.detail, resource.before) == (ResourceStatus.SUCCEEDED, "it shines", None)
    assert room.acts == [] and room.delays() == []
    assert cloud.events()[-1] == "Resource Succeeded"


def test_what_is_under_way_already_is_adopted(room: Room) -> None:
    lamps.make("warming")
    room.request()
    assert room.start().status is ResourceStatus.WAITING
    assert room.acts == []


def test_what_was_is_stored_before_anything_is_done(room: Room) -> None:
    lamps.make("broken")
    room.request([{"Name": "hall"}, {"Name": "attic"}])
    seen: list[str | None] = []
    room.watch(lambda moment: seen.append(room.resource.before))
    room.start()
    assert [json.loads(before or "") for before in seen] == [[{"was": "broken"}, {"was": "off"}]] * 4


def test_what_was_is_stored_once(room: Room, cloud: Cloud) -> None:
    room.request({"Becomes": "broken"}, max_attempts=3)
    room.start()
    assert room.check().status is ResourceStatus.RETRY_WAIT
    cloud.clock.advance(400)
    flow.advance(cloud.table, ID, cloud.clock)
    resource = room.start(attempt=2)
    assert (resource.attempt, resource.spent) == (2, 1)
    assert json.loads(resource.before or "") == [{"was": "off"}], "how it was before the first act"
    assert len(room.acts) == 2, "a fresh attempt acts on what has failed"


def test_a_pause_holds_back_the_claim_and_nothing_later(room: Room, cloud: Cloud) -> None:
    def pause(_moment: str) -> None:
        state = cloud.table.load(ID)
        if state and state.execution.status == "RUNNING":
            assert flow.follow(cloud.table, state, Command("pause", "olga", "wait"), cloud.clock)

    room.request()
    room.watch(pause)
    assert room.start().status is ResourceStatus.WAITING, "what was acted on is recorded"
    lamps.make("on")
    assert room.check().status is ResourceStatus.SUCCEEDED, "and observed to its end"


def test_a_paused_execution_is_not_claimed(room: Room, cloud: Cloud) -> None:
    room.request()
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Command("pause", "olga", "wait"), cloud.clock)
    assert room.start().status is ResourceStatus.REQUESTED and room.acts == []


@pytest.mark.parametrize(("execution_id", "resource_id", "attempt"), [("01NO", LAMP, 1), (ID, "0009-001", 1), (ID, LAMP, 0), (ID, LAMP, 2)])
def test_a_message_about_something_else_is_dropped(room: Room, cloud: Cloud, execution_id: str, resource_id: str, attempt: int) -> None:
    room.request()
    before = cloud.items()
    room.executor.start(WakeUp(executionId=execution_id, resourceId=resource_id, attempt=attempt), "x")
    assert cloud.items() == before and cloud.made("AssumeRole") == []


# --- executors that die ---


@pytest.mark.failure("An executor dies between claim and act")
def test_a_crash_between_claim_and_act_is_taken_over(room: Room, cloud: Cloud) -> None:
    room.request()
    room.crash("before")
    with pytest.raises(CrashError):
        room.start()
    assert (room.resource.status, room.resource.lease_owner, room.acts) == (ResourceStatus.STARTING, "x", [])
    assert room.start(owner="y").lease_owner == "x", "not before the lease has ended"
    cloud.clock.advance(120)
    resource = room.start(owner="y")
    assert (resource.status, resource.attempt, len(room.acts)) == (ResourceStatus.WAITING, 1, 1)


@pytest.mark.failure("An executor dies after its act, before its record")
@pytest.mark.parametrize(("shines", "status"), [("warming", "WAITING"), ("on", "SUCCEEDED"), ("broken", "WAITING")])
def test_a_crash_after_the_act_is_adopted_and_never_acted_on_again(room: Room, cloud: Cloud, shines: str, status: str) -> None:
    room.request({"Becomes": shines})
    room.crash("after")
    with pytest.raises(CrashError):
        room.start()
    cloud.clock.advance(120)
    assert (room.start(owner="y").status, len(room.acts)) == (status, 1)


@pytest.mark.failure("An executor dies after its act, before its record")
def test_a_takeover_of_what_has_failed_in_part_does_not_act_on_the_rest(room: Room, cloud: Cloud) -> None:
    room.request([{"Name": "hall", "Becomes": "broken"}, {"Name": "attic"}])
    room.crash("after")
    with pytest.raises(CrashError):
        room.start()
    cloud.clock.advance(120)
    assert room.start(owner="y").status is ResourceStatus.WAITING
    assert len(room.acts) == 1 and lamps.shown("attic") is None, "the check says that it failed: the next attempt mends it"


def test_what_fails_while_somebody_takes_over_is_not_acted_on(room: Room, cloud: Cloud) -> None:
    room.request()
    room.crash("before")
    with pytest.raises(CrashError):
        room.start()
    cloud.clock.advance(120)
    room.meanwhile(lambda: lamps.make("broken"))
    assert room.start(owner="y").status is ResourceStatus.WAITING
    assert lamps.shown() == "broken"


@pytest.mark.failure("Duplicate event, message delivered again")
def test_of_two_that_look_at_once_one_acts(room: Room, cloud: Cloud) -> None:
    room.request()
    room.meanwhile(lambda: room.start(owner="y"))
    assert room.start(owner="x").check_no == 1
    assert len(room.acts) == 1 and cloud.events().count("Resource Started") == 1


@pytest.mark.failure("An executor dies between claim and act")
def test_of_two_that_look_at_what_one_left_one_takes_over(room: Room, cloud: Cloud) -> None:
    def taken_over() -> None:
        room.crash("after")
        with pytest.raises(CrashError):
            room.start(owner="y")

    room.request()
    room.crash("before")
    with pytest.raises(CrashError):
        room.start()
    cloud.clock.advance(120)
    room.meanwhile(taken_over)
    resource = room.start(owner="z")
    assert (resource.status, resource.lease_owner, len(room.acts)) == (ResourceStatus.STARTING, "y", 1)


def test_a_pause_after_the_look_holds_back_the_claim(room: Room, cloud: Cloud) -> None:
    def order(name: Literal["pause", "resume"]) -> None:
        state = cloud.table.load(ID)
        assert state and flow.follow(cloud.table, state, Command(name, "olga", "wait"), cloud.clock)

    room.request(due_at=T0 + LOST_AFTER)
    room.meanwhile(lambda: order("pause"))
    resource = room.start()
    assert (resource.status, resource.before, room.acts) == (ResourceStatus.REQUESTED, None, [])
    order("resume")
    cloud.clock.advance(60)
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 1, "the sweep asks again"
    assert room.start().status is ResourceStatus.WAITING


def test_what_failed_meanwhile_is_seen_by_the_check(room: Room, cloud: Cloud) -> None:
    room.request({"Becomes": "broken"}, max_attempts=1)
    room.crash("after")
    with pytest.raises(CrashError):
        room.start()
    cloud.clock.advance(120)
    room.start(owner="y")
    resource = room.check()
    assert (resource.status, resource.failure and resource.failure.code) == (ResourceStatus.FAILED, "Broken")
    assert len(room.acts) == 1


@pytest.mark.failure("An executor stands still beyond its lease")
def test_who_was_taken_over_does_not_record_any_more(room: Room, cloud: Cloud) -> None:
    def overtaken(moment: str) -> None:
        if moment == "after":
            room.watch(lambda _: None)
            cloud.clock.advance(121)
            room.start(owner="y")
            states.append(state())

    def state() -> list[object]:
        return [item for item in cloud.items() if not item["sk"]["S"].startswith("CALLS#")]  # what it called is told all the same

    states: list[object] = []
    room.request()
    room.watch(overtaken)
    room.start(owner="x")
    assert state() == states[0] and len(room.acts) == 1
    assert room.resource.status is ResourceStatus.WAITING and room.resource.check_no == 1


@pytest.mark.failure("An executor stands still beyond its lease")
def test_who_was_taken_over_before_the_act_does_not_act(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = lamps.Lamp.record_before

    def overtaken(self: lamps.Lamp, raw: object) -> object:
        monkeypatch.setattr(lamps.Lamp, "record_before", recorded)
        cloud.clock.advance(121)
        state = cloud.table.load_resource(ID, LAMP)
        assert state and flow.follow(cloud.table, state, Claim(LAMP, 1, "y"), cloud.clock)
        return recorded(self, raw)

    room.request()
    monkeypatch.setattr(lamps.Lamp, "record_before", overtaken)
    resource = room.start(owner="x")
    assert room.acts == [] and (resource.status, resource.lease_owner, resource.before) == (ResourceStatus.STARTING, "y", None)


@pytest.mark.failure("An executor stands still beyond its lease", "Clocks differ")
def test_no_call_is_sent_when_the_lease_ends(room: Room, cloud: Cloud) -> None:
    cloud.clock.now = datetime.now(UTC).replace(microsecond=0)
    room.request(lease_seconds=10)
    resource = room.start()
    assert lamps.shown() is None, "the lease was shorter than one try of a call may last"
    assert (resource.status, resource.failure) == (ResourceStatus.WAITING, None)


# --- what goes wrong ---


@pytest.mark.parametrize("operation", [GET, PUT])
@pytest.mark.parametrize(
    ("answer", "code", "error_class", "status", "spent"),
    [
        (error("AccessDeniedException"), "AccessDeniedException", ErrorClass.TERMINAL, ResourceStatus.FAILED, 0),
        (error("ParameterLimitExceeded"), "ParameterLimitExceeded", ErrorClass.RETRYABLE, ResourceStatus.RETRY_WAIT, 1),
        (error("ThrottlingException"), "ThrottlingException", ErrorClass.THROTTLED, ResourceStatus.RETRY_WAIT, 0),
    ],
)
def test_an_error_is_an_outcome(
    room: Room, cloud: Cloud, operation: str, answer: dict[str, object], code: str, error_class: ErrorClass, status: str, spent: int
) -> None:
    room.request()
    cloud.answer("ssm", operation, answer)
    resource = room.start()
    assert resource.failure
    assert (resource.status, resource.spent, resource.lease_owner) == (status, spent, None)
    assert (resource.failure.code, resource.failure.error_class, resource.failure.request_id) == (code, error_class, "req-1")
    assert resource.failure.message.startswith(f"lamp-1 (Lamp): {operation}: no")
    assert cloud.events()[-1] == "Resource Failed"
    retried = status is ResourceStatus.RETRY_WAIT
    assert [kind for kind, _ in room.delays()] == ["Resource Failed"] * retried
    if retried:
        ((message, delay),) = cloud.sent("ADVANCE_QUEUE_URL")
        assert resource.next_at and 0 <= delay - (resource.next_at - T0).total_seconds() <= 1.5
        assert (message["resourceId"], message["attempt"]) == (LAMP, 1)


@pytest.mark.failure("The target's API hangs, or its Region is dark")
@pytest.mark.parametrize("answer", [error("InternalServerError"), ReadTimeoutError(endpoint_url="https://ssm")])
def test_what_may_have_happened_is_observed(room: Room, cloud: Cloud, answer: dict[str, object] | Exception) -> None:
    room.request()
    cloud.answer("ssm", PUT, answer, status=500)
    assert room.start().status is ResourceStatus.WAITING
    assert [kind for kind, _ in room.delays()] == ["Resource Waiting"]
    lamps.make("on")
    assert room.check().status is ResourceStatus.SUCCEEDED


@pytest.mark.failure("The role in the target account is missing or denies")
def test_a_role_that_cannot_be_assumed_is_the_resources_failure(room: Room, cloud: Cloud) -> None:
    room.request()
    cloud.answer("sts", "AssumeRole", error("AccessDenied"), status=403)
    resource = room.start()
    assert resource.status is ResourceStatus.FAILED and resource.failure
    assert "cannot assume arn:aws:iam::123456789012:role/the-role" in resource.failure.message


def test_a_module_that_this_version_does_not_have_is_a_failure(room: Room) -> None:
    room.request(module="Candle")
    resource = room.start()
    assert resource.status is ResourceStatus.FAILED and resource.failure
    assert resource.failure.message == "lamp-1: this version has no module Candle; it has Lamp"


def test_an_error_that_nobody_foresaw_is_raised_and_taken_over(room: Room, cloud: Cloud) -> None:
    def broken(_moment: str) -> None:
        room.watch(lambda _: None)
        raise ZeroDivisionError

    room.request()
    room.watch(broken)
    with pytest.raises(ZeroDivisionError):
        room.start()
    cloud.clock.advance(120)
    assert room.start(owner="y").status is ResourceStatus.WAITING


def test_handles_are_kept_also_of_an_act_that_failed_half_way(room: Room, cloud: Cloud) -> None:
    room.request([{"Name": "hall"}, {"Name": "attic"}])

    def refuse(moment: str) -> None:
        if moment == "after":
            cloud.answer("ssm", PUT, error("ParameterLimitExceeded"))

    room.watch(refuse)
    resource = room.start()
    assert resource.status is ResourceStatus.RETRY_WAIT
    assert json.loads(resource.handles or "") == [{"lit": "hall"}]


def test_handles_of_earlier_attempts_survive_one_that_does_nothing(room: Room, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    room.request()
    room.start()
    assert json.loads(room.resource.handles or "") == [{"lit": "hall"}]
    lamps.make("broken")
    room.check()
    cloud.clock.advance(400)
    flow.advance(cloud.table, ID, cloud.clock)
    monkeypatch.setattr("dr_engine.opening.modules", dict)  # a version that has lost the module
    resource = room.start(attempt=2)
    assert resource.status is ResourceStatus.FAILED
    assert json.loads(resource.handles or "") == [{"lit": "hall"}]
