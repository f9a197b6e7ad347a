"""`drctl local`: the AWS that runs on this machine, with the orchestrator deployed in it.

Exit codes: 0 as asked, 1 failed, 2 wrong usage.
"""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from localcloud.applications import storefront
from localcloud.artifacts import SamError
from localcloud.cloud import (
    CONTROL_ACCOUNT,
    PRIMARY_REGION,
    REPOSITORY,
    STANDBY_REGION,
    WORKLOAD_ACCOUNT,
    AlreadyRunningError,
    LocalCloud,
    NotRunningError,
    StartError,
)
from localcloud.deployment import DeploymentError
from localcloud.installation import install, publish

app = typer.Typer(name="local", help="A local AWS with the orchestrator in it.", no_args_is_help=True)
_out = Console(highlight=False, soft_wrap=True, emoji=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

StateDir = Annotated[
    Path,
    typer.Option("--state-dir", file_okay=False, show_default=".local/cloud", help="Where the local cloud keeps its logs and state."),
]
_DEFAULT_STATE_DIR = REPOSITORY / ".local" / "cloud"


@app.command()
def up(
    state_dir: StateDir = _DEFAULT_STATE_DIR,
    time_scale: Annotated[
        float, typer.Option(min=0, help="How long resources take: 1 as on AWS, 0.05 twenty times faster, 0 at once.")
    ] = 0.05,
) -> None:
    """Start the local cloud, deploy the orchestrator into it, and print how to point aws at it.

    Where one runs already, the orchestrator is deployed into that one anew.
    """
    try:
        try:
            cloud = LocalCloud.start(state_dir, time_scale=time_scale)
            _out.print(f"Local cloud started, time scale {time_scale:g}")
        except AlreadyRunningError:
            cloud = LocalCloud.load(state_dir)
            _out.print(f"Local cloud runs already, time scale {cloud.time_scale:g}")
        outputs = install(cloud)
    except (StartError, SamError, DeploymentError) as error:
        _err.print(f"[red]{error.__class__.__name__}[/red]")
        _err.print(str(error), markup=False)
        raise typer.Exit(1) from error
    for name, value in sorted(outputs.items()):
        _out.print(f"  {name}: {value}", markup=False)
    _print_access(cloud)


@app.command()
def sample(state_dir: StateDir = _DEFAULT_STATE_DIR) -> None:
    """Create the storefront in both Regions of the local cloud and publish its manifests: something to fail over."""
    cloud = _running(state_dir)
    publish(cloud, storefront.NAME)
    storefront.create(cloud)
    for fact, value in storefront.observe(cloud).items():
        _out.print(f"  {fact}: {value}", markup=False)


@app.command()
def status(state_dir: StateDir = _DEFAULT_STATE_DIR) -> None:
    """Say whether the parts of the local cloud run and answer, and print how to point aws at it."""
    cloud = _running(state_dir)
    parts = cloud.status()
    for name, answers in parts.items():
        _out.print(f"  {name}: {'answers' if answers else 'does not answer'}")
    _print_access(cloud)
    if not all(parts.values()):
        raise typer.Exit(1)


@app.command()
def down(state_dir: StateDir = _DEFAULT_STATE_DIR) -> None:
    """Stop the local cloud and everything in it; the logs stay."""
    _running(state_dir).stop()
    _out.print("Local cloud stopped")


def _running(state_dir: Path) -> LocalCloud:
    try:
        return LocalCloud.load(state_dir)
    except NotRunningError as error:
        _err.print(str(error), markup=False)
        raise typer.Exit(1) from error


def _print_access(cloud: LocalCloud) -> None:
    """Lines to paste into a shell."""
    _out.print(f"\nTo use it: account {CONTROL_ACCOUNT} (control) in {STANDBY_REGION} (standby)")
    for name, value in cloud.environment().items():
        _out.print(f"export {name}={shlex.quote(value)}", markup=False)
    _out.print(f"The applications: account {WORKLOAD_ACCOUNT}, {PRIMARY_REGION} (primary) and {STANDBY_REGION}")
    _out.print(f"# to look at them as their own administrator: AWS_ACCESS_KEY_ID={WORKLOAD_ACCOUNT}")
    _out.print(f"Every call is recorded in {cloud.journal}", markup=False)
