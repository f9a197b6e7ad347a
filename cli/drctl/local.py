"""`drctl local`: the AWS that runs on this machine, with the orchestrator deployed in it.

Exit codes: 0 as asked, 1 failed, 2 wrong usage.
"""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from localcloud import mails as mailbox
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
from localcloud.faults import ARGUMENTS, Armed, Effect, Fault, FaultError
from localcloud.installation import install, publish

app = typer.Typer(name="local", help="A local AWS with the orchestrator in it.", no_args_is_help=True)
_fault = typer.Typer(help="Faults between a caller and the local AWS.", no_args_is_help=True)
app.add_typer(_fault, name="fault")
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
    if parts["gateway"]:
        _print_faults(cloud)
    _print_access(cloud)
    if not all(parts.values()):
        raise typer.Exit(1)


@app.command()
def mails(state_dir: StateDir = _DEFAULT_STATE_DIR) -> None:
    """Show the mails that the orchestrator has sent, the oldest first: the local cloud keeps them and delivers none."""
    found = mailbox.sent(_running(state_dir))
    for one in found:
        _out.print(
            f"To:      {', '.join(one.recipients)}\nDate:    {one.sent_at:%Y-%m-%d %H:%M:%SZ}\nSubject: {one.subject}\n", markup=False
        )
        _out.print(one.text.strip() + "\n", markup=False)
    if not found:
        _out.print("No mails: approvers with an email in application.json get them")


@app.command()
def down(state_dir: StateDir = _DEFAULT_STATE_DIR) -> None:
    """Stop the local cloud and everything in it; the logs stay."""
    _running(state_dir).stop()
    _out.print("Local cloud stopped")


@_fault.command("add")
def add_fault(
    effect: Annotated[Effect, typer.Argument(metavar="EFFECT", show_default=False, help="What happens to a call; see below.")],
    argument: Annotated[str | None, typer.Argument(show_default=False, help="Seconds, error code, before or after, or reason.")] = None,
    account: Annotated[str, typer.Option(help="Account of the caller; a shell pattern, as the next four.")] = "*",
    region: Annotated[str, typer.Option(help="Region that answers; us-east-1 for IAM and Route 53.")] = "*",
    service: Annotated[str, typer.Option(help="Service, such as rds.")] = "*",
    operation: Annotated[str, typer.Option(help="Operation, such as DescribeDBClusters.")] = "*",
    function: Annotated[str, typer.Option(help="Name of the Lambda function that calls.")] = "*",
    first: Annotated[int, typer.Option(help="The first call that is struck, of those that match.")] = 1,
    last: Annotated[int | None, typer.Option(show_default=False, help="The last call that is struck; without it, all.")] = None,
    probability: Annotated[float, typer.Option(help="With which each is struck.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed strikes the same calls.")] = 0,
    spared: Annotated[
        list[str] | None, typer.Option(show_default=False, help="A service of a dark Region that answers; repeatable.")
    ] = None,
    name: Annotated[str, typer.Option(show_default=False, help="Its name in the journal.")] = "",
    state_dir: StateDir = _DEFAULT_STATE_DIR,
) -> None:
    """Have calls go wrong from now on.

    Effects:

    * `throttle`: the service's own throttling error
    * `error [CODE]`: an error of the service, by default InternalFailure
    * `slow SECONDS`: held up, then carried out
    * `hang SECONDS`: no answer for so long, then the connection is cut; not carried out
    * `cut`: the connection is cut at once; not carried out
    * `cut-after`: carried out, then the connection is cut
    * `dark`: the Region does not answer; needs `--region`
    * `wrong-then-right [CODE]`: a read sees nothing yet, or the error; needs `--last`
    * `crash before|after`: the Lambda function that calls is killed
    * `fail-later [REASON]`: accepted, and what it began ends badly

    Examples:

    * `drctl local fault add throttle --service dynamodb --operation TransactWriteItems --last 3`
    * `drctl local fault add dark --region us-east-1 --spared sts`
    * `drctl local fault add slow 2 --service rds --operation 'Describe*' --probability 0.5`
    * `drctl local fault add crash after --function '*-start-resource' --service ecs --operation UpdateService --last 1`
    * `drctl local fault add fail-later --service rds --operation CreateDBInstance --last 1`
    """
    given: dict[str, object] = {
        "effect": effect,
        "name": name,
        "account": account,
        "region": region,
        "service": service,
        "operation": operation,
        "function": function,
        "first": first,
        "last": last,
        "probability": probability,
        "seed": seed,
        "spared": tuple(spared or ()),
    }
    try:
        if argument is not None:
            if effect not in ARGUMENTS:
                raise FaultError(f"{effect} takes no argument")
            given[ARGUMENTS[effect][0]] = argument
        fault = Fault.parse(given)
        added = _running(state_dir).faults.add(fault)
    except FaultError as error:
        _err.print(str(error), markup=False)
        raise typer.Exit(2) from error
    _out.print(f"{added}: {fault}", markup=False)


@_fault.command("list")
def list_faults(state_dir: StateDir = _DEFAULT_STATE_DIR) -> None:
    """Say which faults are set, and how many calls each has struck."""
    cloud = _running(state_dir)
    if not _print_faults(cloud):
        _out.print("No faults")


@_fault.command("clear")
def clear_faults(
    name: Annotated[str | None, typer.Argument(show_default=False, help="The name of one; without it, all.")] = None,
    state_dir: StateDir = _DEFAULT_STATE_DIR,
) -> None:
    """Take faults back. What has been accepted to fail later still fails."""
    faults = _running(state_dir).faults
    try:
        if name is None:
            faults.clear()
        else:
            faults.remove(name)
    except FaultError as error:
        _err.print(str(error), markup=False)
        raise typer.Exit(1) from error


def _print_faults(cloud: LocalCloud) -> list[Armed]:
    active = cloud.faults.active()
    for armed in active:
        _out.print(f"  fault {armed.fault.name}: {armed.fault} (struck {armed.struck} of {armed.covered} calls)", markup=False)
    return active


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
