"""The repository's stacks on the local cloud, deployed with the real SAM CLI as on AWS.

In:  a running local cloud and the templates of the repository
Out: the orchestrator's stack in the control account, by default in the standby Region, and the role that it assumes in each account
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from botocore.exceptions import ClientError

from localcloud import artifacts
from localcloud.cloud import CONTROL_ACCOUNT, REPOSITORY, STANDBY_REGION, LocalCloud

STACK_NAME: Final = "dr-orchestrator"
TARGET_ROLE_STACK_NAME: Final = "dr-orchestrator-target"
TEMPLATE: Final = REPOSITORY / "template.yaml"
TARGET_ROLE_TEMPLATE: Final = REPOSITORY / "deploy" / "TargetAccountsAssumeRole.yaml"
FORWARDING_TEMPLATE: Final = REPOSITORY / "deploy" / "ForwardEvents.yaml"

_CAPABILITIES: Final = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")
_STACK_SECONDS: Final = 60.0


class DeploymentError(Exception):
    """A stack was not created or updated."""


def deploy(
    cloud: LocalCloud,
    *,
    template: Path = TEMPLATE,
    stack_name: str = STACK_NAME,
    parameters: Mapping[str, str] | None = None,
    region: str = STANDBY_REGION,
) -> dict[str, str]:
    """Build and deploy a SAM template into a Region of the control account; return the stack's outputs.

    The interpreter in use is the runtime, and this machine's architecture that of the functions, where the template has
    the parameters PythonRuntime and Architecture. Repeating a deployment changes nothing.
    Raises artifacts.SamError with the end of sam's own output.
    """
    built = artifacts.built_template(template, cloud.state_dir / "sam-build.log")
    bucket = _ensured_bucket(cloud, region)
    machine = {"PythonRuntime": artifacts.python_runtime(), "Architecture": artifacts.architecture()}
    overrides = _declared(built, machine) | dict(parameters or {})
    arguments = [
        *("deploy", "--template-file", str(built), "--stack-name", stack_name, "--region", region),
        *("--s3-bucket", bucket, "--capabilities", *_CAPABILITIES),
        *("--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"),
    ]
    if overrides:
        arguments += ["--parameter-overrides", *(f"{name}={value}" for name, value in overrides.items())]
    artifacts.run_sam(
        arguments,
        cwd=built.parent,  # away from samconfig.toml, which is for AWS
        environment={
            **cloud.environment(CONTROL_ACCOUNT, region),
            "SAM_CLI_POLL_DELAY": "0.2",
            "TMPDIR": str(cloud.state_dir / "tmp"),
        },
        log=cloud.state_dir / "sam-deploy.log",
    )
    return stack_outputs(cloud, stack_name, region=region)


def deploy_target_role(cloud: LocalCloud, account: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy the role that the orchestrator assumes into an account, as StackSets would; return the stack's outputs.

    Raises DeploymentError with the reasons that CloudFormation gives.
    """
    return deploy_into(cloud, account, STANDBY_REGION, TARGET_ROLE_STACK_NAME, TARGET_ROLE_TEMPLATE, parameters)


def deploy_forwarding(cloud: LocalCloud, account: str, region: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy the rules that forward AWS's own events from an account and Region; return the stack's outputs.

    Raises DeploymentError with the reasons that CloudFormation gives.
    """
    # The emulator names roles after the stack without the Region, and IAM is one for all Regions.
    return deploy_into(cloud, account, region, f"dr-orchestrator-events-{region}", FORWARDING_TEMPLATE, parameters)


def deploy_into(
    cloud: LocalCloud, account: str, region: str, stack_name: str, template: Path, parameters: Mapping[str, str]
) -> dict[str, str]:
    """Deploy a template without code into an account and Region; return the stack's outputs.

    Raises DeploymentError with the reasons that CloudFormation gives.
    """
    cloudformation = cloud.client("cloudformation", region, account)
    request = {
        "StackName": stack_name,
        "TemplateBody": template.read_text(),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": list(_CAPABILITIES),
    }
    try:
        cloudformation.create_stack(**request)
    except cloudformation.exceptions.AlreadyExistsException:
        try:
            cloudformation.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
    _wait(cloudformation, stack_name)
    return stack_outputs(cloud, stack_name, account, region)


def stack_outputs(
    cloud: LocalCloud, stack_name: str = STACK_NAME, account: str = CONTROL_ACCOUNT, region: str = STANDBY_REGION
) -> dict[str, str]:
    """Read the outputs of a deployed stack."""
    stack = cloud.client("cloudformation", region, account).describe_stacks(StackName=stack_name)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _declared(template: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Keep the values for which the template has a parameter."""
    declared = yaml.safe_load(template.read_text()).get("Parameters", {})
    return {name: value for name, value in values.items() if name in declared}


def _ensured_bucket(cloud: LocalCloud, region: str) -> str:
    """The bucket of the Region for what is deployed there."""
    name = f"dr-orchestrator-artifacts-{CONTROL_ACCOUNT}-{region}"
    s3 = cloud.client("s3", region)
    # S3 takes every constraint but that of us-east-1, which is where a bucket without one is.
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    if name not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=name, **where)
    return name


def _wait(cloudformation: Any, stack_name: str) -> None:
    deadline = time.monotonic() + _STACK_SECONDS
    while True:
        status = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]["StackStatus"]
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return
        if not status.endswith("_IN_PROGRESS") or time.monotonic() > deadline:
            events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
            reasons = [event["ResourceStatusReason"] for event in events if "ResourceStatusReason" in event]
            raise DeploymentError(f"stack {stack_name} is {status}: {'; '.join(reasons)}")
        time.sleep(0.1)
