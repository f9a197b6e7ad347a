"""The role in the target accounts allows what the modules declare, to the orchestrator alone."""

import re
from pathlib import Path

import yaml

from dr_core.references import REFERENCE_ACTIONS, SECURE_ACTIONS
from dr_engine import target_role
from dr_modules.base import modules
from tests.support import state_table

DEPLOYED = Path(__file__).resolve().parents[3] / "deploy" / "TargetAccountsAssumeRole.yaml"


def test_the_file_is_what_the_modules_need() -> None:
    assert DEPLOYED.read_text() == target_role.render(), "run python -m dr_engine.target_role > deploy/TargetAccountsAssumeRole.yaml"


def test_every_action_of_every_module_is_there_once_and_none_besides() -> None:
    declared = {action for module in modules().values() for phase in module.phases() for action in module.actions(phase)}
    assert target_role.actions() == sorted(declared | set(REFERENCE_ACTIONS) | set(SECURE_ACTIONS))
    assert not [action for action in target_role.actions() if not re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action)], "no wildcards"


def test_only_the_orchestrator_assumes_it_and_only_with_the_word() -> None:
    role = yaml.load(DEPLOYED.read_text(), state_table._Loader)["Resources"]["ExecutionRole"]["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"AWS": "OrchestratorRoleArns"} and trust["Action"] == "sts:AssumeRole"
    assert trust["Condition"] == {"StringEquals": {"sts:ExternalId": "ExternalId"}, "StringLike": {"sts:RoleSessionName": "dr-*"}}
    (policy,) = role["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == target_role.actions()
