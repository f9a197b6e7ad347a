"""Which IAM actions modules need: the one place that says so, for the role that is deployed and for those who have to allow it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dr_core.calls import is_reading
from dr_core.phases import Phase
from dr_core.references import REFERENCE_ACTIONS, SECURE_ACTIONS
from dr_modules.base import DRModule

Modules = Mapping[str, type[DRModule[Any]]]


@dataclass(frozen=True, order=True)
class Use:
    """A module, by its name, in a phase that it has."""

    module: str
    phase: Phase


@dataclass(frozen=True)
class Need:
    """An action that a module needs, and the phases in which it does. `called`: the module calls it; else AWS only asks for it."""

    module: str
    action: str
    phases: tuple[Phase, ...]
    called: bool

    @property
    def is_reading(self) -> bool:
        """Whether the action changes nothing."""
        return self.action == "kms:Decrypt" or is_reading(self.action.partition(":")[2])


def uses(known: Modules, phase: Phase | None = None) -> set[Use]:
    """Every module in every phase that it has, or in the one phase."""
    return {Use(name, has) for name, module in known.items() for has in module.phases() if phase in (None, has)}


def needs(known: Modules, used: Iterable[Use], *, references: bool) -> list[Need]:
    """What `used` needs, an entry for each action of each module: by module, what reads first, then by action.

    `references`: whether manifests have any. What resolves them (`References`) and secrets (`SecureStrings`) comes last.
    """
    phases: dict[tuple[str, str], set[Phase]] = {}
    for use in used:
        for action in known[use.module].actions(use.phase):
            phases.setdefault((use.module, action), set()).add(use.phase)
    found = [
        Need(name, action, _in_order(where), any(action in known[name].permissions[one] for one in where))
        for (name, action), where in phases.items()
    ]
    found.sort(key=lambda need: (need.module, not need.is_reading, need.action))
    if references:
        anywhere = _in_order(set().union(*phases.values()))
        found += [Need("References", action, anywhere, called=True) for action in sorted(REFERENCE_ACTIONS)]
        found += [Need("SecureStrings", action, anywhere, called=action != "kms:Decrypt") for action in sorted(SECURE_ACTIONS)]
    return found


def actions(needed: Iterable[Need]) -> list[str]:
    """The actions, sorted, each once."""
    return sorted({need.action for need in needed})


def policy(needed: Iterable[Need]) -> dict[str, Any]:
    """An IAM policy that allows them, to be read: for each module what reads and what changes in statements of their own.

    Its resources are all: which ones manifests name is not known here.
    """
    groups: dict[str, list[str]] = {}
    for need in needed:
        groups.setdefault(f"{need.module}{'Reads' if need.is_reading else 'Changes'}", []).append(need.action)
    statements = [{"Sid": sid, "Effect": "Allow", "Action": allowed, "Resource": "*"} for sid, allowed in groups.items()]
    return {"Version": "2012-10-17", "Statement": statements}


def _in_order(phases: set[Phase]) -> tuple[Phase, ...]:
    return tuple(phase for phase in Phase if phase in phases)
