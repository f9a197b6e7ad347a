"""The statements of the policies that the project deploys, and what of them was needed.

In:  template.yaml, deploy/TargetAccountsAssumeRole.yaml, and the authorisations that tests and local clouds have noted (`AUTHORISATIONS`)
Out: for each statement, the actions that it alone allowed: without it, these calls would have been refused
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.deployed import AUTHORISATIONS, functions, statements
from tests.support.state_table import TEMPLATE, _Loader, template

TARGET_ROLES: Final = TEMPLATE.parent / "deploy" / "TargetAccountsAssumeRole.yaml"
# Names of the target roles' roles where they are deployed with the default name; other roles have their logical name within theirs.
_NAMES: Final = {"ExecutionRole": "DR-Orchestrator-Execution-Role", "CleanupRole": "DR-Orchestrator-Execution-Role-Cleanup"}


@dataclass(frozen=True, order=True)
class Statement:
    """A statement of a role's own policy: the role's logical name, the statement's Sid, its actions."""

    role: str
    sid: str
    actions: tuple[str, ...]

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.role}.{self.sid}"


@dataclass(frozen=True)
class Authorisation:
    """A call that somebody asked to make: the role's name, the action, whether it was allowed, and the Sids that allow it."""

    role: str
    action: str
    allowed: bool
    sids: frozenset[str]


def deployed() -> list[Statement]:
    """Every statement of every role that the templates have."""
    found = [_statement(f"{name}Role", one) for name, function in functions().items() for one in statements(function)]
    for path in (TEMPLATE, TARGET_ROLES):
        resources = template()["Resources"] if path == TEMPLATE else yaml.load(path.read_text(), _Loader)["Resources"]
        for name, role in resources.items():
            if role["Type"] == "AWS::IAM::Role":
                policies = role["Properties"]["Policies"]
                found += [_statement(name, one) for policy in policies for one in policy["PolicyDocument"]["Statement"]]
    return sorted(found)


def _statement(role: str, one: dict[str, Any]) -> Statement:
    actions = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
    return Statement(role, one["Sid"], tuple(actions))


def noted(folder: Path = AUTHORISATIONS) -> list[Authorisation]:
    """What the local clouds of a run have noted. Raises FileNotFoundError where there was no run."""
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(f"{folder} has nothing: run make test")
    lines = {line for path in files for line in path.read_text().splitlines()}
    return [_authorisation(json.loads(line)) for line in sorted(lines)]


def _authorisation(line: dict[str, Any]) -> Authorisation:
    sids = frozenset(str(sid) for sid, _, _ in line["allowed_by"])
    return Authorisation(line["role"], line["action"], line["decision"] == "Allow", sids)


def needed(wanted: Iterable[Statement], seen: Iterable[Authorisation]) -> dict[Statement, set[str]]:
    """For each statement, the actions of calls that were made and that no other statement of the role would have allowed."""
    found: dict[Statement, set[str]] = {one: set() for one in wanted}
    by_name = {(one.role, one.sid): one for one in found}
    for call in seen:
        if call.allowed and len(call.sids) == 1:
            (sid,) = call.sids
            for role in _logical_names(call.role, {one.role for one in found}):
                if (role, sid) in by_name:
                    found[by_name[role, sid]].add(call.action)
    return found


def _logical_names(name: str, known: set[str]) -> Iterator[str]:
    """The roles of the templates that a deployed role may be."""
    for role in known:
        if name in (role, _NAMES.get(role)) or (role not in _NAMES and f"-{role}-" in f"-{name}-"):
            yield role
