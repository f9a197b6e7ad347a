"""`drctl deploy-check`: whether any execution is active, before the stack is deployed anew."""

import json

import typer
from rich.table import Table
from rich.text import Text

from dr_core.moves import text
from dr_people.wording import moment, plain
from drctl import view
from drctl.cloud import cloud_of
from drctl.failures import FAILED
from drctl.status import Output, OutputOption


def deploy_check(context: typer.Context, output: OutputOption = Output.TEXT) -> None:
    """Say whether an execution is active: requested and not ended, also paused and halted ones.

    Exit code 0 when none is; 1, with a list of them, when one is.
    """
    active = cloud_of(context).table.active()
    if output is Output.JSON:
        listed = [
            {
                "id": one.id,
                "application": one.application,
                "phase": one.phase,
                "dryRun": one.dry_run,
                "status": one.status,
                "currentLayer": one.current_layer,
                "layersTotal": one.layers_total,
                "since": text(one.started_at or one.requested_at),
            }
            for one in active
        ]
        typer.echo(json.dumps(listed, indent=2))
    elif not active:
        view.console().print(Text("no execution is active"))
    else:
        table = Table.grid(padding=(0, 2, 0, 0))
        for one in active:
            what = f"{one.phase} of {plain(one.application)}{' (dry run)' if one.dry_run else ''}"
            layer = f"layer {one.current_layer} of {one.layers_total}" if one.current_layer else "no layer yet"
            since = f"since {moment(one.started_at or one.requested_at)}"
            table.add_row(Text(one.id), Text(what), view.status_text(one.status), Text(layer), Text(since))
        view.console().print(table)
    if active:
        raise typer.Exit(FAILED)
