"""The roles in the target accounts allow what the modules declare, to the orchestrator alone."""

import json
import re
from importlib.resources import files
from typing import Any

import pytest

from dr_core.phases import Phase
from dr_core.references import REFERENCE_ACTIONS, SECURE_ACTIONS
from dr_core.target import Purpose
from dr_engine import target_role
from dr_modules.base import modules
from tests.support.target_roles import DEPLOYED, roles, statements


def test_the_file_is_what_the_modules_need() -> None:
    assert DEPLOYED.read_text() == target_role.render(), "run python -m dr_engine.target_role > deploy/TargetAccountsAssumeRole.yaml"


def test_every_action_of_every_module_is_there_once_and_none_besides() -> None:
    declared = {action for module in modules().values() for phase in module.phases() for action in module.actions(phase)}
    assert target_role.actions() == sorted(declared | set(REFERENCE_ACTIONS) | set(SECURE_ACTIONS))
    assert not [action for action in target_role.actions() if not re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action)], "no wildcards"


def names(role: dict[str, Any]) -> list[str]:
    """Every action that a role allows."""
    return [action for statement in statements(role) for action in statement["Action"]]


@pytest.mark.parametrize("name", roles())
def test_only_the_orchestrator_assumes_it_and_only_with_the_word_and_for_its_phases(name: str) -> None:
    enter, tag = roles()[name]["AssumeRolePolicyDocument"]["Statement"]
    phases = ["CLEANUP"] if name == "CleanupRole" else ["INSTANTIATE", "ACTIVATE", "REPLICATE"]
    assert enter["Principal"] == tag["Principal"] == {"AWS": "OrchestratorRoleArns"}
    assert (enter["Action"], tag["Action"]) == ("sts:AssumeRole", "sts:TagSession")
    assert enter["Condition"]["StringEquals"] == {
        "sts:ExternalId": "ExternalId",
        "aws:PrincipalOrgID": ["InOrganization", "OrganizationId", "AWS::NoValue"],
        "aws:RequestTag/dr-phase": phases,
    }
    assert enter["Condition"]["StringLike"]["sts:RoleSessionName"] == "dr-*"
    given = {one["Key"] for one in Purpose("01RUN", "erp", Phase.CLEANUP).tags}
    asked = {
        key.removeprefix("aws:RequestTag/") for part in enter["Condition"].values() for key in part if key.startswith("aws:RequestTag/")
    }
    assert given == asked == set(tag["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"])
    assert tag["Condition"]["StringEquals"] == {"aws:RequestTag/dr-phase": phases}
    assert roles()[name]["PermissionsBoundary"] == ["HasBoundary", "PermissionsBoundaryArn", "AWS::NoValue"]


def test_what_only_cleanup_needs_is_the_right_of_its_role_alone() -> None:
    everyday, cleanup = names(roles()["ExecutionRole"]), names(roles()["CleanupRole"])
    assert sorted(cleanup) == target_role.actions([Phase.CLEANUP])
    assert sorted(everyday) == target_role.actions(phase for phase in Phase if phase is not Phase.CLEANUP)
    assert {"drs:DeleteSourceServer", "memorydb:DeleteCluster", "elasticache:DeleteGlobalReplicationGroup"} <= set(cleanup) - set(everyday)


@pytest.mark.parametrize("name", roles())
def test_a_statement_names_resources_where_aws_lets_it(name: str) -> None:
    """What AWS lets is read from cfn-lint's copy of AWS's reference of actions."""
    known = json.loads((files("cfnlint") / "data" / "AdditionalSpecs" / "Policies.json").read_text())
    assert len(set(names(roles()[name]))) == len(names(roles()[name])), "an action stands in one statement, which it needs"
    for statement in statements(roles()[name]):
        for action in statement["Action"]:
            service, _, operation = action.partition(":")
            kinds = set(known[service]["Actions"][operation.lower()].get("Resources", ()))
            narrowable = bool(kinds - {"dataset"})  # of CloudWatch, which only some metrics are in
            assert (statement["Resource"] != "*") is narrowable, f"{action}: see WITHOUT_RESOURCES"
    beyond = {arn for statement in statements(roles()[name]) for arn in statement["Resource"] if "AccountId" not in arn} - {"*"}
    assert not [arn for arn in beyond if not re.search(r":(route53|s3):::|:kms:\*:\*:key/|:(ec2|ssm):\*::(image|snapshot|document)/", arn)]


@pytest.mark.parametrize("name", roles())
def test_it_fits_into_a_role(name: str) -> None:
    """IAM takes 10,240 characters of inline policies for a role, blanks not counted."""
    assert len(re.sub(r"\s", "", json.dumps(statements(roles()[name])))) < 10_000


@pytest.mark.parametrize("name", roles())
def test_each_statement_allows_what_a_module_calls(name: str) -> None:
    """So none can go: an action stands in one statement, and the stories of the modules make every call (tests/contract)."""
    phases = [phase for phase in Phase if (phase is Phase.CLEANUP) is (name == "CleanupRole")]
    called = {action for module in modules().values() for phase in phases for action in module.permissions.get(phase, ())}
    called |= {*REFERENCE_ACTIONS, "kms:Decrypt"}  # of a SecureString: SSM asks for it
    idle = {one["Sid"] for one in statements(roles()[name]) if not called & set(one["Action"])}
    assert idle == ({"CreateGrant"} if name == "CleanupRole" else {"CreateGrant", "PassRole"}), "which AWS asks for on the caller's behalf"
