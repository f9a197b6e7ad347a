"""drctl: the operator's command line."""

import os
import shlex
from importlib.metadata import version
from typing import Annotated

import typer

from drctl import (
    approvals,
    approve,
    calls,
    control,
    dashboard,
    deploy_check,
    dlq,
    dry_run,
    executions,
    local,
    new_module,
    permissions,
    publish,
    report,
    start,
    status,
    timeline,
    validate,
    watch,
)
from drctl.cloud import Cloud
from drctl.failures import Commands

app = typer.Typer(
    name="drctl",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"drctl {version('dr-orchestrator')}")
        raise typer.Exit


@app.callback()
def drctl(
    context: typer.Context,
    stack: Annotated[str, typer.Option(metavar="NAME", help="The orchestrator's stack.", envvar="DRCTL_STACK")] = "dr-orchestrator",
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="The orchestrator's Region; by default that of your AWS configuration.")
    ] = None,
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is, and nothing else.")
    ] = False,
) -> None:
    """Start and follow the phases of a disaster recovery.

    Credentials, Region and endpoint are those of every AWS tool: AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, ~/.aws.

    Exit codes: 0 fine; 1 the execution or the check failed; 2 wrong use, invalid input, or no way to AWS.
    """
    if region:
        os.environ["AWS_DEFAULT_REGION"] = region  # for every client of this process, the table's included
    context.obj = context.obj or Cloud(stack, _command(context, stack, region))


app.command()(validate.validate)
app.command()(permissions.permissions)
app.command()(publish.publish)
app.command()(dry_run.preflight)
app.command()(dry_run.plan)
app.command()(start.start)
app.command()(approve.approve)
app.command()(approve.reject)
app.command()(status.status)
app.command()(watch.watch)
app.command()(control.pause)
app.command()(control.resume)
app.command()(control.cancel)
app.command()(control.retry)
app.command()(control.skip)
app.command()(control.force_complete)
app.command()(control.abandon)
app.command()(control.takeover)
app.command()(calls.calls)
app.command()(report.report)
app.command()(executions.executions)
app.command()(timeline.timeline)
app.command()(dashboard.dashboard)
app.command()(deploy_check.deploy_check)
app.add_typer(approvals.app)
app.add_typer(dlq.app)
app.add_typer(local.app)
app.command()(new_module.new_module)


def _command(context: typer.Context, stack: str, region: str | None) -> str:
    """How drctl was called, with the options that say where, so that a command shown can be copied."""
    source = context.get_parameter_source("stack")
    words = ["drctl", *(["--stack", stack] if source and source.name == "COMMANDLINE" else []), *(["--region", region] if region else [])]
    return shlex.join(words)


def main() -> None:
    """Run drctl."""
    app()
