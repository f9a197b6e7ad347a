"""Takes a request: everything about it is checked before anything is touched, then it becomes an execution or a stored refusal."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING

from dr_core.application import FILE_NAME, Application, Bounds, read_application
from dr_core.aws import client
from dr_core.checks import with_known_times
from dr_core.errors import InvalidInputError, Problem
from dr_core.events import Incoming, execution_id, printable
from dr_core.observability import logger
from dr_core.phases import Mode, Phase
from dr_core.records import Approval, ApprovalStatus, Execution, ExecutionStatus, Resource
from dr_core.references import REFERENCE_ACTIONS, Resolver
from dr_core.requests import ExecutionRequested
from dr_core.settings import setting
from dr_core.state import LockedError, Refusal, Table, table
from dr_core.target import Purpose, TargetAccess, target_access
from dr_engine.bounds import outside
from dr_engine.drills import refuse_live, undoing
from dr_engine.plan import Plan, check_manifest, plan, refuse_empty_drill, refuse_outside
from dr_modules.base import modules

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# An item of the table has at most 400 KB, an event of the bus may have more.
_MOST_STORED_PROBLEMS = 100
_LONGEST_STORED_PROBLEM = 500
_LARGEST_STORED_REQUEST = 64 * 1024
_RUNS_LOOKED_AT = 20


@dataclass(frozen=True)
class Intake:
    """Takes requests for executions at home in `region` of `account`. `approval_seconds`: how long people have to decide."""

    table: Table
    access: TargetAccess
    s3: "S3Client"
    manifest_bucket: str
    region: str
    account: str
    approval_seconds: int

    def take(self, incoming: Incoming, now: datetime, principal: str | None = None) -> str:
        """Turn an `Execution Requested` of an operator into an execution that waits for its preflight, or into a refusal; gives its id.

        The same event delivered twice, or two with the same client token, are one request, and give the id of the first.
        `principal`: the ARN of whoever asks, where AWS has verified it; it stands in place of what the request says of itself.
        """
        identity = execution_id(incoming.id, incoming.time or now)
        logger.append_keys(execution_id=identity)
        token = _text(incoming.detail, "clientToken")
        application = _text(incoming.detail, "application") or "-"
        if token and (earlier := self.table.by_token(application, token)):
            logger.info("request came before", extra={"earlier_execution_id": earlier})
            return earlier
        if self.table.load(identity) or self.table.refusal(identity):
            logger.info("event came before")
            return identity
        detail = incoming.detail if principal is None else {**incoming.detail, "requestedBy": principal}
        try:
            request = ExecutionRequested.parse(detail)
            self._create(identity, request, now, verified=principal is not None)
        except InvalidInputError as error:
            stored = [str(problem)[:_LONGEST_STORED_PROBLEM] for problem in error.problems[:_MOST_STORED_PROBLEMS]]
            refusal = Refusal(identity, printable(application, 64), now, stored, _stored(detail))
            self.table.refuse(refusal, self.region, token, error.problems, now)
            logger.warning("request refused", extra={"problems": stored})
        # A request with the same client token may have been faster.
        return (token and self.table.by_token(application, token)) or identity

    def _create(self, identity: str, request: ExecutionRequested, now: datetime, *, verified: bool) -> None:
        if not request.dry_run:
            regions = (request.source_region, request.target_region)
            holders = {owner for owner in self.table.locked_by(request.application, regions, now).values() if owner != identity}
            if holders:
                raise InvalidInputError([_locked(request, sorted(holders))])
        registered = self._registered(request)
        quorum, approvers = registered.who_decides(request.phase) if registered else (1, ())
        key: str | None = request.manifest_key
        if request.mode is Mode.DRILL and request.phase is Phase.CLEANUP:
            key, version_id = None, ""  # what drills did is the manifest
            planned, digest = undoing(self.table, request, modules())
        else:
            if request.mode is Mode.DRILL:
                refuse_live(self.table, request, registered)
            body, version_id = self._manifest(request)
            planned = self._plan(identity, request, body, registered.bounds if registered else None)
            digest = hashlib.sha256(body).hexdigest()
        expires_at = now + timedelta(seconds=self.approval_seconds)
        execution = Execution(
            id=identity,
            application=request.application,
            phase=request.phase,
            mode=request.mode or Mode.PLANNED,
            source_region=request.source_region,
            target_region=request.target_region,
            home_region=self.region,
            status=ExecutionStatus.PLANNING if request.dry_run else ExecutionStatus.PENDING_APPROVAL,
            current_layer=0,
            layers_total=len(planned.layers),
            fence=1,
            manifest_sha256=digest,
            manifest_version_id=version_id,
            manifest_key=key,
            requested_by=request.requested_by,
            reason=request.reason,
            requested_at=now,
            due_at=now,
            client_token=request.client_token,
            dry_run=request.dry_run,
            requester_verified=verified,
            rto_seconds=registered.rto_seconds.get(request.phase) if registered else None,
        )
        waiting = Approval(
            ApprovalStatus.PENDING, expires_at, digest, request.requested_by, quorum=quorum, approvers=approvers, due_at=now, opened_at=now
        )
        approval = None if request.dry_run else waiting
        try:
            resources = with_known_times(planned.resources, () if request.dry_run else self._earlier_run(execution))
            created = self.table.create(execution, planned.layers, resources, approval, now)
        except LockedError as error:
            raise InvalidInputError([_locked(request, error.holders)]) from error
        logger.info("execution created" if created else "request came before")

    def _earlier_run(self, execution: Execution) -> Sequence[Resource]:
        """The resources of the phase's last run, one of the same mode if there is one lately: a drill may take another time."""
        lately = list(islice(self.table.past_runs(execution.application, execution.phase), _RUNS_LOOKED_AT))
        last = next((run for run in lately if run.mode == execution.mode), lately[0] if lately else None)
        return self.table.resources(last.id) if last else ()

    def _manifest(self, request: ExecutionRequested) -> tuple[bytes, str]:
        """The manifest's bytes and their version. Raises InvalidInputError when there is none."""
        key = request.manifest_key
        found = self._object(key)
        if found is None:
            remedy = f"publish it to s3://{self.manifest_bucket}/{key}"
            what = f"{request.application} has no manifest for {request.phase}"
            raise InvalidInputError([Problem(key, "", "", "", what, remedy)])
        return found

    def _registered(self, request: ExecutionRequested) -> Application | None:
        """The application as registered now; None where it is not.

        Raises InvalidInputError when the registration is wrong, or has another home Region. Two Regions cannot see each other's locks. A
        dry run takes none and changes nothing: the scheduled preflight of each Region may look.
        """
        key = f"{request.application}/{FILE_NAME}"
        found = self._object(key)
        registered = read_application(key, found[0], request.application) if found else None
        home = registered.home_region if registered else None
        if home and home != self.region and not request.dry_run:
            what = f"the home of {request.application} is {home}, and this is {self.region}"
            remedy = (
                f"start it in {home}; if {home} is lost, take over here what runs there, and publish {key} with homeRegion {self.region}"
            )
            raise InvalidInputError([Problem(key, "", "", "homeRegion", what, remedy)])
        return registered

    def manifest_now(self, key: str) -> bytes | None:
        """The manifest that is published under `key` now; None where there is none."""
        found = self._object(key)
        return found[0] if found else None

    def _object(self, key: str) -> tuple[bytes, str] | None:
        """The bytes of an object of the manifest bucket and their version; None where there is none."""
        try:
            answer = self.s3.get_object(Bucket=self.manifest_bucket, Key=key)
        except self.s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None
        return answer["Body"].read(), answer.get("VersionId", "")

    def _plan(self, identity: str, request: ExecutionRequested, body: bytes, bounds: Bounds | None) -> Plan:
        """The layers and resources, references resolved in their accounts. Raises InvalidInputError with every problem.

        What is outside of the application's bounds is refused before anything is called.
        """
        within = partial(outside, bounds, f"{request.application}/{FILE_NAME}") if bounds else None

        def open_client(account: str, service: str) -> object:
            purpose = Purpose(identity, request.application, request.phase)
            target = self.access.open(account, request.target_region, request.source_region, purpose, REFERENCE_ACTIONS)
            return target.client(service)

        manifest = check_manifest(body, request.manifest_key, request.application, request.phase, modules())
        drill = request.mode is Mode.DRILL
        if drill:
            refuse_empty_drill(manifest, request.manifest_key, request.phase, modules())
        if within:
            refuse_outside(manifest, request.manifest_key, within, self.account)
        resolver = Resolver(open_client, request.target_region)
        where, seconds = request.manifest_key, self.approval_seconds
        return plan(manifest, where, request.phase, modules(), resolver, self.account, seconds, within, drill=drill)


@cache
def intake() -> Intake:
    """The way in as the environment says, made once."""
    return Intake(
        table=table(),
        access=target_access(),
        s3=client("s3"),
        manifest_bucket=setting("MANIFEST_BUCKET"),
        region=setting("AWS_REGION"),
        account=setting("AWS_ACCOUNT_ID"),
        approval_seconds=int(setting("APPROVAL_SECONDS")),
    )


def _stored(detail: Mapping[str, object]) -> object:
    """The request as it came, or the beginning of one that is too large to keep."""
    encoded = json.dumps(detail)
    return dict(detail) if len(encoded) <= _LARGEST_STORED_REQUEST else {"beginning": encoded[:1000]}


def _text(detail: object, name: str) -> str | None:
    value = detail.get(name) if isinstance(detail, dict) else None
    return value if isinstance(value, str) and 0 < len(value) <= 64 else None


def _locked(request: ExecutionRequested, holders: Sequence[str]) -> Problem:
    where = f"{request.application} in {request.source_region} or {request.target_region}"
    problem = f"{where} is in the hands of execution {', '.join(holders)}"
    return Problem("Execution Requested", "", "", "application", problem, "wait for its end, or end it")
