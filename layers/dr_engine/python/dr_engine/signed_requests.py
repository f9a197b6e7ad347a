"""Requests, commands and votes over HTTPS: who sends them is what AWS found in the signature, whatever they say of themselves.

In:  POST {"detail-type": "Execution Requested", "Command Requested" or "Vote Requested", "detail": {…}}; the detail is as on the bus,
     without `requestedBy`: if it is there, it is replaced
Out: 200 and JSON, or a problem (RFC 9457): 400 not understood, 403 not signed, 404 no such execution, 409 the state does not allow it,
     422 the request is refused
What is stored and announced is the same as for what comes over the bus, by the same code.
"""

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from dr_core import flow
from dr_core.approval_rules import approvals_of
from dr_core.approval_votes import Votes
from dr_core.commands import NotAllowedError
from dr_core.control import Control
from dr_core.errors import InvalidInputError
from dr_core.events import Incoming, printable
from dr_core.metrics import Metric, measure
from dr_core.observability import logger
from dr_core.requests import CommandRequested, VoteRequested
from dr_core.state import Table
from dr_core.triggers import Vote
from dr_engine.intake import Intake


@dataclass(frozen=True)
class Response:
    """An answer: HTTP status, the members of its JSON, and further headers."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_function_url(self) -> dict[str, object]:
        """The answer in the shape that a Lambda function URL takes."""
        kind = "application/json" if self.status == 200 else "application/problem+json"
        headers = {"Content-Type": kind, "Cache-Control": "no-store", **self.headers}
        return {"statusCode": self.status, "headers": headers, "body": json.dumps(self.body)}


class _Posted(BaseModel):
    """What is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detail_type: Literal["Execution Requested", "Command Requested", "Vote Requested"] = Field(alias="detail-type")
    detail: dict[str, object]


class _Caller(BaseModel):
    """Whom AWS found behind the signature: `requestContext.authorizer.iam`, of which the ARN is used."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)

    user_arn: Annotated[str, StringConstraints(pattern=r"^arn:[a-z-]+:(iam|sts)::\d{12}:.+")]


def respond(event: Mapping[str, Any], intake: Intake, clock: flow.Clock, break_glass: Sequence[str] = ()) -> Response:
    """Carry out what a signed request asks for. `event`: a Lambda function URL's, payload format 2.0.

    `break_glass`: the ARNs, in which * stands for anything, of those who may approve without quorum and four eyes.
    """
    context = event["requestContext"]
    try:
        principal = _Caller.model_validate((context.get("authorizer") or {}).get("iam")).user_arn
    except ValidationError:
        return _problem(403, "not signed", "the function's URL must be one with AuthType AWS_IAM: AWS says who calls only there")
    if context["http"]["method"] != "POST":
        return Response(405, {"title": "not allowed", "status": 405, "detail": "send it by POST"}, {"Allow": "POST"})
    try:
        posted = _Posted.model_validate_json(_body(event))
    except (ValidationError, ValueError) as error:
        return _problem(400, "not understood", f"the body is not what is wanted: {_words(error)}")
    at = datetime.fromtimestamp(context["timeEpoch"] / 1000, UTC)
    if posted.detail_type == "Execution Requested":
        incoming = Incoming.model_validate(
            {"id": context["requestId"], "detail-type": posted.detail_type, "time": at, "detail": posted.detail}
        )
        return _execution(intake, incoming, principal, clock)
    try:
        if posted.detail_type == "Command Requested":
            return _command(intake.table, posted.detail, context["requestId"], principal, clock)
        return _vote(intake, VoteRequested.parse(posted.detail), principal, clock, break_glass)
    except InvalidInputError as invalid:
        return _problem(400, "not understood", str(invalid), problems=[str(problem) for problem in invalid.problems])


def _execution(intake: Intake, incoming: Incoming, principal: str, clock: flow.Clock) -> Response:
    execution_id = intake.take(incoming, clock(), principal)
    refusal = intake.table.refusal(execution_id)
    if refusal is not None:
        return _problem(422, "request refused", "; ".join(refusal.problems), executionId=execution_id, problems=refusal.problems)
    state = intake.table.load(execution_id)
    assert state is not None, "a request becomes an execution or a refusal"
    made = state.execution
    return Response(
        200,
        {
            "executionId": made.id,
            "status": made.status,
            "requestedBy": made.requested_by,
            "requesterVerified": made.requester_verified,
        },
    )


def _command(table: Table, detail: Mapping[str, object], request_id: str, principal: str, clock: flow.Clock) -> Response:
    request = CommandRequested.parse({**detail, "requestedBy": principal})
    receipt = Control(table, clock).carry_out(request, request_id, verified=True)
    if receipt is None:
        return _no_execution(request.execution_id)
    about = {"executionId": request.execution_id, "command": receipt.command, "actor": receipt.actor}
    if receipt.outcome == "REFUSED":
        return _problem(409, f"{receipt.command} refused", receipt.why, **about)
    return Response(200, {**about, "outcome": receipt.outcome, "actorVerified": receipt.actor_verified})


def _vote(intake: Intake, request: VoteRequested, principal: str, clock: flow.Clock, break_glass: Sequence[str]) -> Response:
    table, execution_id = intake.table, request.execution_id
    state = table.load(execution_id)
    if state is None:
        return _no_execution(execution_id)
    if request.break_glass and not any(fnmatchcase(principal, allowed) for allowed in break_glass):
        logger.warning("break-glass refused", extra={"principal": principal})
        return _problem(403, "not allowed", f"{principal} is not one of those who may break glass (parameter BreakGlassPrincipals)")
    approval = table.approval_of(state)
    plan = request.plan_sha256 or (approval.plan_sha256 if approval else None) or ""
    approves = request.decision == "approve"
    vote = Vote(approves, principal, request.reason, request.manifest_sha256, plan, "iam", request.break_glass)
    try:
        decided = Votes(table, clock, intake.manifest_now).cast(execution_id, vote)
    except NotAllowedError as error:
        return _problem(409, "nothing was decided", str(error), executionId=execution_id)
    if request.break_glass:
        logger.critical("approval bypassed: break-glass", extra={"principal": principal, "reason": request.reason})
        measure(Metric.BREAK_GLASS, 1, execution_id=execution_id)
    about = {"executionId": execution_id, "decision": request.decision, "approver": principal}
    return Response(200, {**about, "status": decided.status, "votes": approvals_of(decided), "quorum": decided.quorum})


def _no_execution(execution_id: str) -> Response:
    return _problem(404, "no such execution", f"there is no execution {execution_id}")


def _problem(status: int, title: str, why: str, **members: object) -> Response:
    return Response(status, {"title": title, "status": status, "detail": why, **members})


def _body(event: Mapping[str, Any]) -> str | bytes:
    body: str = event.get("body") or ""
    return b64decode(body, validate=True) if event.get("isBase64Encoded") else body


def _words(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return printable(error)
    return "; ".join(f"{'.'.join(str(part) for part in one['loc']) or 'the body'}: {printable(one['msg'])}" for one in error.errors())
