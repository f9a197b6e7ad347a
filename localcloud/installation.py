"""The product on a local cloud, as an operator would install it: roles, stack, and an application's manifests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from localcloud import mails
from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, REPOSITORY, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from localcloud.deployment import STACK_NAME, TEMPLATE, deploy, deploy_forwarding, deploy_target_role, stack_outputs

EXTERNAL_ID: Final = "local-cloud-external-id"
SECOND_STACK_NAME: Final = f"{STACK_NAME}-second"
# What differs from a deployment on AWS: the page's address, no archive (the emulator has none), and no waiting for minutes.
_FIRST_CHECK_SECONDS: Final = "0.5"


def install(
    cloud: LocalCloud,
    *,
    approval_seconds: int = 600,
    template: Path = TEMPLATE,
    region: str = STANDBY_REGION,
    parameters: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Deploy the orchestrator's stack and the role that it assumes in each account. Gives the stack's outputs.

    `parameters`: of the stack, beside or instead of those that the local cloud needs.

    Raises DeploymentError or SamError with what CloudFormation or sam says.
    """
    outputs = deploy_orchestrator(cloud, approval_seconds=approval_seconds, template=template, region=region, parameters=parameters)
    allow(cloud, outputs)
    return outputs


def deploy_orchestrator(
    cloud: LocalCloud,
    *,
    approval_seconds: int = 600,
    template: Path = TEMPLATE,
    region: str = STANDBY_REGION,
    stack_name: str = STACK_NAME,
    parameters: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Deploy the orchestrator's stack alone; `parameters` beside those that every local deployment has. Gives the stack's outputs."""
    given = stack_parameters(cloud, approval_seconds=approval_seconds, region=region, stack_name=stack_name)
    return deploy(cloud, template=template, stack_name=stack_name, parameters={**given, **(parameters or {})}, region=region)


def stack_parameters(
    cloud: LocalCloud, *, approval_seconds: int = 600, region: str = STANDBY_REGION, stack_name: str = STACK_NAME
) -> dict[str, str]:
    """The parameters that every local deployment has; the address that it sends mails from is verified."""
    mails.verify_sender(cloud, region)
    return {
        "ExternalId": EXTERNAL_ID,
        "ApprovalPageUrl": cloud.function_url(f"{stack_name}-decide-approval", region),
        "ApprovalSeconds": str(approval_seconds),
        "FirstCheckSeconds": _FIRST_CHECK_SECONDS,
        "EventArchiveDays": "0",
        "MailSender": mails.SENDER,
        "MailIdentity": mails.SENDER,
        "SpokeAccounts": WORKLOAD_ACCOUNT,
    }


def install_in_two_regions(cloud: LocalCloud, first: str, second: str) -> dict[str, dict[str, str]]:
    """Deploy a control plane into two Regions that share their state, as docs/multi-region.md says. Gives each stack's outputs by Region.

    The second needs a name of its own: the emulator names roles after the stack without the Region, and IAM is one for all Regions, so
    that the second stack would take the roles from the first. On AWS both may have the same.
    """
    outputs = {first: deploy_orchestrator(cloud, region=first, parameters={"SecondRegion": second})}
    table = cloud.client("dynamodb", second).describe_table(TableName=outputs[first]["StateTableName"])["Table"]
    outputs[second] = deploy_orchestrator(
        cloud,
        region=second,
        stack_name=SECOND_STACK_NAME,
        parameters={"StateStreamArn": table["LatestStreamArn"], "DashboardName": f"DR-Orchestrator-{second}"},
    )
    allow(cloud, *outputs.values())
    return outputs


def allow(cloud: LocalCloud, *stacks: dict[str, str]) -> None:
    """Let the orchestrators whose stacks have these outputs work in each account, and hear of what happens in the applications'."""
    arns = ",".join(outputs["OrchestratorRoleArns"] for outputs in stacks)
    for account in (CONTROL_ACCOUNT, WORKLOAD_ACCOUNT):
        deploy_target_role(cloud, account, {"OrchestratorRoleArns": arns, "ExternalId": EXTERNAL_ID})
    buses = dict(zip(("FirstBusArn", "SecondBusArn", "ThirdBusArn"), (outputs["BusArn"] for outputs in stacks), strict=False))
    for region in (PRIMARY_REGION, STANDBY_REGION):
        deploy_forwarding(cloud, WORKLOAD_ACCOUNT, region, buses)


def publish(cloud: LocalCloud, application: str, directory: Path | None = None) -> None:
    """Put an application's manifests into the orchestrator's bucket, as <application>/<Phase>.json."""
    bucket = stack_outputs(cloud)["ManifestBucketName"]
    s3 = cloud.client("s3")
    for path in sorted((directory or REPOSITORY / "manifests" / application).glob("*.json")):
        s3.put_object(Bucket=bucket, Key=f"{application}/{path.name}", Body=path.read_bytes())
