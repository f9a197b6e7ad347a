"""`drctl preflight` and `drctl plan`: a dry run of a phase, and what it found. Nothing is changed, locked or asked for."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from dr_core.execution import DRY_RUN_WITHIN
from dr_core.records import ExecutionStatus, State
from dr_core.reports import read_reports, verdict
from dr_core.state import Refusal
from drctl import document, report_view, view
from drctl.asking import ApplicationName, ClientToken, Manifest, ModeName, PhaseName, RequestedBy, Source, Target, Wish, ask
from drctl.cloud import Cloud, cloud_of
from drctl.failures import FAILED, WRONG_USE, say
from drctl.status import Output, OutputOption
from drctl.watch import follow

# What the sweep ends only comes to its end then; a minute more for the sweep itself.
_WAIT_SECONDS = DRY_RUN_WITHIN.total_seconds() + 120
_INTERRUPTED = 130

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit trail.")]


def preflight(
    context: typer.Context,
    application: ApplicationName,
    phase: PhaseName,
    target: Target = None,
    source: Source = None,
    mode: ModeName = None,
    reason: Reason = "drctl preflight",
    requested_by: RequestedBy = None,
    manifest: Manifest = None,
    client_token: ClientToken = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Look at every resource of a phase, and say what stands in its way. Nothing is changed.

    Shows each resource's state, what was found, and how much data a failover would lose now. With the client token of an earlier dry
    run it shows what that one found. Exit code 0 when nothing stands in the way, 1 when something does or the dry run did not end
    well, 2 when the request is refused.

    Examples:

    * `drctl preflight storefront INSTANTIATE`
    * `drctl preflight storefront ACTIVATE --mode planned --output json | jq .preflight`
    """
    wish = Wish(application, phase, target, source, mode, reason, requested_by, manifest, client_token, dry_run=True)
    cloud = cloud_of(context)
    state, reports = _dry_run(cloud, wish, output)
    resources = cloud.table.resources(state.execution.id)
    if output is Output.JSON:
        typer.echo(json.dumps(document.of_preflight("preflight", state.execution, resources, reports), indent=2))
    else:
        report_view.show_preflight(state.execution, resources, read_reports(reports), view.console())
    if verdict(read_reports(reports), len(resources)).errors:
        raise typer.Exit(FAILED)


def plan(
    context: typer.Context,
    application: ApplicationName,
    phase: PhaseName,
    target: Target = None,
    source: Source = None,
    mode: ModeName = None,
    reason: Reason = "drctl plan",
    requested_by: RequestedBy = None,
    manifest: Manifest = None,
    client_token: ClientToken = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the AWS calls that a phase would make now, in order, without making any that changes something.

    Calls that depend on the answer to an earlier one cannot be known; where that is so, it is said. With the client token of an
    earlier dry run it shows that one's plan. Exit code 0 with a plan, 1 when the dry run did not end well, 2 when the request is refused.

    Examples:

    * `drctl plan storefront INSTANTIATE`
    * `drctl plan storefront ACTIVATE --target us-west-2 --source us-east-1 --mode unplanned -o json | jq -r '.reports[].calls[].action'`
    """
    wish = Wish(application, phase, target, source, mode, reason, requested_by, manifest, client_token, dry_run=True)
    cloud = cloud_of(context)
    state, reports = _dry_run(cloud, wish, output)
    resources = cloud.table.resources(state.execution.id)
    if output is Output.JSON:
        typer.echo(json.dumps(document.of_preflight("plan", state.execution, resources, reports), indent=2))
    else:
        report_view.show_plan(state.execution, resources, read_reports(reports), cloud.command, view.console())


def _dry_run(cloud: Cloud, wish: Wish, output: Output) -> tuple[State, list[Mapping[str, Any]]]:
    """Ask for the dry run and wait for its end; the reports as they are stored. Raises typer.Exit when there will be none."""
    found = ask(cloud, wish)
    if isinstance(found, Refusal):
        if output is Output.JSON:
            typer.echo(json.dumps(document.of_refusal(found), indent=2))
        else:
            view.show_refusal(found, view.console(stderr=True))
        raise typer.Exit(WRONG_USE)
    execution_id = found.execution.id
    progress = view.console(stderr=True)
    try:
        ended = follow(cloud.table, execution_id, progress, clock=cloud.clock, sleep=cloud.sleep, timeout_seconds=_WAIT_SECONDS)
    except KeyboardInterrupt:
        say("you stopped waiting; the dry run goes on", f"{cloud.command} status {execution_id}")
        raise typer.Exit(_INTERRUPTED) from None
    if ended.status is not ExecutionStatus.SUCCEEDED:
        say(
            f"dry run {execution_id} is {ended.status}: {ended.outcome_detail or 'it has not ended in good time'}",
            f"{cloud.command} status {execution_id}",
        )
        raise typer.Exit(FAILED)
    state = cloud.load(execution_id)
    assert isinstance(state, State), "it was there a moment ago"
    return state, cloud.table.preflights(execution_id)
