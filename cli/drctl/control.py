"""`drctl pause`, `resume`, `cancel`, `retry`, `skip`, `force-complete`, `abandon`, `takeover`: steer an execution that is under way."""

from typing import Annotated

import typer
from rich.text import Text
from ulid import ULID

from dr_core.commands import CommandName
from dr_core.records import State
from dr_core.requests import CommandRequested
from dr_core.state import Refusal
from drctl import signed, view
from drctl.cloud import ANSWER_WITHIN, Cloud, cloud_of
from drctl.failures import FAILED, WrongUseError, say

ExecutionId = Annotated[str, typer.Argument(metavar="EXECUTION", help="The execution's id.", show_default=False)]
Failed = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RESOURCE]...", help="Names or ids of resources of the current layer; by default all that have failed.", show_default=False
    ),
]
Waiting = Annotated[
    list[str], typer.Argument(metavar="RESOURCE...", help="Names or ids of resources of the current layer.", show_default=False)
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit trail.", show_default=False)]
RequestedBy = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who commands; by default the last part of your ARN.", show_default=False)
]
ClientToken = Annotated[
    str | None,
    typer.Option(metavar="TOKEN", help="Makes a repetition harmless: one token, one command. By default a new one.", show_default=False),
]


def pause(
    context: typer.Context, execution_id: ExecutionId, reason: Reason, requested_by: RequestedBy = None, client_token: ClientToken = None
) -> None:
    """Begin nothing more; what is under way is followed to its end.

    Exit code 1 when the command is refused, with the reason.
    """
    _command(cloud_of(context), "pause", execution_id, [], reason, requested_by, client_token)


def resume(
    context: typer.Context, execution_id: ExecutionId, reason: Reason, requested_by: RequestedBy = None, client_token: ClientToken = None
) -> None:
    """Go on with a paused execution.

    Exit code 1 when the command is refused, with the reason.
    """
    _command(cloud_of(context), "resume", execution_id, [], reason, requested_by, client_token)


def cancel(
    context: typer.Context, execution_id: ExecutionId, reason: Reason, requested_by: RequestedBy = None, client_token: ClientToken = None
) -> None:
    """End an execution: nothing more begins, what is under way is followed to its end and never aborted, then the locks are free.

    Exit code 1 when the command is refused, with the reason.
    """
    _command(cloud_of(context), "cancel", execution_id, [], reason, requested_by, client_token)


def retry(
    context: typer.Context,
    execution_id: ExecutionId,
    reason: Reason,
    resources: Failed = None,
    requested_by: RequestedBy = None,
    client_token: ClientToken = None,
) -> None:
    """Try failed resources of the current layer again, with all their attempts; a halted execution goes on.

    Exit code 1 when the command is refused, with the reason.

    Examples:

    * `drctl retry 01J9ZK3M8Q4T7V2X5B6C8D0E1F --reason "the role is mended"`
    * `drctl retry 01J9ZK3M8Q4T7V2X5B6C8D0E1F database-tier --reason "the role is mended"`
    """
    _command(cloud_of(context), "retry", execution_id, resources or [], reason, requested_by, client_token)


def skip(
    context: typer.Context,
    execution_id: ExecutionId,
    reason: Reason,
    resources: Failed = None,
    requested_by: RequestedBy = None,
    client_token: ClientToken = None,
) -> None:
    """Go on without failed resources of the current layer, or without some that have not begun: they count as done by hand.

    Exit code 1 when the command is refused, with the reason.
    """
    _command(cloud_of(context), "skip", execution_id, resources or [], reason, requested_by, client_token)


def force_complete(
    context: typer.Context,
    execution_id: ExecutionId,
    resources: Waiting,
    reason: Reason,
    requested_by: RequestedBy = None,
    client_token: ClientToken = None,
) -> None:
    """Declare resources done that are still waited for. You have seen it; the orchestrator has not.

    Exit code 1 when the command is refused, with the reason.
    """
    _command(cloud_of(context), "force-complete", execution_id, resources, reason, requested_by, client_token)


def abandon(
    context: typer.Context, execution_id: ExecutionId, reason: Reason, requested_by: RequestedBy = None, client_token: ClientToken = None
) -> None:
    """Give up a halted or paused execution and free its locks; what is under way on AWS is left as it is.

    In another Region than its home (--region): gives up what cannot be taken over there. Its locks come free 15 minutes later.

    Exit code 1 when the command is refused, with the reason.
    """
    _command(cloud_of(context), "abandon", execution_id, [], reason, requested_by, client_token)


def takeover(
    context: typer.Context, execution_id: ExecutionId, reason: Reason, requested_by: RequestedBy = None, client_token: ClientToken = None
) -> None:
    """Go on here with an execution whose home Region is lost; give it in the Region that takes over (--region).

    What the lost Region may have begun is observed first and adopted; it begins anew only when that Region's leases must be over. While
    the home Region still works, pause or cancel the execution there instead.

    Exit code 1 when the command is refused, with the reason, such as what has not been replicated.
    """
    _command(cloud_of(context), "takeover", execution_id, [], reason, requested_by, client_token)


def _command(
    cloud: Cloud,
    name: CommandName,
    execution_id: str,
    resources: list[str],
    reason: str,
    requested_by: str | None,
    client_token: str | None,
) -> None:
    """Send the command, wait for what becomes of it, and say so."""
    state = cloud.load(execution_id)
    if isinstance(state, Refusal):
        raise WrongUseError(f"request {execution_id} was refused: there is nothing to {name}", f"{cloud.command} status {execution_id}")
    token = client_token or str(ULID())
    asked = {
        "executionId": execution_id,
        "command": name,
        "resourceIds": [_resource_id(state, resource) for resource in resources],
        "clientToken": token,
        "requestedBy": requested_by or cloud.caller("--requested-by"),
        "reason": reason,
    }
    if cloud.table.receipt(execution_id, token) is None:
        request = CommandRequested.parse(asked)
        sent = signed.send(cloud, "Command Requested", request.model_dump(mode="json", by_alias=True))
        if isinstance(sent, str):
            signed.tell_unverified(sent)
            cloud.put_event("Command Requested", request.model_dump_json(by_alias=True))
    receipt = cloud.answer(lambda: cloud.table.receipt(execution_id, token))
    if receipt is None:
        say(
            f"the bus took the command, but nothing came of it within {ANSWER_WITHIN.seconds} s",
            f"it may still: {cloud.command} status {execution_id}; the same command with --client-token {token} is carried out once.\n"
            f"       If nothing happens, look into the log of function {cloud.stack_name}-control-execution",
        )
        raise typer.Exit(FAILED)
    if receipt.command != name:
        used = f"client token {token} was used before, for {receipt.command}"
        raise WrongUseError(used, "give another token, or none")
    if receipt.outcome == "REFUSED":
        say(f"{name} refused: {receipt.why}", f"{cloud.command} status {execution_id}")
        raise typer.Exit(FAILED)
    out = view.console()
    found = cloud.load(execution_id)
    out.print(Text(f"{name} accepted", style="green"))
    if isinstance(found, State):
        out.print(view.title(found.execution))
    view.console(stderr=True).print(Text(f"  {cloud.command} watch {execution_id}"))


def _resource_id(state: State, resource: str) -> str:
    """The id of a resource of the current layer, given by name or id. Raises WrongUseError where there is none, or several."""
    found = [known.id for known in state.resources if resource in (known.name, known.id)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{known.name} ({known.id})" for known in state.resources) or "none"
    raise WrongUseError(f"the current layer has no resource {resource}", f"it has {names}")
