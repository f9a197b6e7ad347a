"""Which actions a set of modules and phases needs: all of them, each once, and the reading ones apart from the others."""

import json
from typing import ClassVar

import pytest

from dr_core.phases import Phase
from dr_core.references import REFERENCE_ACTIONS, SECURE_ACTIONS
from dr_engine.permissions import Need, Use, actions, needs, policy, uses
from dr_modules.base import DRModule, ModuleParameters, Permissions, modules

INSTANTIATE, ACTIVATE, CLEANUP = Phase.INSTANTIATE, Phase.ACTIVATE, Phase.CLEANUP


class Shop(DRModule[ModuleParameters]):
    """Reads in both phases, changes something else in each, and AWS asks for more."""

    permissions: ClassVar[Permissions] = {
        ACTIVATE: ("shop:Open", "shop:DescribeDoors"),
        CLEANUP: ("shop:DescribeDoors", "shop:CloseAndListGoods"),
    }
    implied_permissions: ClassVar[Permissions] = {CLEANUP: ("kms:Decrypt", "kms:CreateGrant")}

    def activate(self, parameters: ModuleParameters) -> None:
        """Open."""

    def cleanup(self, parameters: ModuleParameters) -> None:
        """Close."""


class Mill(DRModule[ModuleParameters]):
    """Needs in one phase what it calls, and in another what AWS asks for."""

    permissions: ClassVar[Permissions] = {INSTANTIATE: ("mill:Grind",), ACTIVATE: ("mill:GetFlour",)}
    implied_permissions: ClassVar[Permissions] = {ACTIVATE: ("mill:Grind",)}

    def instantiate(self, parameters: ModuleParameters) -> None:
        """Grind."""

    def activate(self, parameters: ModuleParameters) -> None:
        """Bake."""


KNOWN = {"Shop": Shop, "Mill": Mill}
ALL = {Use("Shop", ACTIVATE), Use("Shop", CLEANUP), Use("Mill", INSTANTIATE), Use("Mill", ACTIVATE)}


def test_modules_are_used_in_the_phases_that_they_have() -> None:
    assert uses(KNOWN) == ALL
    assert uses(KNOWN, CLEANUP) == {Use("Shop", CLEANUP)}
    assert uses(KNOWN, Phase.REPLICATE) == set()


def test_each_action_is_needed_once_with_all_its_phases() -> None:
    assert needs(KNOWN, ALL, references=False) == [
        Need("Mill", "mill:GetFlour", (ACTIVATE,), called=True),
        Need("Mill", "mill:Grind", (INSTANTIATE, ACTIVATE), called=True),
        Need("Shop", "kms:Decrypt", (CLEANUP,), called=False),
        Need("Shop", "shop:DescribeDoors", (ACTIVATE, CLEANUP), called=True),
        Need("Shop", "kms:CreateGrant", (CLEANUP,), called=False),
        Need("Shop", "shop:CloseAndListGoods", (CLEANUP,), called=True),
        Need("Shop", "shop:Open", (ACTIVATE,), called=True),
    ]


def test_nothing_of_other_phases_and_modules_is_needed() -> None:
    assert actions(needs(KNOWN, {Use("Shop", ACTIVATE)}, references=False)) == ["shop:DescribeDoors", "shop:Open"]
    assert needs(KNOWN, {Use("Mill", ACTIVATE)}, references=False)[1] == Need("Mill", "mill:Grind", (ACTIVATE,), called=False)


def test_references_come_last_and_are_needed_in_every_phase_of_the_others() -> None:
    found = needs(KNOWN, {Use("Shop", CLEANUP), Use("Shop", ACTIVATE)}, references=True)[5:]
    assert [(need.module, need.action, need.called) for need in found] == [
        ("References", "cloudformation:ListExports", True),
        ("References", "ssm:GetParameter", True),
        ("SecureStrings", "kms:Decrypt", False),
        ("SecureStrings", "ssm:GetParameter", True),
    ]
    assert {need.phases for need in found} == {(ACTIVATE, CLEANUP)}


def test_a_policy_tells_reading_from_changing_and_module_from_module() -> None:
    made = policy(needs(KNOWN, {Use("Mill", ACTIVATE), Use("Shop", CLEANUP)}, references=True))
    assert made["Version"] == "2012-10-17"
    assert [(one["Sid"], one["Action"]) for one in made["Statement"]] == [
        ("MillReads", ["mill:GetFlour"]),
        ("MillChanges", ["mill:Grind"]),
        ("ShopReads", ["kms:Decrypt", "shop:DescribeDoors"]),
        ("ShopChanges", ["kms:CreateGrant", "shop:CloseAndListGoods"]),
        ("ReferencesReads", sorted(REFERENCE_ACTIONS)),
        ("SecureStringsReads", sorted(SECURE_ACTIONS)),
    ]
    assert {(one["Effect"], one["Resource"]) for one in made["Statement"]} == {("Allow", "*")}


def test_the_registered_modules_get_what_they_declare_under_ids_that_iam_takes() -> None:
    used = uses(modules())
    assert used == {Use(name, phase) for name, module in modules().items() for phase in module.phases()}
    declared = {action for use in used for action in modules()[use.module].actions(use.phase)}
    needed = needs(modules(), used, references=True)
    assert set(actions(needed)) == declared | set(REFERENCE_ACTIONS) | set(SECURE_ACTIONS)
    statements = policy(needed)["Statement"]
    assert {action for one in statements for action in one["Action"]} == set(actions(needed))
    assert all(one["Sid"].isascii() and one["Sid"].isalnum() for one in statements)
    assert len({one["Sid"] for one in statements}) == len(statements)


@pytest.mark.parametrize("use", sorted(uses(modules())), ids=lambda use: f"{use.module}-{use.phase}")
def test_a_session_policy_has_room_for_what_a_module_needs(use: Use) -> None:
    """STS takes 2048 characters: "AssumeRole", parameter Policy."""
    allowed = sorted({*modules()[use.module].actions(use.phase), *SECURE_ACTIONS})
    statement = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
    assert len(json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))) <= 2048
