"""The execution handler of a stand-in for the DRS Orchestration Solution: it executes plans on paper, in two waves of two servers.

In:  {"operation": "start_execution", "planId", "executionType": "DRILL" | "RECOVERY", "initiatedBy"}
     {"operation": "get_execution_details" | "resume_execution" | "cancel_execution", "executionId"}
Out: {"statusCode", "headers", "body"}, the body a JSON text, as the solution's own handler answers

A plan whose id contains `missing` does not exist, `pauses` waits between its waves until it is resumed, `partial` launches all servers but
the last, `fails` launches none; any other launches all. A wave takes WAVE_SECONDS (environment, default 10). Executions are kept in SSM
parameters under /drs-orchestration/.
"""

import json
import os
import time
import uuid
from typing import Any

import boto3

_PREFIX = "/drs-orchestration"
_RUNNING = ("PENDING", "RUNNING", "PAUSED")
_WAVES = (("Database", ("db-1", "db-2")), ("Application", ("app-1", "app-2")))


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one operation."""
    del context
    operation = event.get("operation")
    if operation == "start_execution":
        return _start(event)
    if operation not in ("get_execution_details", "resume_execution", "cancel_execution"):
        return _refuse(400, "INVALID_OPERATION", f"Unknown operation: {operation}")
    execution = _load(f"executions/{event.get('executionId')}")
    if execution is None:
        return _refuse(404, "EXECUTION_NOT_FOUND", f"Execution with ID {event.get('executionId')} not found")
    if operation == "get_execution_details":
        return _answer(200, _described(execution))
    status = _described(execution)["status"]
    if status not in (("PAUSED",) if operation == "resume_execution" else _RUNNING):
        return _refuse(400, "INVALID_STATE", f"Execution {execution['executionId']} is {status}")
    execution["resumedAt" if operation == "resume_execution" else "cancelledAt"] = time.time()
    _save(f"executions/{execution['executionId']}", execution)
    return _answer(200, _described(execution))


def _start(event: dict[str, Any]) -> dict[str, Any]:
    for name in ("planId", "executionType", "initiatedBy"):
        if not event.get(name):
            return _refuse(400, "MISSING_PARAMETER", f"{name} is required", {"parameter": name})
    plan, kind = event["planId"], event["executionType"].upper()
    if kind not in ("DRILL", "RECOVERY"):
        return _refuse(400, "INVALID_PARAMETER", f"executionType must be DRILL or RECOVERY, got: {kind}")
    if "missing" in plan:
        return _refuse(404, "NOT_FOUND", f"Recovery Plan with ID {plan} not found", {"planId": plan})
    last = _load(f"plans/{plan}")
    former = _load(f"executions/{last['executionId']}") if last else None
    if former is not None and _described(former)["status"] in _RUNNING:
        details = {"activeExecutions": [former["executionId"]], "planId": plan}
        return _refuse(409, "ALREADY_EXISTS", "This Recovery Plan already has an execution in progress", details)
    identity = str(uuid.uuid4())
    started = {"executionId": identity, "planId": plan, "executionType": kind, "initiatedBy": event["initiatedBy"]}
    _save(f"executions/{identity}", {**started, "startTime": time.time()})
    _save(f"plans/{plan}", {"executionId": identity})
    message = "Execution started - check status with GET /executions/{id}"
    return _answer(202, {"executionId": identity, "status": "PENDING", "message": message, "statusUrl": f"/executions/{identity}"})


def _described(execution: dict[str, Any]) -> dict[str, Any]:
    """The execution as it stands now: everything follows from its plan's id and the times at which something was done to it."""
    plan, now, wave = execution["planId"], execution.get("cancelledAt", time.time()), float(os.environ.get("WAVE_SECONDS", "10"))
    elapsed = now - execution["startTime"]
    paused = "pauses" in plan and elapsed >= wave and "resumedAt" not in execution
    second = now - execution["resumedAt"] + wave if "resumedAt" in execution else min(elapsed, wave) if "pauses" in plan else elapsed
    waves = []
    for number, (name, servers) in enumerate(_WAVES):
        ended = second >= (number + 1) * wave and not (paused and number == 1)
        failed = {server for server in servers if "fails" in plan or ("partial" in plan and server == "app-2")} if ended else set()
        begun = second >= number * wave and not (paused and number == 1)
        launch = "LAUNCHED" if ended else "IN_PROGRESS" if begun else "PENDING"
        found = [{"serverName": one, "launchStatus": "FAILED" if one in failed else launch} for one in servers]
        state = "FAILED" if failed else "COMPLETED" if ended else "IN_PROGRESS" if begun else "PENDING"
        waves.append({"waveNumber": number, "waveName": name, "status": state, "serverExecutions": found})
    return {**execution, "status": _status(execution, [str(one["status"]) for one in waves], paused), "totalWaves": 2, "waves": waves}


def _status(execution: dict[str, Any], waves: list[str], paused: bool) -> str:
    if "cancelledAt" in execution:
        return "CANCELLED"
    if waves[0] == "FAILED":
        return "FAILED"
    if "FAILED" in waves:
        return "PARTIAL"
    if paused:
        return "PAUSED"
    return "COMPLETED" if set(waves) == {"COMPLETED"} else "RUNNING"


def _load(name: str) -> dict[str, Any] | None:
    ssm = boto3.client("ssm")
    try:
        found: dict[str, Any] = json.loads(ssm.get_parameter(Name=f"{_PREFIX}/{name}")["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return None
    return found


def _save(name: str, value: dict[str, Any]) -> None:
    boto3.client("ssm").put_parameter(Name=f"{_PREFIX}/{name}", Value=json.dumps(value), Type="String", Overwrite=True)


def _answer(code: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": code, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}


def _refuse(code: int, error: str, message: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    return _answer(code, {"error": error, "message": message, **({"details": details} if details else {})})
