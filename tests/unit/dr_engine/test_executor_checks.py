"""Checking a resource that is under way, and what neither check nor start may ever show: secrets."""

import json
import logging
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError

from dr_core import flow
from dr_core.calls import recording
from dr_core.events import WakeUp
from dr_core.records import ResourceStatus
from tests.support import lamps
from tests.support.control_plane import ID, T0, Cloud, error
from tests.support.lit_room import LAMP, Room

SECRET = "s3cr3t-w0rd"


@pytest.fixture
def waiting(room: Room, cloud: Cloud) -> Room:
    """The lamp warms up; its first check is due."""
    room.request()
    assert room.start().status is ResourceStatus.WAITING
    cloud.calls.clear()
    return room


def test_a_check_sends_the_next_one_a_little_later_each_time(waiting: Room, cloud: Cloud) -> None:
    for check_no in range(1, 8):
        resource = waiting.check(check_no)
        assert (resource.status, resource.check_no) == (ResourceStatus.WAITING, check_no + 1)
    sent = cloud.sent("CHECK_QUEUE_URL")
    assert [message["checkNo"] for message, _ in sent] == [2, 3, 4, 5, 6, 7, 8]
    for (_, delay), expected in zip(sent, [7.5, 11.25, 15, 15, 15, 15, 15], strict=True):
        assert 0.8 * expected - 1 <= delay <= 1.2 * expected + 1, "half as long again, up to the module's cap"


def test_what_took_nine_minutes_before_is_looked_at_rarely_and_then_often(room: Room, cloud: Cloud) -> None:
    room.request(known=((540.0,),))
    room.start()
    assert 8 <= room.delays()[-1][1] <= 12, "twice as late as what is not known"
    cloud.clock.advance(480)
    room.check()
    assert room.delays()[-1][1] == 6, "when nine tenths of the time are over"
    cloud.clock.advance(6)
    room.check(2)
    assert 2 <= room.delays()[-1][1] <= 3
    lamps.make("on")
    cloud.clock.advance(30)
    assert room.check(3).taken == (516.0,)


def test_of_many_that_wait_together_each_is_looked_at_less_often(room: Room) -> None:
    """Two hundred with one reading call each: ten calls a second. The first looks come as the acts came."""
    room.request(peers=200)
    room.start()
    assert 4 <= room.delays()[-1][1] <= 6
    room.check()
    assert 16 <= room.delays()[-1][1] <= 24


def test_of_a_call_that_ten_share_each_counts_a_tenth(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand with a tenth of a reading call each: ten calls a second."""
    see = lamps.Lamp._seen

    def seen_by_ten(self: lamps.Lamp, parameters: lamps.LampParameters) -> str:
        seen, calls = see(self, parameters), recording().calls
        calls[-1] = replace(calls[-1], shared_by=10)
        return seen

    room.request(peers=1000)
    room.start()
    monkeypatch.setattr(lamps.Lamp, "_seen", seen_by_ten)
    room.check()
    assert 8 <= room.delays()[-1][1] <= 12


def test_at_its_deadline_a_resource_is_looked_at_a_last_time(room: Room, cloud: Cloud) -> None:
    """However rarely its turn comes: the sweep must not end what nobody has looked at."""
    room.request(peers=500, timeout_seconds=70)
    room.start()
    cloud.clock.advance(60)
    room.check()
    assert room.delays()[-1][1] == 11, "it would be 40 to 60 s"
    cloud.clock.advance(11)
    lamps.make("on")
    assert room.check(2).status is ResourceStatus.SUCCEEDED


def test_throttling_does_not_shorten_a_long_delay(room: Room, cloud: Cloud) -> None:
    room.request(peers=1000)
    room.start()
    cloud.answer("ssm", "GetParameter", *[error("ThrottlingException")] * 3)
    room.check()
    assert 80 <= room.delays()[-1][1] <= 120


def test_a_check_that_finds_the_goal_is_the_last(waiting: Room, cloud: Cloud) -> None:
    lamps.make("on")
    resource = waiting.check()
    assert (resource.status, resource.detail, resource.due_at) == (ResourceStatus.SUCCEEDED, "it shines", None)
    assert cloud.sent("CHECK_QUEUE_URL") == [] and cloud.events()[-1] == "Resource Succeeded"
    before = cloud.items()
    waiting.check()
    assert cloud.items() == before


@pytest.mark.failure("An operation is accepted and fails later")
def test_a_failure_that_the_service_reports_is_tried_again_when_it_is_time(waiting: Room, cloud: Cloud) -> None:
    lamps.make("broken")
    resource = waiting.check()
    assert (resource.status, resource.spent) == (ResourceStatus.RETRY_WAIT, 1)
    ((message, delay),) = cloud.sent("ADVANCE_QUEUE_URL")
    assert message == {"type": "Resource Failed", "schemaVersion": "1", "executionId": ID, "resourceId": LAMP, "attempt": 1}
    assert resource.next_at
    cloud.clock.advance(delay)
    assert cloud.clock() >= resource.next_at
    flow.advance(cloud.table, ID, cloud.clock)
    assert (waiting.resource.status, waiting.resource.attempt) == (ResourceStatus.REQUESTED, 2)


@pytest.mark.failure("Events out of order, a message of an earlier attempt")
@pytest.mark.parametrize(("check_no", "attempt"), [(0, 1), (2, 1), (1, 0), (1, 2), (7, 7)])
def test_a_message_of_another_check_or_attempt_calls_nothing(waiting: Room, cloud: Cloud, check_no: int, attempt: int) -> None:
    before = cloud.items()
    cloud.calls.clear()
    waiting.check(check_no, attempt)
    assert {call.operation for call in cloud.calls} == {"BatchGetItem", "Query"}, "the test's own look among them"
    assert cloud.items() == before


def test_a_resource_that_is_not_waited_for_is_not_checked(room: Room, cloud: Cloud) -> None:
    room.request()
    room.check(check_no=0)
    room.executor.check(WakeUp(executionId="01NO", resourceId=LAMP, attempt=1, checkNo=1))
    assert cloud.made("AssumeRole", "GetParameter") == []


def test_a_check_may_only_read(waiting: Room, cloud: Cloud) -> None:
    waiting.check()
    (call,) = cloud.made("AssumeRole")
    assert json.loads(call.parameters["Policy"])["Statement"][0]["Action"] == ["ssm:GetParameter"]
    assert waiting.acts == []


def test_an_act_may_do_what_its_phase_needs_and_no_more(room: Room, cloud: Cloud) -> None:
    room.request()
    room.start()
    (call,) = cloud.made("AssumeRole")
    assert json.loads(call.parameters["Policy"])["Statement"][0]["Action"] == ["ssm:GetParameter", "ssm:PutParameter"]
    assert call.parameters["RoleSessionName"] == f"dr-{ID}"


@pytest.mark.parametrize(
    "answer", [error("InternalServerError"), error("ParameterLimitExceeded"), ConnectTimeoutError(endpoint_url="https://ssm")]
)
def test_an_observation_that_fails_says_nothing_about_the_resource(waiting: Room, cloud: Cloud, answer: dict[str, Any] | Exception) -> None:
    cloud.answer("ssm", "GetParameter", answer, status=500)
    resource = waiting.check()
    assert (resource.status, resource.spent, resource.check_no) == (ResourceStatus.WAITING, 0, 2)
    assert resource.detail, "and people can see why"


@pytest.mark.failure("The target's API throttles")
def test_a_throttled_check_waits_twice_as_long(waiting: Room, cloud: Cloud) -> None:
    cloud.answer("ssm", "GetParameter", error("ThrottlingException"))
    assert waiting.check().spent == 0
    ((_, delay),) = cloud.sent("CHECK_QUEUE_URL")
    assert 2 * 0.8 * 7.5 - 1 <= delay <= 2 * 1.2 * 7.5 + 1


def test_no_right_to_look_ends_the_resource(waiting: Room, cloud: Cloud) -> None:
    cloud.answer("ssm", "GetParameter", error("AccessDeniedException"))
    assert waiting.check().status is ResourceStatus.FAILED


def test_a_check_after_the_deadline_is_the_last(waiting: Room, cloud: Cloud) -> None:
    cloud.clock.advance(601)
    resource = waiting.check()
    assert resource.status is ResourceStatus.TIMED_OUT and resource.failure
    assert "had not reached its goal after 600 s; last seen: it warms up" in resource.failure.message


def test_a_lamp_that_shines_at_last_is_done_though_it_is_late(waiting: Room, cloud: Cloud) -> None:
    lamps.make("on")
    cloud.clock.advance(601)
    assert waiting.check().status is ResourceStatus.SUCCEEDED


# --- secrets ---


def told(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> str:
    """Everything that is stored, sent to a queue, or logged."""
    sent = [call.parameters for call in cloud.made("SendMessage")]
    logged = [{key: str(value) for key, value in vars(record).items()} for record in caplog.records]
    return repr((cloud.items(), sent, logged, caplog.text))


@pytest.fixture
def secretive(room: Room, caplog: pytest.LogCaptureFixture) -> Room:
    """The lamp needs a password that is in a SecureString; and everything is logged."""
    boto3.client("ssm").put_parameter(Name="/password", Value=SECRET, Type="SecureString")
    caplog.set_level(logging.DEBUG)
    for name in ("botocore", "urllib3", "pynamodb", "boto3"):
        caplog.set_level(logging.WARNING, logger=name)
    return room


def test_a_secret_is_used_and_never_kept(secretive: Room, cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    secretive.request({"Password": "resolve:ssm:/password", "Becomes": "warming"})
    used: list[str] = []
    secretive.watch(lambda moment: used.append(moment))
    assert secretive.start().status is ResourceStatus.WAITING and len(used) == 2
    secretive.check()
    (resolved, *_) = [call.parameters for call in cloud.made("GetParameter") if call.parameters.get("WithDecryption")]
    assert resolved["Name"] == "/password"
    assert SECRET not in told(cloud, caplog)
    assert json.loads(secretive.resource.parameters)["Password"] == "resolve:ssm:/password"
    opened = [json.loads(call.parameters["Policy"])["Statement"][0]["Action"] for call in cloud.made("AssumeRole")]
    assert all("kms:Decrypt" in actions for actions in opened)


def test_a_secret_that_does_not_fit_is_not_shown_either(secretive: Room, cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    secretive.request({"Watts": "resolve:ssm:/password"})
    resource = secretive.start()
    assert resource.status is ResourceStatus.FAILED and resource.failure
    assert resource.failure.code == "InvalidParameters"
    assert "Watts: Input should be a valid integer" in resource.failure.message
    assert SECRET not in told(cloud, caplog)


def test_a_secret_that_is_gone_fails_before_anything_is_done(secretive: Room, cloud: Cloud) -> None:
    secretive.request({"Password": "resolve:ssm:/gone"})
    resource = secretive.start()
    assert resource.status is ResourceStatus.FAILED and resource.failure
    assert resource.failure.code == "ParameterNotFound" and "resolve:ssm:/gone" in resource.failure.message
    assert secretive.acts == [] and resource.started_at == T0


def test_without_references_nothing_is_decrypted(room: Room, cloud: Cloud) -> None:
    room.request({"Password": "plain"})
    room.start()
    assert "kms:Decrypt" not in cloud.made("AssumeRole")[0].parameters["Policy"]
    assert [call for call in cloud.made("GetParameter") if call.parameters.get("WithDecryption")] == []
