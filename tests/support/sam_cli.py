"""The stack as an operator deploys it: `sam build` and `sam deploy` in a copy of the source, with its samconfig.toml."""

from collections.abc import Mapping
from pathlib import Path

from localcloud import artifacts
from localcloud.cloud import CONTROL_ACCOUNT, STANDBY_REGION, LocalCloud


def build_and_deploy(cloud: LocalCloud, source: Path, parameters: Mapping[str, str]) -> str:
    """Build and deploy the template of the directory. Gives what `sam deploy` said; raises SamError when sam fails."""
    machine = {"PythonRuntime": artifacts.python_runtime(), "Architecture": artifacts.architecture()}
    overrides = ["--parameter-overrides", *(f"{name}={value}" for name, value in {**machine, **parameters}.items())]
    environment = {**cloud.environment(CONTROL_ACCOUNT, STANDBY_REGION), "SAM_CLI_POLL_DELAY": "0.2"}
    artifacts.run_sam(["build", *overrides], cwd=source, environment=environment, log=source / "build.log")
    log = source / "deploy.log"
    arguments = ["deploy", *overrides, "--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
    artifacts.run_sam(arguments, cwd=source, environment=environment, log=log)
    return log.read_text()
