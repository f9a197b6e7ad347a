"""The roles of the target accounts, and which of their statements allows a call. Conditions are left to the local cloud."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dr_core.phases import Phase
from dr_engine import target_role
from localcloud.authorisation import resources
from tests.support.aws import ACCOUNT, Call
from tests.support.state_table import TEMPLATE, _Loader

DEPLOYED: Path = TEMPLATE.parent / "deploy" / "TargetAccountsAssumeRole.yaml"


@cache
def roles() -> dict[str, dict[str, Any]]:
    """The roles by logical name, with their properties, as they are generated from the modules; a test holds the template to that."""
    return {name: one["Properties"] for name, one in yaml.load(target_role.render(), _Loader)["Resources"].items()}


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of a role's policy."""
    (policy,) = role["Policies"]
    return list(policy["PolicyDocument"]["Statement"])


def role_of(phase: Phase) -> str:
    """The logical name of the role that a phase assumes."""
    return "CleanupRole" if phase is Phase.CLEANUP else "ExecutionRole"


def allowing(phase: Phase, call: Call) -> list[str]:
    """The Sids of the statements that allow a call in a phase, for every resource that IAM is asked about."""
    role = roles()[role_of(phase)]
    asked = resources(call.action, call.region, ACCOUNT, call.parameters)
    return [one["Sid"] for one in statements(role) if call.action in one["Action"] and all(_fits(arn, one["Resource"]) for arn in asked)]


def _fits(arn: str, patterns: str | list[str]) -> bool:
    return patterns == "*" or any(_alike(arn, pattern) for pattern in patterns)


def _alike(arn: str, pattern: str) -> bool:
    """Whether a pattern, whose * stands for anything, fits; a * of the ARN is a name that is not known, and no more."""
    for name, value in (("Partition", "aws"), ("AccountId", ACCOUNT)):
        pattern = pattern.replace(f"${{AWS::{name}}}", value)
    first, *others = pattern.split("*")
    if not arn.startswith(first):
        return False
    at = len(first)
    for part in others:
        at = arn.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return not others or not others[-1] or arn.endswith(others[-1])
