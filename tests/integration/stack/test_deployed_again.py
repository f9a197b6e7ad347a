"""Each template deployed once more, as it is: nothing changes, nothing is made anew."""

import compileall
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, REPOSITORY, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from localcloud.deployment import STACK_NAME, TARGET_ROLE_STACK_NAME, stack_outputs
from localcloud.installation import EXTERNAL_ID, allow, stack_parameters
from tests.support import sam_cli
from tests.support.copied_source import copied_source

DEPLOY = REPOSITORY / "deploy"
PLACES = [
    (CONTROL_ACCOUNT, STANDBY_REGION, TARGET_ROLE_STACK_NAME, "TargetAccountsAssumeRole.yaml"),
    (WORKLOAD_ACCOUNT, STANDBY_REGION, TARGET_ROLE_STACK_NAME, "TargetAccountsAssumeRole.yaml"),
    (WORKLOAD_ACCOUNT, PRIMARY_REGION, f"dr-orchestrator-events-{PRIMARY_REGION}", "ForwardEvents.yaml"),
    (WORKLOAD_ACCOUNT, STANDBY_REGION, f"dr-orchestrator-events-{STANDBY_REGION}", "ForwardEvents.yaml"),
]


# A cloud of its own: the stack is deployed as an operator does it, and not as the other tests do.
@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """One into which nothing is deployed yet."""
    started = LocalCloud.start(Path(tmp_path_factory.mktemp("deployed-again")), time_scale=0, die_with_parent=True)
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def _at_work() -> None:
    """The tests of this directory share a cloud; this one has its own."""


def clone(directory: Path) -> Path:
    """The source as it comes out of the repository."""
    source = copied_source(directory).parent
    shutil.copy(REPOSITORY / "samconfig.toml", source)
    return source


@pytest.fixture(scope="module")
def outputs(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Those of the stack, deployed from one clone; the accounts' stacks are there too."""
    source = clone(tmp_path_factory.mktemp("first-clone"))
    sam_cli.build(source)
    sam_cli.pack(source)
    sam_cli.deploy(cloud, source, stack_parameters(cloud))
    found = stack_outputs(cloud)
    allow(cloud, found)
    return found


def resources(cloud: LocalCloud, account: str, region: str, stack: str) -> dict[str, tuple[str, object]]:
    """What a stack consists of, by logical name: physical name and the moment of the last change."""
    pages = cloud.client("cloudformation", region, account).get_paginator("list_stack_resources").paginate(StackName=stack)
    found = [one for page in pages for one in page["StackResourceSummaries"]]
    return {one["LogicalResourceId"]: (one["PhysicalResourceId"], one["LastUpdatedTimestamp"]) for one in found}


def functions(cloud: LocalCloud) -> dict[str, tuple[Any, ...]]:
    """The code and the configuration of each function."""
    pages = cloud.client("lambda").get_paginator("list_functions").paginate()
    keys = ("CodeSha256", "Environment", "Layers", "Timeout", "MemorySize", "Role")
    return {one["FunctionName"]: tuple(str(one.get(key)) for key in keys) for page in pages for one in page["Functions"]}


def test_the_orchestrator_built_and_deployed_again_from_another_clone_is_the_same(
    cloud: LocalCloud, outputs: dict[str, str], tmp_path: Path
) -> None:
    def present() -> tuple[object, ...]:
        return resources(cloud, CONTROL_ACCOUNT, STANDBY_REGION, STACK_NAME), functions(cloud), stack_outputs(cloud)

    before = present()
    again = clone(tmp_path / "second-clone")
    assert compileall.compile_dir(again / "layers", quiet=1), "what Python leaves beside the code once drctl has run there"
    for path in again.rglob("*.py"):
        path.chmod(0o664)  # a clone of somebody whose group may write
    sam_cli.build(again)
    template = again / ".aws-sam" / "build" / "template.yaml"
    layers = [template.parent / path for path in re.findall(r"ContentUri: (\S+)", template.read_text())]
    assert len(layers) == 6 and not [found for layer in layers for found in layer.rglob("__pycache__")]
    sam_cli.pack(again)
    said = sam_cli.deploy(cloud, again, stack_parameters(cloud))
    assert f"No changes to deploy. Stack {STACK_NAME} is up to date" in said
    assert present() == before


def nothing_to_update(cloud: LocalCloud, account: str, region: str, stack: str, template: Path) -> None:
    """The template with the same parameters is what is deployed, and nothing of it has been touched."""
    before = resources(cloud, account, region, stack)
    cloudformation = cloud.client("cloudformation", region, account)
    (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    same = [{"ParameterKey": one["ParameterKey"], "UsePreviousValue": True} for one in found["Parameters"]]
    request = {"StackName": stack, "TemplateBody": template.read_text(), "Capabilities": ["CAPABILITY_NAMED_IAM"]}
    with pytest.raises(ClientError, match="No updates are to be performed"):
        cloudformation.update_stack(**request, Parameters=same)
    assert before and resources(cloud, account, region, stack) == before


@pytest.mark.parametrize(("account", "region", "stack", "template"), PLACES)
def test_an_account_deployed_again_has_nothing_to_update(
    cloud: LocalCloud, outputs: dict[str, str], account: str, region: str, stack: str, template: str
) -> None:
    nothing_to_update(cloud, account, region, stack, DEPLOY / template)


# --- by StackSets ---


def organizational_unit(cloud: LocalCloud, *names: str) -> tuple[str, list[str]]:
    """Make a unit, and in a unit below it an account of each name. Gives the unit's id and those of the accounts."""
    organizations = cloud.client("organizations")
    (root,) = organizations.list_roots()["Roots"]
    unit = organizations.create_organizational_unit(ParentId=root["Id"], Name="workloads")["OrganizationalUnit"]["Id"]
    below = organizations.create_organizational_unit(ParentId=unit, Name="production")["OrganizationalUnit"]["Id"]
    made = [organizations.create_account(AccountName=name, Email=f"{name}@example.com")["CreateAccountStatus"] for name in names]
    for one in made:
        organizations.move_account(AccountId=one["AccountId"], SourceParentId=root["Id"], DestinationParentId=below)
    return unit, [one["AccountId"] for one in made]


def stacks_of(cloud: LocalCloud, account: str, region: str) -> list[str]:
    found = cloud.client("cloudformation", region, account).describe_stacks()["Stacks"]
    assert {one["StackStatus"] for one in found} <= {"CREATE_COMPLETE"}, found
    return sorted(one["StackName"] for one in found)


def test_stack_sets_bring_both_templates_to_every_account_and_again_there_is_nothing_to_update(
    cloud: LocalCloud, outputs: dict[str, str]
) -> None:
    s3, bucket = cloud.client("s3"), "dr-templates"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": STANDBY_REGION})
    for name in ("TargetAccountsAssumeRole.yaml", "ForwardEvents.yaml"):
        s3.put_object(Bucket=bucket, Key=f"dr-orchestrator/{name}", Body=(DEPLOY / name).read_bytes())
    unit, accounts = organizational_unit(cloud, "storefront", "erp")
    given = {
        "OrganizationalUnitIds": unit,
        "TemplatesUrl": f"https://{bucket}.s3.{STANDBY_REGION}.amazonaws.com/dr-orchestrator",
        "OrchestratorRoleArns": outputs["OrchestratorRoleArns"],
        "ExternalId": EXTERNAL_ID,
        "OrganizationId": "o-a1b2c3d4e5",
        "FirstBusArn": outputs["BusArn"],
    }
    cloudformation, stack = cloud.client("cloudformation"), "dr-orchestrator-stack-sets"
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    cloudformation.create_stack(StackName=stack, TemplateBody=(DEPLOY / "StackSets.yaml").read_text(), Parameters=parameters)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    for account in accounts:
        (here,) = stacks_of(cloud, account, PRIMARY_REGION)
        events, roles = stacks_of(cloud, account, STANDBY_REGION)
        assert here.startswith("StackSet-dr-orchestrator-events-") and events.startswith("StackSet-dr-orchestrator-events-")
        assert roles.startswith("StackSet-dr-orchestrator-target-")
        iam = cloud.client("iam", STANDBY_REGION, account)
        role = iam.get_role(RoleName="DR-Orchestrator-Execution-Role")["Role"]
        assert EXTERNAL_ID in str(role["AssumeRolePolicyDocument"]) and given["OrganizationId"] in str(role["AssumeRolePolicyDocument"])
        for region in (PRIMARY_REGION, STANDBY_REGION):
            client = cloud.client("events", region, account)
            targets = [
                one["Arn"] for rule in client.list_rules()["Rules"] for one in client.list_targets_by_rule(Rule=rule["Name"])["Targets"]
            ]
            assert targets == [outputs["BusArn"]]
    nothing_to_update(cloud, CONTROL_ACCOUNT, STANDBY_REGION, stack, DEPLOY / "StackSets.yaml")
    for account in accounts:
        for region in (PRIMARY_REGION, STANDBY_REGION):
            for name in stacks_of(cloud, account, region):
                template = "TargetAccountsAssumeRole.yaml" if "target" in name else "ForwardEvents.yaml"
                nothing_to_update(cloud, account, region, name, DEPLOY / template)
    cloudformation.delete_stack(StackName=stack)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert [name for account in accounts for region in (PRIMARY_REGION, STANDBY_REGION) for name in stacks_of(cloud, account, region)] == []
