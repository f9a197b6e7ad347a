"""How the spoke templates are rolled out names them and their parameters as they are."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.state_table import _Loader

DEPLOY = Path(__file__).parents[2] / "deploy"
SPOKE = ("TargetAccountsAssumeRole.yaml", "ForwardEvents.yaml")


def loaded(name: str) -> dict[str, Any]:
    """A YAML file of deploy/."""
    found: dict[str, Any] = yaml.load((DEPLOY / name).read_text(), _Loader)
    return found


def rolled_out() -> list[Any]:
    """The way, the template's file, the parameters that it gets, and the capabilities."""
    found = []
    for name, one in loaded("StackSets.yaml")["Resources"].items():
        properties = one["Properties"]
        given = {each["ParameterKey"] for each in properties["Parameters"]}
        file = properties["TemplateURL"].rpartition("/")[2]
        found.append(pytest.param(file, given, properties["Capabilities"], id=f"StackSets-{name}"))
    for one in loaded("landing-zone-accelerator/customizations-config.yaml")["customizations"]["cloudFormationStackSets"]:
        given = {each["name"] for each in one["parameters"]}
        found.append(pytest.param(Path(one["template"]).name, given, one["capabilities"], id=f"LZA-{one['name']}"))
    return found


@pytest.mark.parametrize(("file", "given", "capabilities"), rolled_out())
def test_a_stack_set_gives_its_template_what_it_asks_for(file: str, given: set[str], capabilities: list[str]) -> None:
    parameters = loaded(file)["Parameters"]
    required = {name for name, one in parameters.items() if "Default" not in one}
    assert required <= given <= set(parameters)
    roles = [one["Properties"] for one in loaded(file)["Resources"].values() if one["Type"] == "AWS::IAM::Role"]
    named = any("RoleName" in role for role in roles)
    assert capabilities == ["CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"]


def test_both_ways_roll_out_both_templates_and_bind_the_roles_to_the_organization() -> None:
    ways = [(each.id, *each.values) for each in rolled_out()]
    assert sorted(file for _, file, _, _ in ways) == sorted(SPOKE * 2)
    assert all("OrganizationId" in given for _, file, given, _ in ways if file == SPOKE[0])


def test_accounts_that_join_get_it_and_the_stack_sets_parameters_are_used() -> None:
    for one in loaded("StackSets.yaml")["Resources"].values():
        assert one["Properties"]["PermissionModel"] == "SERVICE_MANAGED"
        assert one["Properties"]["AutoDeployment"]["Enabled"] is True
