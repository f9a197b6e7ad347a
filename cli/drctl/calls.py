"""`drctl calls`: the journal of the AWS calls that an execution has made."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic.alias_generators import to_camel
from rich.table import Table
from rich.text import Text

from dr_core.records import Resource
from dr_core.reports import plural
from dr_people.wording import moment, plain
from drctl import view
from drctl.cloud import cloud_of
from drctl.document import SCHEMA_VERSION
from drctl.failures import WrongUseError
from drctl.status import ExecutionId, Output, OutputOption, accepted

_FURTHER = "…"


def calls(
    context: typer.Context,
    execution_id: ExecutionId,
    resource: Annotated[
        str | None, typer.Argument(metavar="RESOURCE", help="A resource's id or name; by default all.", show_default=False)
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """List the AWS calls that an execution has made to change something, and those that failed to read, in order of time.

    The request ids are those of CloudTrail in the target account; there the session is called dr-EXECUTION. The parameters are in the
    output for programs, without secrets. Exit code 1 when the request was refused; 2 when there is no such execution or resource.

    Examples:

    * `drctl calls 01J9ZK3M8Q4T7V2X5B6C8D0E1F`
    * `drctl calls 01J9ZK3M8Q4T7V2X5B6C8D0E1F database-tier -o json | jq '.calls[].parameters'`
    """
    cloud = cloud_of(context)
    found = accepted(cloud, execution_id)
    resources = cloud.table.resources(execution_id)
    wanted = [one for one in resources if resource in (None, one.id, one.name)]
    if not wanted:
        raise WrongUseError(f"execution {execution_id} has no resource {resource}", f"{cloud.command} status {execution_id} lists them")
    journal = cloud.table.calls(execution_id, wanted[0].id if len(wanted) == 1 else "")
    rows = sorted(_rows(journal, {one.id: one for one in wanted}), key=lambda row: str(row["at"]))
    if output is Output.JSON:
        made = {"schemaVersion": SCHEMA_VERSION, "kind": "calls", "executionId": execution_id, "calls": rows}
        typer.echo(json.dumps(made, indent=2))
        return
    out = view.console()
    if not rows:
        nothing = "It was a dry run: no call was made." if found.execution.dry_run else "No call that changes something has been made yet."
        out.print(Text(nothing))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(7):
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*_cells(row))
    out.print(table, soft_wrap=False)


def _rows(journal: list[tuple[str, int, list[Mapping[str, Any]]]], resources: Mapping[str, Resource]) -> Iterator[dict[str, Any]]:
    """Each call with its resource. What stands for calls without room has no time: it takes that of the one before."""
    for resource_id, attempt, made in journal:
        at = ""
        for call in made if resource_id in resources else ():
            at = call["at"] or at
            told = {to_camel(key): value for key, value in call.items()}
            yield {"resourceId": resource_id, "resourceName": resources[resource_id].name, "attempt": attempt, **told, "at": at}


def _cells(row: Mapping[str, Any]) -> Iterator[Text]:
    yield Text(moment(datetime.fromisoformat(row["at"])) if row["at"] else "")
    yield Text(plain(row["resourceName"]))
    yield Text(f"attempt {row['attempt']}")
    if row["action"] == _FURTHER:
        yield Text(f"… and {plural(row['parameters']['furtherCalls'], 'further call')}, for which there was no room")
        return
    yield Text(plain(f"{row['action']} {row['region']}"))
    yield Text(f"{row['durationMs']} ms" if "durationMs" in row else "", justify="right")
    yield Text(plain(row.get("requestId", "")))
    yield Text(plain(": ".join(row[key] for key in ("errorCode", "errorMessage") if key in row)), style="red")
