"""The stand-in for the DRS Orchestration Solution: what becomes of a plan follows from its id and the time."""

import io
import json
import zipfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from moto import mock_aws

from localcloud.applications import drs_solution
from localcloud.applications.drs_solution import index
from localcloud.extension.clock import ManualClock


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualClock]:
    """The handler's clock, in an empty account; a wave takes ten seconds."""
    manual = ManualClock()
    monkeypatch.setattr(index, "time", SimpleNamespace(time=manual))
    monkeypatch.setenv("WAVE_SECONDS", "10")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    with mock_aws():
        yield manual


def call(operation: str, **event: Any) -> tuple[int, dict[str, Any]]:
    """The handler's answer, opened."""
    answer = index.lambda_handler({"operation": operation, **event}, None)
    return answer["statusCode"], json.loads(answer["body"])


def start(plan: str, kind: str = "RECOVERY") -> str:
    """An execution of a plan; its id."""
    code, body = call("start_execution", planId=plan, executionType=kind, initiatedBy="ann")
    assert (code, body["status"]) == (202, "PENDING")
    return str(body["executionId"])


def details(execution: str) -> dict[str, Any]:
    """The execution as it is described."""
    code, body = call("get_execution_details", executionId=execution, queryParams={"planId": "plan"})
    assert code == 200
    return body


def states(execution: str) -> list[str]:
    """The state of each server."""
    return [server["launchStatus"] for wave in details(execution)["waves"] for server in wave["serverExecutions"]]


def statuses(execution: str, time: ManualClock) -> list[str]:
    """The execution's status, every ten seconds."""
    seen = []
    for _ in range(4):
        seen.append(details(execution)["status"])
        time.advance(10)
    return seen


@pytest.mark.parametrize(
    ("plan", "expected", "servers"),
    [
        ("all-good", ["RUNNING", "RUNNING", "COMPLETED", "COMPLETED"], ["LAUNCHED"] * 4),
        ("goes-partial", ["RUNNING", "RUNNING", "PARTIAL", "PARTIAL"], ["LAUNCHED"] * 3 + ["FAILED"]),
        ("fails", ["RUNNING", "FAILED", "FAILED", "FAILED"], ["FAILED"] * 4),
        ("pauses", ["RUNNING", "PAUSED", "PAUSED", "PAUSED"], ["LAUNCHED", "LAUNCHED", "PENDING", "PENDING"]),
    ],
)
def test_what_becomes_of_a_plan(time: ManualClock, plan: str, expected: list[str], servers: list[str]) -> None:
    execution = start(plan)
    assert states(execution) == ["IN_PROGRESS", "IN_PROGRESS", "PENDING", "PENDING"]
    assert statuses(execution, time) == expected
    assert states(execution) == servers


def test_a_paused_plan_goes_on_once_it_is_resumed(time: ManualClock) -> None:
    execution = start("pauses", "DRILL")
    assert call("resume_execution", executionId=execution)[0] == 400
    time.advance(500)
    code, body = call("resume_execution", executionId=execution)
    assert (code, body["status"], body["executionType"]) == (200, "RUNNING", "DRILL")
    assert states(execution) == ["LAUNCHED", "LAUNCHED", "IN_PROGRESS", "IN_PROGRESS"]
    time.advance(10)
    assert details(execution)["status"] == "COMPLETED"


def test_a_plan_is_executed_once_at_a_time(time: ManualClock) -> None:
    execution = start("plan")
    code, body = call("start_execution", planId="plan", executionType="RECOVERY", initiatedBy="bob")
    assert (code, body["error"], body["details"]["activeExecutions"]) == (409, "ALREADY_EXISTS", [execution])
    start("another-plan")
    time.advance(20)
    assert start("plan") != execution


def test_a_cancelled_execution_stays_as_it_was(time: ManualClock) -> None:
    execution = start("plan")
    time.advance(15)
    assert call("cancel_execution", executionId=execution)[1]["status"] == "CANCELLED"
    time.advance(50)
    assert states(execution) == ["LAUNCHED", "LAUNCHED", "IN_PROGRESS", "IN_PROGRESS"]
    assert call("cancel_execution", executionId=execution)[0] == 400
    assert start("plan")


@pytest.mark.parametrize(
    ("event", "code", "error"),
    [
        ({"operation": "start_execution", "executionType": "DRILL", "initiatedBy": "ann"}, 400, "MISSING_PARAMETER"),
        ({"operation": "start_execution", "planId": "p", "executionType": "NEITHER", "initiatedBy": "ann"}, 400, "INVALID_PARAMETER"),
        ({"operation": "start_execution", "planId": "missing-1", "executionType": "DRILL", "initiatedBy": "ann"}, 404, "NOT_FOUND"),
        ({"operation": "get_execution_details", "executionId": "none"}, 404, "EXECUTION_NOT_FOUND"),
        ({"operation": "dance"}, 400, "INVALID_OPERATION"),
    ],
)
@pytest.mark.usefixtures("time")
def test_what_is_refused(event: dict[str, str], code: int, error: str) -> None:
    answer = index.lambda_handler(event, None)
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (code, error)


def test_the_package_has_the_handler() -> None:
    with zipfile.ZipFile(io.BytesIO(drs_solution.package())) as archive:
        assert b"def lambda_handler" in archive.read("index.py")
