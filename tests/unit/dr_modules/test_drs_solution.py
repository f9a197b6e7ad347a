"""DRS through the DRS Orchestration Solution: a plan is executed once, and how it ends is how the resource ends."""

import json
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress, Status
from dr_modules.drs import Drs
from localcloud.applications.drs_solution import index
from tests.support import drs_scenes as scenes
from tests.support.aws import World, error

ACTIVATE = Phase.ACTIVATE


@pytest.fixture(autouse=True)
def _solution(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVE_SECONDS", "60")
    scenes.solution(world)


def plan(name: str) -> dict[str, str]:
    """The parameters that have this plan executed."""
    return {**scenes.PLAN, "PlanId": name}


def called(world: World) -> list[dict[str, Any]]:
    """What the function was called with."""
    return [json.loads(call.parameters["Payload"]) for call in world.calls if call.operation == "Invoke"]


def starts(world: World) -> list[dict[str, Any]]:
    """The calls that asked for an execution."""
    return [event for event in called(world) if event["operation"] == "start_execution"]


def answering(world: World, answer: object, **more: str) -> None:
    """Have every call of the function answered with this."""
    setattr(world, "answered", lambda model: scenes.returned(answer, **more) if model.name == "Invoke" else None)  # noqa: B010


def details(status: str, **more: Any) -> dict[str, Any]:
    """The answer that describes an execution."""
    return {"statusCode": 200, "body": json.dumps({"executionId": "e-1", "status": status, **more})}


def observed(world: World, answer: object, **more: str) -> Status:
    """What the check says when the function answers this."""
    answering(world, answer, **more)
    return world.module(Drs, ACTIVATE, handles=[{"execution": "e-1"}]).observe(scenes.PLAN)


@pytest.mark.parametrize(("mode", "kind"), [(Mode.PLANNED, "RECOVERY"), (Mode.UNPLANNED, "RECOVERY"), (Mode.DRILL, "DRILL")])
def test_a_plan_is_executed_once_and_done_when_completed(world: World, mode: Mode, kind: str) -> None:
    module = world.module(Drs, ACTIVATE, mode)
    assert module.observe(scenes.PLAN).progress is Progress.NOT_STARTED
    assert module.lag(scenes.PLAN) is None
    assert module.obstacles(scenes.PLAN) == []
    assert called(world) == []  # looking calls no function

    module.start(scenes.PLAN, again=True)
    assert world.drive(Drs, ACTIVATE, scenes.PLAN, mode, handles=module.handles).progress is Progress.DONE
    (start,) = starts(world)
    assert start == {
        "operation": "start_execution",
        "planId": "plan-1",
        "executionType": kind,
        "initiatedBy": "dr-orchestrator 01EXECUTION",
    }
    asked = called(world)[-1]
    assert asked == {
        "operation": "get_execution_details",
        "executionId": module.handles[0]["execution"],
        "queryParams": {"planId": "plan-1"},
    }


def test_progress_is_told_in_waves(world: World) -> None:
    module = world.module(Drs, ACTIVATE)
    module.start(scenes.PLAN, again=True)
    world.time.advance(70)
    status = module.observe(scenes.PLAN)
    assert (status.progress, status.percent) == (Progress.IN_PROGRESS, 50)
    assert "1 of 2 waves done" in status.detail


def test_a_running_execution_of_the_plan_is_adopted(world: World) -> None:
    """Also one whose start was not recorded."""
    first, second = world.module(Drs, ACTIVATE), world.module(Drs, ACTIVATE)
    first.start(scenes.PLAN, again=True)
    second.start(scenes.PLAN, again=True)
    assert first.handles == second.handles


def test_an_execution_of_the_other_type_is_not_adopted(world: World) -> None:
    world.module(Drs, ACTIVATE, Mode.DRILL).start(scenes.PLAN, again=True)
    with pytest.raises(ModuleError, match="is being executed as DRILL") as raised:
        world.module(Drs, ACTIVATE).start(scenes.PLAN, again=True)
    assert (raised.value.code, raised.value.error_class) == ("PlanInUse", ErrorClass.RETRYABLE)


def test_a_plan_that_pauses_is_in_progress_and_says_what_it_waits_for(world: World) -> None:
    module = world.module(Drs, ACTIVATE)
    module.start(plan("pauses"), again=True)
    world.time.advance(600)
    status = module.observe(plan("pauses"))
    assert status.progress is Progress.IN_PROGRESS
    assert "waits for its own approval" in status.detail
    index.lambda_handler({"operation": "resume_execution", "executionId": module.handles[0]["execution"]}, None)
    assert world.drive(Drs, ACTIVATE, plan("pauses"), handles=module.handles).progress is Progress.DONE


@pytest.mark.parametrize(
    ("name", "code", "named", "not_named"),
    [("partial", "ExecutionPartial", ["app-2 FAILED"], "db-1"), ("fails", "ExecutionFailed", ["db-1 FAILED", "db-2 FAILED"], "LAUNCHED")],
)
def test_a_plan_that_fails_names_the_servers(world: World, name: str, code: str, named: list[str], not_named: str) -> None:
    status = world.drive(Drs, ACTIVATE, plan(name))
    assert (status.progress, status.code) == (Progress.FAILED, code)
    assert all(server in status.detail for server in named)
    assert not_named not in status.detail
    # A fresh attempt asks for a new execution.
    module = world.module(Drs, ACTIVATE, handles=[{"execution": "none"}])
    world.calls.clear()
    with pytest.raises(ModuleError, match="EXECUTION_NOT_FOUND"):
        module.observe(plan(name))
    world.module(Drs, ACTIVATE).start(plan(name), again=True)
    assert len(starts(world)) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("COMPLETED", Progress.DONE),
        ("completed", Progress.DONE),
        ("FAILED", Progress.FAILED),
        ("PARTIAL", Progress.FAILED),
        ("CANCELLED", Progress.FAILED),
        ("CANCELLING", Progress.IN_PROGRESS),
        ("PENDING", Progress.IN_PROGRESS),
        ("POLLING", Progress.IN_PROGRESS),
        ("A_STATE_TO_COME", Progress.IN_PROGRESS),
    ],
)
def test_what_counts_as_done(world: World, status: str, expected: Progress) -> None:
    assert observed(world, details(status)).progress is expected


@pytest.mark.parametrize("name", ["servers", "serverStatuses", "serverExecutions"])
def test_servers_are_named_whatever_the_version_calls_them(world: World, name: str) -> None:
    servers = [{"sourceServerId": "s-1", "status": "FAILED"}, {"hostname": "ok", "launchStatus": "LAUNCHED"}]
    status = observed(world, details("PARTIAL", waves=[{"status": "FAILED", name: servers}], errorMessage="no capacity"))
    assert "s-1 FAILED" in status.detail and "no capacity" in status.detail and "ok" not in status.detail


@pytest.mark.parametrize(
    ("answer", "more", "code", "error_class"),
    [
        ({"errorMessage": "boom"}, {"FunctionError": "Unhandled"}, "FunctionError", ErrorClass.AMBIGUOUS),
        (None, {}, "UnexpectedAnswer", ErrorClass.TERMINAL),
        ({"warmed": True}, {}, "UnexpectedAnswer", ErrorClass.TERMINAL),
        ({"statusCode": 200, "body": "oops"}, {}, "UnexpectedAnswer", ErrorClass.TERMINAL),
        ({"statusCode": 202, "body": "{}"}, {}, "SolutionRefused", ErrorClass.RETRYABLE),
        ({"statusCode": 400, "body": '{"error": "INVALID_STATE"}'}, {}, "INVALID_STATE", ErrorClass.TERMINAL),
        ({"statusCode": 409, "body": '{"error": "ALREADY_EXISTS"}'}, {}, "PlanInUse", ErrorClass.RETRYABLE),
        ({"statusCode": 429, "body": '{"error": "DRS_ERROR"}'}, {}, "DRS_ERROR", ErrorClass.THROTTLED),
        ({"statusCode": 500, "body": '{"error": "INTERNAL_ERROR"}'}, {}, "INTERNAL_ERROR", ErrorClass.AMBIGUOUS),
    ],
)
def test_refusals_are_classed(world: World, answer: object, more: dict[str, str], code: str, error_class: ErrorClass) -> None:
    answering(world, answer, **more)
    with pytest.raises(ModuleError) as raised:
        world.module(Drs, ACTIVATE).start(scenes.PLAN, again=True)
    assert (raised.value.code, raised.value.error_class) == (code, error_class)
    assert "the-resource (DRS)" in raised.value.message


def test_a_plan_whose_servers_another_execution_of_it_holds_is_adopted(world: World) -> None:
    """The solution names it among the conflicts of servers, before it looks at the plan."""
    conflicts = [{"executionId": "other", "planId": "plan-2"}, {"executionId": "e-1", "planId": "plan-1"}]
    refusal = {"statusCode": 409, "body": json.dumps({"details": {"conflictingExecutions": conflicts}})}
    answers = iter([refusal, details("RUNNING", executionType="RECOVERY")])
    setattr(world, "answered", lambda model: scenes.returned(next(answers)))  # noqa: B010
    module = world.module(Drs, ACTIVATE)
    assert module.activate(*Drs.parse(scenes.PLAN)) == {"execution": "e-1"}


def test_a_missing_plan_and_a_missing_function_say_so(world: World) -> None:
    with pytest.raises(ModuleError, match="Recovery Plan with ID missing not found"):
        world.module(Drs, ACTIVATE).start(plan("missing"), again=True)
    world.answer("lambda", "GetFunctionConfiguration", error("ResourceNotFoundException"), status=404)
    (found,) = world.module(Drs, ACTIVATE).obstacles(scenes.PLAN)
    assert found.code == "ResourceNotFoundException"
    world.answer("lambda", "GetFunctionConfiguration", {"State": "Failed"})
    (found,) = world.module(Drs, ACTIVATE).obstacles(scenes.PLAN)
    assert found.code == "FunctionNotActive"


def test_an_answer_that_never_comes_is_looked_for_by_the_next_attempt(world: World) -> None:
    answered = world.answered

    def times_out(model: Any) -> Any:
        answered(model)  # the execution has been started all the same
        raise ReadTimeoutError(endpoint_url="lambda")

    setattr(world, "answered", times_out)  # noqa: B010
    with pytest.raises(ModuleError) as raised:
        world.module(Drs, ACTIVATE).start(scenes.PLAN, again=True)
    assert raised.value.error_class is ErrorClass.AMBIGUOUS
    setattr(world, "answered", answered)  # noqa: B010
    assert world.drive(Drs, ACTIVATE, scenes.PLAN).progress is Progress.DONE
    assert len(starts(world)) == 2  # the second was refused, and the first adopted
