"""`drctl start`: asks for a phase to be run, and says what became of the request."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.text import Text
from ulid import ULID

from dr_core.events import ExecutionRequested
from dr_core.phases import Mode, Phase
from dr_core.state import Refusal
from drctl import view
from drctl.cloud import Cloud, cloud_of
from drctl.failures import FAILED, WRONG_USE, say
from drctl.watch import watch_to_end

_ANSWER_WITHIN = timedelta(seconds=60)
_POLL_SECONDS = 0.5


def start(
    context: typer.Context,
    application: Annotated[str, typer.Argument(metavar="APPLICATION", help="As its folder of manifests is called.", show_default=False)],
    phase: Annotated[
        Phase,
        typer.Argument(metavar="PHASE", help="INSTANTIATE, ACTIVATE, CLEANUP or REPLICATE.", case_sensitive=False, show_default=False),
    ],
    target: Annotated[str, typer.Option(metavar="REGION", help="The Region that the phase acts on.", show_default=False)],
    source: Annotated[str, typer.Option(metavar="REGION", help="The other Region.", show_default=False)],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the approvers and the audit trail.", show_default=False)],
    mode: Annotated[
        Mode | None,
        typer.Option(
            metavar="MODE",
            case_sensitive=False,
            help="planned: no data may be lost; unplanned: the source may be dark, data loss is accepted; drill: production stays "
            "untouched. ACTIVATE has no default, the others have planned.",
            show_default=False,
        ),
    ] = None,
    requested_by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who asks; by default the last part of your ARN.", show_default=False)
    ] = None,
    manifest: Annotated[
        str | None, typer.Option(metavar="KEY", help="Key in the manifest bucket; by default APPLICATION/Phase.json.", show_default=False)
    ] = None,
    client_token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN", help="Makes a repetition harmless: one token, one execution. By default a new one.", show_default=False
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it to its end, as drctl watch does.")] = False,
) -> None:
    """Ask for a phase to be run. It begins when somebody has approved it.

    Prints the execution's id. Exit code 2 when the request is refused, with everything that is wrong with it; 1 when there is no
    answer within a minute; with `--wait`, that of `drctl watch`.

    Examples:

    * `drctl start storefront INSTANTIATE --target us-west-2 --source us-east-1 --reason "monthly drill"`
    * `drctl start storefront ACTIVATE --target us-west-2 --source us-east-1 --mode unplanned --reason "us-east-1 is down" --wait`
    """
    cloud = cloud_of(context)
    token = client_token or str(ULID())
    asked = {
        "application": application,
        "phase": phase.value,
        "targetRegion": target,
        "sourceRegion": source,
        "mode": mode.value if mode else None,
        "manifest": manifest,
        "clientToken": token,
        "requestedBy": requested_by or cloud.caller("--requested-by"),
        "reason": reason,
    }
    request = ExecutionRequested.parse({name: value for name, value in asked.items() if value is not None})
    if cloud.table.by_token(application, token) is None:
        cloud.put_event("Execution Requested", request.model_dump_json(by_alias=True, exclude_none=True))
    execution_id = _answer(cloud, application, token)
    if execution_id is None:
        _say_no_answer(cloud, application, token)
        raise typer.Exit(FAILED)
    found = cloud.load(execution_id)
    if isinstance(found, Refusal):
        view.show_refusal(found, view.console(stderr=True))
        raise typer.Exit(WRONG_USE)
    typer.echo(execution_id)
    if wait:
        watch_to_end(cloud, execution_id, None)
        return
    out = view.console(stderr=True)
    out.print(view.title(found.execution))
    out.print(Text(f"  {cloud.command} approve {execution_id} --reason TEXT\n  {cloud.command} watch {execution_id}"))


def _answer(cloud: Cloud, application: str, token: str) -> str | None:
    """The id of what the request became; None if it became nothing in good time."""
    deadline = cloud.clock() + _ANSWER_WITHIN
    while (found := cloud.table.by_token(application, token)) is None and cloud.clock() < deadline:
        cloud.sleep(_POLL_SECONDS)
    return found


def _say_no_answer(cloud: Cloud, application: str, token: str) -> None:
    function = f"{cloud.stack_name}-start-execution"
    say(
        f"the bus took the request, but nothing came of it within {_ANSWER_WITHIN.seconds} s",
        f"it may still: {cloud.command} executions {application}; the same command with --client-token {token} starts nothing twice.\n"
        f"       If nothing appears, look into the log of function {function} and the stack's dead-letter queues",
    )
