"""`drctl status`: everything that the table says of an execution."""

import json
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from dr_core.records import State
from dr_core.state import Refusal
from dr_people.advice import advise, advise_away
from dr_people.snapshot import ENDED_BADLY, read
from drctl import document, view
from drctl.cloud import Cloud, cloud_of
from drctl.failures import FAILED


class Output(StrEnum):
    """For people, or for programs."""

    TEXT = "text"
    JSON = "json"


ExecutionId = Annotated[str, typer.Argument(metavar="EXECUTION", help="The execution's id.", show_default=False)]
OutputOption = Annotated[Output, typer.Option("--output", "-o", metavar="text|json", help="For people, or for programs.")]


def accepted(cloud: Cloud, execution_id: str) -> State:
    """The execution; for a refused request its problems are shown, and typer.Exit is raised."""
    found = cloud.load(execution_id)
    if isinstance(found, Refusal):
        view.show_refusal(found, view.console(stderr=True))
        raise typer.Exit(FAILED)
    return found


def status(context: typer.Context, execution_id: ExecutionId, output: OutputOption = Output.TEXT) -> None:
    """Show everything about an execution: layers, resources, timeline, and what happens next.

    It reads the state table alone, so it also works while CloudWatch does not.

    Exit code 0 while it is under way and when it has succeeded, also with accepted failures;
    1 when it is FAILED (halted), REJECTED, EXPIRED, CANCELLED or ABANDONED, or the request was refused; 2 when there is none.

    Examples:

    * `drctl status 01J9ZK3M8Q4T7V2X5B6C8D0E1F`
    * `drctl status 01J9ZK3M8Q4T7V2X5B6C8D0E1F -o json | jq .next`
    """
    cloud = cloud_of(context)
    found = cloud.load(execution_id)
    if isinstance(found, Refusal):
        if output is Output.JSON:
            typer.echo(json.dumps(document.of_refusal(found), indent=2))
        else:
            view.show_refusal(found, view.console())
        raise typer.Exit(FAILED)
    snapshot = read(cloud.table, found, cloud.clock())
    away = snapshot.execution.home_region != cloud.table.region and not snapshot.execution.status.is_terminal
    advice = advise_away(snapshot.execution, cloud.table.region, cloud.command) if away else advise(snapshot, cloud.command)
    if output is Output.JSON:
        typer.echo(json.dumps(document.of_execution(snapshot, advice), indent=2))
    else:
        view.show(snapshot, advice, view.console())
        lying = cloud.dead_letters()
        if any(lying.values()):
            words = ", ".join(f"{number} in {name}" for name, number in lying.items() if number)
            view.console().print(Text(f"\nDead letters: about {words}: {cloud.command} dlq list", style="yellow"))
    if snapshot.execution.status in ENDED_BADLY:
        raise typer.Exit(FAILED)
