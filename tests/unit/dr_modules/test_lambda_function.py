"""LambdaFunction: called at least once, never said to be done when it is not."""

import json
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.response import StreamingBody
from pydantic import ValidationError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules import lambda_function
from dr_modules.base import Progress, Severity
from dr_modules.lambda_function import LambdaFunction
from tests.support import scenes
from tests.support.aws import STANDBY, World, error

WARM = {"FunctionName": "warm", "Payload": {"caches": ["sessions"]}}
SYNC = {**WARM, "InvocationType": "RequestResponse"}
ACTIVATE = Phase.ACTIVATE


def answer(world: World, status: int, said: object = None, failure: str | None = None) -> None:
    """Lambda answers every call like this."""
    body = json.dumps(said).encode()
    rest = {"FunctionError": failure} if failure else {}
    world.answer("lambda", "Invoke", {"StatusCode": status, "Payload": StreamingBody(BytesIO(body), len(body)), **rest})


def payloads(world: World) -> list[dict[str, Any]]:
    return [json.loads(call.parameters["Payload"]) for call in world.calls if call.operation == "Invoke"]


@pytest.mark.parametrize("phase", list(Phase))
def test_in_every_phase_the_function_is_called_and_told_what_for(world: World, phase: Phase) -> None:
    answer(world, 202)
    mode = Mode.DRILL if phase in LambdaFunction.drills else Mode.PLANNED
    assert world.drive(LambdaFunction, phase, WARM, mode).progress is Progress.DONE
    call = next(one for one in world.calls if one.operation == "Invoke")
    assert (call.operation, call.parameters["InvocationType"]) == ("Invoke", "Event")
    sent = payloads(world)[0]
    key = sent["context"].pop("idempotencyKey")
    assert len(key) == 32
    assert sent == {
        "caches": ["sessions"],
        "context": {
            "executionId": "01EXECUTION",
            "application": "shop",
            "phase": phase.value,
            "mode": mode.value,
            "resourceName": "the-resource",
            "attempt": 1,
        },
    }


def test_a_function_that_was_not_called_is_not_done(world: World) -> None:
    assert world.module(LambdaFunction, ACTIVATE).observe(WARM).progress is Progress.NOT_STARTED
    assert world.calls == []  # there is nothing to ask


@pytest.mark.parametrize(("raw", "status", "outcome"), [(WARM, 202, "accepted"), (SYNC, 200, "returned")])
def test_what_the_call_came_to_is_kept(world: World, raw: dict[str, Any], status: int, outcome: str) -> None:
    answer(world, status)
    first = world.module(LambdaFunction, ACTIVATE)
    first.start(raw, again=True)
    assert first.handles == [{"outcome": outcome, "requestId": "answered"}]
    later = world.module(LambdaFunction, ACTIVATE, handles=first.handles)
    assert later.observe(raw).progress is Progress.DONE
    later.start(raw, again=True)
    assert len(world.calls) == 1


def test_a_takeover_that_finds_no_record_calls_again_with_the_same_key(world: World) -> None:
    answer(world, 202)
    world.module(LambdaFunction, ACTIVATE).start(WARM, again=True)
    world.module(LambdaFunction, ACTIVATE).start(WARM, again=False)  # the handle was lost with the executor
    world.module(LambdaFunction, ACTIVATE, attempt=2).start(WARM, again=True)
    contexts = [sent["context"] for sent in payloads(world)]
    assert len({context["idempotencyKey"] for context in contexts}) == 1
    assert [context["attempt"] for context in contexts] == [1, 1, 2]


def test_a_functions_error_fails_with_its_own_words(world: World) -> None:
    answer(world, 200, {"errorMessage": "no such cache", "errorType": "LookupError"}, "Unhandled")
    module = world.module(LambdaFunction, ACTIVATE)
    module.start(SYNC, again=True)
    status = module.observe(SYNC)
    assert (status.progress, status.code) == (Progress.FAILED, "FunctionError")
    assert "LookupError: no such cache" in status.detail


@pytest.mark.parametrize("said", ["plain words", ["a list"], {"message": "other"}])
def test_an_error_in_any_form_is_shown(world: World, said: object) -> None:
    answer(world, 200, said, "Handled")
    module = world.module(LambdaFunction, ACTIVATE)
    module.start(SYNC, again=True)
    assert json.dumps(said) in module.observe(SYNC).detail


@pytest.mark.parametrize(("raw", "status"), [(WARM, 200), (SYNC, 202), (SYNC, 204)])
def test_another_status_than_expected_is_not_done(world: World, raw: dict[str, Any], status: int) -> None:
    answer(world, status)
    module = world.module(LambdaFunction, ACTIVATE)
    with pytest.raises(ModuleError, match="instead of"):
        module.start(raw, again=True)
    assert module.observe(raw).progress is Progress.NOT_STARTED


def test_a_retry_calls_only_the_function_that_failed(world: World) -> None:
    both = [WARM, {**SYNC, "FunctionName": "other"}]
    handles = [{"outcome": "accepted", "requestId": "1"}, {"outcome": "failed", "requestId": "2", "error": "x"}]
    answer(world, 200)
    assert world.module(LambdaFunction, ACTIVATE, handles=handles).observe(both).progress is Progress.FAILED
    takeover = world.module(LambdaFunction, ACTIVATE, handles=handles)
    takeover.start(both, again=False)
    assert world.calls == []  # a takeover adopts a failure, only a fresh attempt acts on it
    again = world.module(LambdaFunction, ACTIVATE, handles=handles, attempt=2)
    again.start(both, again=True)
    assert [call.parameters["FunctionName"] for call in world.calls] == ["other"]
    assert again.observe(both).progress is Progress.DONE


def test_two_calls_of_one_function_have_keys_of_their_own(world: World) -> None:
    answer(world, 202)
    world.module(LambdaFunction, ACTIVATE).start([WARM, WARM], again=True)
    assert len({sent["context"]["idempotencyKey"] for sent in payloads(world)}) == 2


def test_what_was_called_before_an_error_is_not_forgotten(world: World) -> None:
    answer(world, 202)
    module = world.module(LambdaFunction, ACTIVATE)
    with pytest.raises(ModuleError, match="UnexpectedAnswer"):
        module.start([WARM, SYNC], again=True)
    assert module.handles == [{"outcome": "accepted", "requestId": "answered"}]


@pytest.mark.parametrize("lost", [ReadTimeoutError(endpoint_url="https://lambda"), error("ServiceException")])
def test_a_lost_answer_is_neither_done_nor_undone(world: World, lost: Any) -> None:
    world.answer("lambda", "Invoke", lost, status=500)
    module = world.module(LambdaFunction, ACTIVATE)
    with pytest.raises(ModuleError) as raised:
        module.start(SYNC, again=True)
    assert raised.value.error_class is ErrorClass.AMBIGUOUS
    later = world.module(LambdaFunction, ACTIVATE, handles=module.handles)
    assert (later.observe(SYNC).progress, later.observe(SYNC).code) == (Progress.FAILED, "AnswerLost")
    assert len(world.calls) == 1  # nothing called it again by itself


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (error("ResourceNotFoundException"), ErrorClass.TERMINAL),
        (error("AccessDeniedException"), ErrorClass.TERMINAL),
        (error("RequestTooLargeException"), ErrorClass.TERMINAL),
        (error("TooManyRequestsException"), ErrorClass.THROTTLED),
        (error("ResourceNotReadyException"), ErrorClass.RETRYABLE),
        (ConnectTimeoutError(endpoint_url="https://lambda"), ErrorClass.AMBIGUOUS),
    ],
)
def test_a_refused_call_was_not_made(world: World, refused: Any, expected: ErrorClass) -> None:
    world.answer("lambda", "Invoke", refused, status=400)
    module = world.module(LambdaFunction, ACTIVATE)
    with pytest.raises(ModuleError) as raised:
        module.start(WARM, again=True)
    assert raised.value.error_class is expected
    assert module.observe(WARM).progress is Progress.NOT_STARTED


def test_the_client_waits_for_all_but_the_time_to_record_the_answer_and_calls_once(world: World) -> None:
    config = LambdaFunction._client(world.module(LambdaFunction, ACTIVATE)).meta.config  # type: ignore[arg-type]
    assert config.read_timeout in (869, 870)
    assert config.retries["total_max_attempts"] == 1
    assert LambdaFunction.lease_seconds > 900


def test_calls_that_take_too_long_together_end_within_the_lease(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 600.0, 899.5])
    monkeypatch.setattr(lambda_function, "time", SimpleNamespace(monotonic=lambda: next(now)))
    answer(world, 200)
    module = world.module(LambdaFunction, ACTIVATE)
    with pytest.raises(ModuleError, match="give each function a resource of its own"):
        module.start([SYNC, SYNC, SYNC], again=True)
    assert [handle["outcome"] for handle in module.handles] == ["returned", "returned"]


def test_the_context_is_the_orchestrators() -> None:
    with pytest.raises(ValidationError, match="must not have a key `context`"):
        LambdaFunction.parse({**WARM, "Payload": {"context": {}}})
    with pytest.raises(ValidationError):
        LambdaFunction.parse({**WARM, "InvocationType": "DryRun"})


# Preflight


def finding(world: World, raw: object = WARM) -> list[tuple[str, Severity]]:
    return [(found.code, found.severity) for found in world.module(LambdaFunction, ACTIVATE).obstacles(raw)]


def configured(world: World, **changed: Any) -> None:
    """Lambda describes the function as it is, but for what is `changed`."""
    found = world.client("lambda").get_function_configuration(FunctionName="warm")
    found.pop("ResponseMetadata")
    world.answer("lambda", "GetFunctionConfiguration", {**found, **changed})


def test_nothing_stands_in_the_way_of_a_function_that_is_there(world: World) -> None:
    scenes.function(world)
    assert finding(world) == finding(world, SYNC) == []
    assert {call.region for call in world.calls} == {STANDBY}
    assert world.changes == []


def test_a_function_that_is_not_there_is_found(world: World) -> None:
    found = world.module(LambdaFunction, ACTIVATE).obstacles(WARM)
    assert [(one.code, one.severity) for one in found] == [("ResourceNotFoundException", Severity.ERROR)]
    assert "there is no function warm in us-west-2: correct FunctionName" in found[0].message


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"State": "Pending"}, ("FunctionNotActive", Severity.WARNING)),
        ({"State": "Inactive"}, ("FunctionNotActive", Severity.WARNING)),
        ({"State": "Failed", "StateReason": "the subnet is gone"}, ("FunctionNotActive", Severity.ERROR)),
        ({"State": "Deleting"}, ("FunctionNotActive", Severity.ERROR)),
        ({"State": "AStateToCome"}, ("FunctionNotActive", Severity.WARNING)),
        ({"LastUpdateStatus": "Failed"}, ("LastUpdate", Severity.WARNING)),
        ({"LastUpdateStatus": "InProgress"}, ("LastUpdate", Severity.WARNING)),
    ],
)
def test_the_states_of_a_function(world: World, changed: dict[str, Any], expected: tuple[str, Severity]) -> None:
    scenes.function(world)
    configured(world, **changed)
    assert finding(world) == [expected]
    if "StateReason" in changed:
        assert "the subnet is gone" in world.module(LambdaFunction, ACTIVATE).obstacles(WARM)[0].message


@pytest.mark.parametrize(("timeout", "raw", "expected"), [(870, SYNC, []), (871, SYNC, ["TimeoutTooLong"]), (871, WARM, [])])
def test_a_function_that_may_run_longer_than_its_answer_is_awaited_is_told(
    world: World, timeout: int, raw: object, expected: list[str]
) -> None:
    scenes.function(world, timeout=timeout)
    assert [code for code, _ in finding(world, raw)] == expected


def test_a_function_that_may_not_run_at_all_is_found(world: World) -> None:
    client = scenes.function(world)
    client.put_function_concurrency(FunctionName="warm", ReservedConcurrentExecutions=0)
    assert finding(world) == [("NoConcurrency", Severity.ERROR)]
    client.put_function_concurrency(FunctionName="warm", ReservedConcurrentExecutions=1)
    assert finding(world) == []


def test_a_concurrency_that_may_not_be_read_is_a_warning(world: World) -> None:
    scenes.function(world)
    world.answer("lambda", "GetFunctionConcurrency", error("AccessDeniedException"), 403)
    assert finding(world) == [("ConcurrencyUnknown", Severity.WARNING)]


def test_concurrency_is_asked_of_the_function_and_not_of_its_alias(world: World) -> None:
    scenes.function(world)
    arn = "arn:aws:lambda:us-west-2:123456789012:function:warm"
    configured(world, FunctionArn=f"{arn}:live")
    finding(world, {**WARM, "FunctionName": "warm:live"})
    asked = {call.operation: call.parameters["FunctionName"] for call in world.calls}
    assert asked == {"GetFunctionConfiguration": "warm:live", "GetFunctionConcurrency": arn}
