"""`drctl start`: asks for a phase to be run, and says what became of the request."""

from typing import Annotated

import typer
from rich.text import Text

from dr_core.state import Refusal
from drctl import view
from drctl.asking import ApplicationName, ClientToken, Manifest, ModeName, PhaseName, RequestedBy, Source, Target, Wish, ask
from drctl.cloud import cloud_of
from drctl.failures import WRONG_USE
from drctl.watch import watch_to_end


def start(
    context: typer.Context,
    application: ApplicationName,
    phase: PhaseName,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the approvers and the audit trail.", show_default=False)],
    target: Target = None,
    source: Source = None,
    mode: ModeName = None,
    requested_by: RequestedBy = None,
    manifest: Manifest = None,
    client_token: ClientToken = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it to its end, as drctl watch does.")] = False,
) -> None:
    """Ask for a phase to be run. It begins when somebody has approved it.

    Prints the execution's id. Exit code 2 when the request is refused, with everything that is wrong with it; 1 when there is no
    answer within a minute; with `--wait`, that of `drctl watch`.

    Examples:

    * `drctl start storefront INSTANTIATE --reason "monthly drill"`
    * `drctl start storefront ACTIVATE --target us-west-2 --source us-east-1 --mode unplanned --reason "us-east-1 is down" --wait`
    """
    cloud = cloud_of(context)
    found = ask(cloud, Wish(application, phase, target, source, mode, reason, requested_by, manifest, client_token))
    if isinstance(found, Refusal):
        view.show_refusal(found, view.console(stderr=True))
        raise typer.Exit(WRONG_USE)
    execution_id = found.execution.id
    typer.echo(execution_id)
    if wait:
        watch_to_end(cloud, execution_id, None)
        return
    out = view.console(stderr=True)
    out.print(view.title(found.execution))
    out.print(Text(f"  {cloud.command} approve {execution_id} --reason TEXT\n  {cloud.command} watch {execution_id}"))
