"""A request as `drctl start`, `drctl preflight` and `drctl plan` send it: signed, else over the bus, once, and what became of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import boto3
import typer
from botocore.exceptions import ClientError
from rich.text import Text
from ulid import ULID

from dr_core.application import FILE_NAME, Regions, read_application
from dr_core.phases import Mode, Phase
from dr_core.records import State
from dr_core.requests import ExecutionRequested
from dr_core.state import Refusal
from drctl import signed, view
from drctl.cloud import ANSWER_WITHIN, Cloud
from drctl.failures import FAILED, WrongUseError, say

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The phases that act on the Region that is to take over; the others act on the one that was left.
_ON_STANDBY = (Phase.INSTANTIATE, Phase.ACTIVATE)

ApplicationName = Annotated[str, typer.Argument(metavar="APPLICATION", help="As its folder of manifests is called.", show_default=False)]
PhaseName = Annotated[
    Phase,
    typer.Argument(metavar="PHASE", help="INSTANTIATE, ACTIVATE, CLEANUP or REPLICATE.", case_sensitive=False, show_default=False),
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="REGION",
        help="The Region that the phase acts on; by default, from the application.json beside the published manifests, the standby "
        "for INSTANTIATE, ACTIVATE and all of a drill, the primary for CLEANUP and REPLICATE.",
        show_default=False,
    ),
]
Source = Annotated[
    str | None, typer.Option(metavar="REGION", help="The other Region; by default that of application.json.", show_default=False)
]
ModeName = Annotated[
    Mode | None,
    typer.Option(
        metavar="MODE",
        case_sensitive=False,
        help="planned: no data may be lost; unplanned: the source may be dark, data loss is accepted; drill: production stays "
        "untouched. ACTIVATE has no default, the others have planned.",
        show_default=False,
    ),
]
RequestedBy = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who asks; by default the last part of your ARN.", show_default=False)
]
Manifest = Annotated[
    str | None, typer.Option(metavar="KEY", help="Key in the manifest bucket; by default APPLICATION/Phase.json.", show_default=False)
]
ClientToken = Annotated[
    str | None,
    typer.Option(metavar="TOKEN", help="Makes a repetition harmless: one token, one execution. By default a new one.", show_default=False),
]


@dataclass(frozen=True)
class Wish:
    """What an operator asks for; what is None has a default."""

    application: str
    phase: Phase
    target: str | None
    source: str | None
    mode: Mode | None
    reason: str
    requested_by: str | None
    manifest: str | None
    client_token: str | None
    dry_run: bool = False


def ask(cloud: Cloud, wish: Wish) -> State | Refusal:
    """Send the request, unless its token was used before, and wait for what it becomes: an execution, or a refusal.

    Raises InvalidInputError and WrongUseError when it cannot be right, typer.Exit when nothing came of it in good time.
    """
    token = wish.client_token or str(ULID())
    target, source = _regions(cloud, wish)
    asked = {
        "application": wish.application,
        "phase": wish.phase.value,
        "targetRegion": target,
        "sourceRegion": source,
        "mode": wish.mode.value if wish.mode else None,
        "manifest": wish.manifest,
        "dryRun": wish.dry_run,
        "clientToken": token,
        "requestedBy": wish.requested_by or cloud.caller("--requested-by"),
        "reason": wish.reason,
    }
    request = ExecutionRequested.parse({name: value for name, value in asked.items() if value is not None})
    if cloud.table.by_token(wish.application, token) is None:
        sent = signed.send(cloud, "Execution Requested", request.model_dump(mode="json", by_alias=True, exclude_none=True))
        if isinstance(sent, str):
            signed.tell_unverified(sent)
            cloud.put_event("Execution Requested", request.model_dump_json(by_alias=True, exclude_none=True))
    execution_id = cloud.answer(lambda: cloud.table.by_token(wish.application, token))
    if execution_id is None:
        _say_no_answer(cloud, wish.application, token)
        raise typer.Exit(FAILED)
    found = cloud.load(execution_id)
    if isinstance(found, State) and (found.execution.phase, found.execution.dry_run) != (wish.phase, wish.dry_run):
        what = "a dry run of" if found.execution.dry_run else "an execution of"
        used = f"client token {token} was used before, for {what} {found.execution.phase}: {execution_id}"
        raise WrongUseError(used, "give another token, or none")
    return found


def _regions(cloud: Cloud, wish: Wish) -> tuple[str, str]:
    """Target and source; what was not given is taken from the application's registration, and said."""
    if wish.target and wish.source:
        return wish.target, wish.source
    key = f"{wish.application}/{FILE_NAME}"
    registered = _registered(cloud, wish.application, key)
    on_standby = wish.phase in _ON_STANDBY or wish.mode is Mode.DRILL
    target, source = (registered.standby, registered.primary) if on_standby else (registered.primary, registered.standby)
    given = wish.target or wish.source
    if given and given not in (target, source):
        raise WrongUseError(f"{given} is no Region of {key}: {registered.primary}, {registered.standby}", "give both --target and --source")
    if given and given != (target if wish.target else source):
        target, source = source, target
    view.console(stderr=True).print(Text(f"Regions from {key}: acts on {target}, the other is {source}"))
    return target, source


def _registered(cloud: Cloud, application: str, key: str) -> Regions:
    """The Regions in the published registration. Raises WrongUseError when there is none, InvalidInputError when it is wrong."""
    s3: S3Client = boto3.client("s3")
    bucket = cloud.output("ManifestBucketName")
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        raise WrongUseError(
            f"there is no {key} to take the Regions from", f"give --target and --source, or publish s3://{bucket}/{key}"
        ) from error
    return read_application(key, body, application).regions


def _say_no_answer(cloud: Cloud, application: str, token: str) -> None:
    function = f"{cloud.stack_name}-start-execution"
    say(
        f"the bus took the request, but nothing came of it within {ANSWER_WITHIN.seconds} s",
        f"it may still: {cloud.command} executions {application}; the same command with --client-token {token} starts nothing twice.\n"
        f"       If nothing appears, look into the log of function {function} and the stack's dead-letter queues",
    )
