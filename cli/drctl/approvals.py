"""`drctl approvals`: what waits for a decision, all that is to be known of it, and the key that signs links."""

import json
from typing import TYPE_CHECKING, Annotated

import boto3
import typer
from rich.table import Table
from rich.text import Text

from dr_core.approval_rules import approvals_of
from dr_core.links import rotated
from dr_core.records import Approval, Execution, ExecutionStatus
from dr_people.approval_context import load_request
from dr_people.approval_views import whole_text
from dr_people.wording import between, plain
from drctl import document, view
from drctl.cloud import Cloud, cloud_of
from drctl.failures import WrongUseError
from drctl.status import ExecutionId, Output, OutputOption, accepted

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

app = typer.Typer(name="approvals", no_args_is_help=True, help="What waits for a decision, and what goes with it.")

_MOST_LIVE = 1000  # executions that have not ended, of which some wait


@app.command("list")
def waiting(
    context: typer.Context,
    application: Annotated[str, typer.Option(metavar="APPLICATION", help="Of this application alone.", show_default=False)] = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """List what waits for a decision in this Region, what ends first at the top.

    Examples:

    * `drctl approvals list`
    * `drctl approvals list -o json | jq -r .[].execution.id`
    """
    cloud = cloud_of(context)
    found = sorted(_waiting(cloud, application), key=lambda one: one[1].expires_at)
    if output is Output.JSON:
        typer.echo(json.dumps([document.of_waiting(*one) for one in found], indent=2))
        return
    out = view.console()
    if not found:
        out.print(Text("Nothing waits for a decision."))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for execution, approval in found:
        before = f", before layer {approval.layer}" if approval.layer else ""
        left = between(cloud.clock(), approval.expires_at) if approval.expires_at > cloud.clock() else "no time"
        asked = f"{approvals_of(approval)} of {approval.quorum} approvals" if approval.asked_at else "not asked yet"
        words = (
            execution.id,
            f"{execution.phase} of {execution.application}{before}",
            f"{execution.mode}, in {execution.target_region}",
            f"by {plain(execution.requested_by)}{'' if execution.requester_verified else ' (not verified)'}",
            asked,
            f"{left} left",
        )
        table.add_row(*(Text(one) for one in words))
    out.print(table)
    out.print(Text(f"\n{cloud.command} approvals show EXECUTION"))


def _waiting(cloud: Cloud, application: str) -> list[tuple[Execution, Approval]]:
    listed = [one for one in cloud.table.live(cloud.table.region, _MOST_LIVE) if one.status == ExecutionStatus.PENDING_APPROVAL]
    states = [cloud.table.load(one.id) for one in listed if application in ("", one.application)]
    # The index may be a moment behind the table.
    return [
        (one.execution, one.approval)
        for one in states
        if one is not None and one.approval is not None and one.execution.status is ExecutionStatus.PENDING_APPROVAL
    ]


@app.command()
def show(context: typer.Context, execution_id: ExecutionId, output: OutputOption = Output.TEXT) -> None:
    """Show all that an approver is told of an execution: what was found, what would be called, what cannot be undone, who has voted.

    Nothing is cut, as it is in mails and in Slack. Exit code 0 also when it is decided; 2 when it needs no approval.

    Examples:

    * `drctl approvals show 01J9ZK3M8Q4T7V2X5B6C8D0E1F`
    * `drctl approvals show 01J9ZK3M8Q4T7V2X5B6C8D0E1F -o json | jq .irreversible`
    """
    cloud = cloud_of(context)
    execution = accepted(cloud, execution_id).execution
    request = load_request(cloud.table, execution_id)
    if request is None:
        raise WrongUseError(f"execution {execution_id} needs no approval: it is a dry run", f"{cloud.command} status {execution_id}")
    seen, approval = request
    if output is Output.JSON:
        resources, reports = cloud.table.resources(execution_id), cloud.table.preflights(execution_id)
        typer.echo(json.dumps(document.of_request(execution, approval, resources, reports, seen), indent=2))
        return
    typer.echo(whole_text(seen))
    if seen.is_open:
        if approval.asked_at is None:
            typer.echo("The request to the approvers has not gone out yet.")
        for word in ("approve", "reject"):
            typer.echo(f'{cloud.command} {word} {execution_id} --reason "…"')


@app.command("rotate-key")
def rotate_key(context: typer.Context) -> None:
    """Sign links to the approval page with a new key from now on.

    Links that are out stay good until the next rotation: two in a row make all of them void.
    """
    cloud = cloud_of(context)
    client: SecretsManagerClient = boto3.client("secretsmanager")
    secret = cloud.output("SigningSecretArn")
    following = rotated(client.get_secret_value(SecretId=secret)["SecretString"])
    client.put_secret_value(SecretId=secret, SecretString=following)
    typer.echo("Links are signed with a new key within a minute; those that are out stay good until the next rotation.")
