"""`drctl executions`: an application's history."""

import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from dr_core.moves import text
from dr_people.wording import moment, plain
from drctl import view
from drctl.cloud import cloud_of
from drctl.status import Output, OutputOption


def executions(
    context: typer.Context,
    application: Annotated[str, typer.Argument(metavar="APPLICATION", help="As its folder of manifests is called.", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, at most.")] = 20,
    output: OutputOption = Output.TEXT,
) -> None:
    """List an application's executions and refused requests, newest first.

    Examples:

    * `drctl executions storefront`
    * `drctl executions storefront --limit 1 -o json | jq -r .[0].id`
    """
    found = cloud_of(context).table.executions(application, limit)
    if output is Output.JSON:
        listed = [{"id": i, "status": status, "phase": phase or None, "requestedAt": text(at)} for i, status, phase, at in found]
        typer.echo(json.dumps(listed, indent=2))
        return
    out = view.console()
    if not found:
        out.print(Text(f"There is no execution of {plain(application)}."))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for identity, status, phase, at in found:
        table.add_row(Text(identity), Text(moment(at)), Text(plain(phase or "-")), view.status_text(status))
    out.print(table)
