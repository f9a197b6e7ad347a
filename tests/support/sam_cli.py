"""The stack as an operator deploys it: `make build` and `sam deploy` in a copy of the source, with its samconfig.toml."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from localcloud import artifacts
from localcloud.cloud import CONTROL_ACCOUNT, STANDBY_REGION, LocalCloud

_MACHINE = {"PythonRuntime": artifacts.python_runtime(), "Architecture": artifacts.architecture()}


def build(source: Path) -> None:
    """The first step of `make build`: `sam build`. Raises SamError when it fails."""
    arguments = ["build", "--parameter-overrides", *(f"{name}={value}" for name, value in _MACHINE.items())]
    artifacts.run_sam(arguments, cwd=source, environment={"AWS_DEFAULT_REGION": STANDBY_REGION}, log=source / "build.log")


def pack(source: Path) -> None:
    """The second one. Raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "localcloud.packing", "--runtime", _MACHINE["PythonRuntime"]]
    subprocess.run(command, cwd=source, check=True)


def deploy(cloud: LocalCloud, source: Path, parameters: Mapping[str, str]) -> str:
    """`sam deploy` of what was built. Gives what it said; raises SamError when it fails."""
    environment = {**cloud.environment(CONTROL_ACCOUNT, STANDBY_REGION), "SAM_CLI_POLL_DELAY": "0.2"}
    log, overrides = source / "deploy.log", [f"{name}={value}" for name, value in {**_MACHINE, **parameters}.items()]
    arguments = [
        "deploy",
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
        "--no-progressbar",
        "--parameter-overrides",
        *overrides,
    ]
    artifacts.run_sam(arguments, cwd=source, environment=environment, log=log)
    return log.read_text()
