"""The gateway's side of faults: keeps those that are set, finds the one that strikes a call, and does what it says."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final
from xml.sax.saxutils import escape

import aiohttp
from aiohttp import web
from botocore.model import OperationModel, StructureShape

from localcloud import callers, faults, wire
from localcloud.callers import Worker
from localcloud.extension import failures
from localcloud.faults import Armed, Effect, Fault, FaultError, When
from localcloud.intervention import Onward, Passing, refusal
from localcloud.wire import Call, Protocol

# Status, code and message with which a service throttles; the others say ThrottlingException.
_THROTTLING: Final = {
    "autoscaling": (400, "Throttling", "Rate exceeded"),
    "cloudformation": (400, "Throttling", "Rate exceeded"),
    "drs": (429, "ThrottlingException", "Rate exceeded"),
    "dynamodb": (
        400,
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded. "
        "Consider increasing your provisioning level with the UpdateTable API.",
    ),
    "ec2": (503, "RequestLimitExceeded", "Request limit exceeded."),
    "elasticache": (400, "Throttling", "Rate exceeded"),
    "elasticloadbalancing": (400, "Throttling", "Rate exceeded"),
    "es": (429, "ThrottlingException", "Rate exceeded"),
    "iam": (400, "Throttling", "Rate exceeded"),
    "lambda": (429, "TooManyRequestsException", "Rate Exceeded."),
    "monitoring": (400, "Throttling", "Rate exceeded"),
    "rds": (400, "Throttling", "Rate exceeded"),
    "route53": (400, "Throttling", "Rate exceeded"),
    "s3": (503, "SlowDown", "Please reduce your request rate."),
    "scheduler": (429, "ThrottlingException", "Rate exceeded"),
    "servicequotas": (400, "TooManyRequestsException", "Rate exceeded"),
    "ses": (429, "TooManyRequestsException", "Too Many Requests"),
    "sns": (429, "Throttled", "Rate exceeded"),
    "sqs": (403, "RequestThrottled", "Request is throttled."),
    "sts": (400, "Throttling", "Rate exceeded"),
    "tagging": (400, "ThrottledException", "Rate exceeded"),
}
_UNAVAILABLE: Final = {
    "InternalError": 500,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "RequestLimitExceeded": 503,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
}


@dataclass(slots=True)
class _Kept:
    """A fault that is set, and its dice."""

    armed: Armed
    dice: random.Random = field(repr=False)

    def strikes(self) -> bool:
        """Count one more call that is covered, and say whether this is one to strike."""
        fault = self.armed.fault
        self.armed.covered += 1
        if not fault.first <= self.armed.covered <= (fault.last or self.armed.covered):
            return False
        if self.dice.random() >= fault.probability:
            return False
        self.armed.struck += 1
        return True


class FaultInjection:
    """The faults that are set; `moto` is where failures to come are announced."""

    def __init__(self, session: aiohttp.ClientSession, moto: str) -> None:
        self._session = session
        self._failures_url = moto + failures.PATH
        self._kept: list[_Kept] = []
        self._given = 0

    async def configure(self, request: web.Request) -> web.Response:
        """List, add or remove faults as a request under PATH asks. 400 and 404 say in words what is wrong."""
        name = request.path.removeprefix(faults.PATH).strip("/")
        if request.method == "GET" and not name:
            return web.json_response([kept.armed.model_dump(mode="json") for kept in self._kept])
        if request.method == "POST" and not name:
            try:
                armed = self._add(Fault.parse(await request.json()))
            except (FaultError, ValueError) as error:
                return web.json_response({"message": str(error)}, status=400)
            return web.json_response(armed.model_dump(mode="json"), status=201)
        if request.method == "DELETE":
            remaining = [kept for kept in self._kept if name and kept.armed.fault.name != name]
            if name and len(remaining) == len(self._kept):
                return web.json_response({"message": f"there is no fault {name}"}, status=404)
            self._kept = remaining
            return web.json_response([kept.armed.model_dump(mode="json") for kept in remaining])
        return web.json_response({"message": "GET, POST or DELETE is wanted"}, status=405)

    def _add(self, fault: Fault) -> Armed:
        if not callers.AVAILABLE and (fault.effect is Effect.CRASH or fault.function != "*"):
            raise FaultError("only Linux tells which function calls")
        taken = {kept.armed.fault.name for kept in self._kept}
        if fault.name in taken:
            raise FaultError(f"there is a fault {fault.name} already")
        while not fault.name or fault.name in taken:
            self._given += 1
            fault = fault.model_copy(update={"name": f"{fault.effect}-{self._given}"})
        armed = Armed(fault=fault)
        self._kept.append(_Kept(armed, random.Random(fault.seed)))  # noqa: S311 - dice
        return armed

    async def __call__(self, passing: Passing, onward: Onward) -> web.StreamResponse:
        """Let a call pass, or do to it what the first fault says that strikes it."""
        fault, worker = self._striking(passing)
        if fault is None:
            return await onward(None)
        passing.faults.append(fault.name)
        match fault.effect:
            case Effect.THROTTLE:
                return _throttled(passing.call)
            case Effect.ERROR:
                code = fault.code or "InternalFailure"
                return refusal(passing.call, _status(passing.call, code), code, f"an injected fault: {fault.name}")
            case Effect.SLOW:
                await asyncio.sleep(fault.seconds or 0)
                return await onward(None)
            case Effect.HANG:
                await _hang(passing, fault.seconds or 0)
                return _cut(passing)
            case Effect.CUT | Effect.DARK:
                return _cut(passing)
            case Effect.CUT_AFTER:
                return _cut(passing, await onward(None))
            case Effect.WRONG_THEN_RIGHT:
                return _too_early(passing.call, fault)
            case Effect.CRASH:
                answer = await onward(None) if fault.when is When.AFTER else None
                if worker is not None:
                    worker.kill()
                return _cut(passing, answer)
            case Effect.FAIL_LATER:
                return await self._failing_later(passing, onward, fault)

    def _striking(self, passing: Passing) -> tuple[Fault | None, Worker | None]:
        """The fault that strikes, and the function's process where the fault is about one."""
        worker: Worker | None = None
        asked = False
        for kept in self._kept:
            fault = kept.armed.fault
            if not fault.covers(passing.call):
                continue
            if fault.effect is Effect.CRASH or fault.function != "*":
                worker, asked = (worker, True) if asked else (callers.worker_of(passing.request), True)
                if worker is None or not fnmatchcase(worker.function, fault.function):
                    continue
            if kept.strikes():
                return fault, worker
        return None, None

    async def _failing_later(self, passing: Passing, onward: Onward, fault: Fault) -> web.StreamResponse:
        call = passing.call
        name = f"{call.service}:{call.operation}"
        wanted: dict[str, object] = {"operation": name, "account": call.account, "region": call.region}
        wanted |= {"parameters": passing.parameters(), "reason": fault.reason}
        answer = None
        if failures.OPERATIONS[name].after:
            answer = await onward(None)
            if answer.status >= 400:
                return answer  # it is not carried out, so nothing of it can fail
        async with self._session.post(self._failures_url, json=wanted) as said:
            if said.status != 200:
                return refusal(call, 501, "NotImplemented", f"{fault.name}: {await said.text()}")
        return await onward(None) if answer is None else answer


async def _hang(passing: Passing, seconds: float) -> None:
    """Wait for so long, or until the caller has given up: so that the journal has it by then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and passing.request.transport is not None and not passing.request.transport.is_closing():
        await asyncio.sleep(min(0.05, max(0.0, deadline - time.monotonic())))


def _cut(passing: Passing, answer: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the caller's connection; what was answered, if anything was, is for the journal alone."""
    if passing.request.transport is not None:
        passing.request.transport.abort()
    passing.unanswered = answer is None
    return web.Response() if answer is None else answer


def _throttled(call: Call) -> web.Response:
    status, code, message = _THROTTLING.get(call.service, (400, "ThrottlingException", "Rate exceeded"))
    return refusal(call, status, code, message)


def _status(call: Call, code: str) -> int:
    """The HTTP status of an error code: the modelled one, or else 400."""
    model = wire.operation_model(call)
    for shape in model.error_shapes if model is not None else ():
        error = shape.metadata.get("error", {})
        if code in (shape.name, error.get("code")):
            return int(error.get("httpStatusCode", 400))
    return _UNAVAILABLE.get(code, 400)


def _too_early(call: Call, fault: Fault) -> web.Response:
    """What a read answers that comes before what it asks for is to be seen."""
    model = wire.operation_model(call)
    if fault.code is not None or model is None:
        code = fault.code or "ResourceNotFoundException"
        return refusal(call, _status(call, code), code, f"an injected fault: {fault.name}")
    lists = _lists(model)
    if lists:
        return web.Response(body=_empty(call, model, lists), headers=_headers(call))
    for shape in model.error_shapes:
        code = shape.metadata.get("error", {}).get("code", shape.name)
        if any(word in code for word in ("NotFound", "NoSuch", "DoesNotExist", "NonExistent")):
            return refusal(call, _status(call, code), code, f"an injected fault: {fault.name}")
    return refusal(call, 400, "ResourceNotFoundException", f"an injected fault: {fault.name}")


def _lists(model: OperationModel) -> list[str]:
    """The lists of an operation's answer, as they are called on the wire."""
    shape = model.output_shape
    if not isinstance(shape, StructureShape):
        return []
    return [member.serialization.get("name", name) for name, member in shape.members.items() if member.type_name == "list"]


def _empty(call: Call, model: OperationModel, lists: list[str]) -> bytes:
    """The answer of an operation whose lists are empty, in the caller's protocol."""
    match call.protocol:
        case Protocol.CBOR:
            return bytes([0xA0 + len(lists)]) + b"".join(wire.cbor_text(name) + b"\x80" for name in lists)
        case Protocol.JSON | Protocol.REST_JSON:
            return ("{" + ", ".join(f'"{name}": []' for name in lists) + "}").encode()
        case _:
            content = "".join(f"<{escape(name)}/>" for name in lists)
            wrapper = model.output_shape.serialization.get("resultWrapper") if model.output_shape is not None else None
            if wrapper:
                content = f"<{wrapper}>{content}</{wrapper}>"
            return f"<{model.name}Response>{content}</{model.name}Response>".encode()


def _headers(call: Call) -> dict[str, str]:
    match call.protocol:
        case Protocol.CBOR:
            return {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        case Protocol.JSON | Protocol.REST_JSON:
            return {"Content-Type": "application/x-amz-json-1.1"}
        case _:
            return {"Content-Type": "text/xml"}
