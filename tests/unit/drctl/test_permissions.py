"""`drctl permissions`: a policy of what is asked for and of nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dr_core.phases import Phase
from dr_core.references import REFERENCE_ACTIONS, SECURE_ACTIONS
from dr_engine import target_role
from dr_modules.base import modules
from drctl.app import app

ECS = {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 4}
RULE = {"EventRuleName": "daily"}
REFERRING = {*REFERENCE_ACTIONS, *SECURE_ACTIONS}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["permissions", *(str(argument) for argument in arguments)])


def allowed(*arguments: object) -> set[str]:
    """The actions of the policy that is printed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return {action for statement in json.loads(result.stdout)["Statement"] for action in statement["Action"]}


def declared(name: str, *phases: Phase) -> set[str]:
    return {action for phase in phases for action in modules()[name].actions(phase)}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that only has manifests of the application."""
    folder = tmp_path / "manifests" / "shop"
    folder.mkdir(parents=True)
    write(folder / "Instantiate.json", "ECS", ECS)
    write(folder / "Activate.json", "EventBridge", RULE)
    write(folder / "cleanup.JSON", "ECS", ECS)
    (folder / "application.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return folder


def write(file: Path, action: str, parameters: dict[str, Any], **around: str) -> Path:
    resource = {"action": action, "resourceName": "the-one", "parameters": parameters}
    file.write_text(json.dumps({"layers": [{"layer": 1, "resources": [resource]}], **around}))
    return file


def test_without_options_it_is_what_the_role_of_the_target_accounts_allows() -> None:
    assert sorted(allowed()) == target_role.actions()


@pytest.mark.parametrize("phase", Phase)
def test_one_phase_of_every_module(phase: Phase) -> None:
    expected = {action for name, module in modules().items() if phase in module.phases() for action in declared(name, phase)}
    assert allowed("--phase", phase.lower()) == expected | REFERRING


def test_an_application_by_its_name_or_its_folder(shop: Path) -> None:
    both = declared("ECS", Phase.INSTANTIATE, Phase.CLEANUP) | declared("EventBridge", Phase.ACTIVATE)
    assert allowed("--application", "shop") == allowed("--application", shop) == both
    assert "events:DisableRule" not in both


def test_one_phase_of_an_application(shop: Path) -> None:
    assert allowed("--application", "shop", "--phase", "activate") == declared("EventBridge", Phase.ACTIVATE)
    (shop / "Instantiate.json").write_text("not for this phase, and not read")
    assert allowed("--application", "shop", "--phase", "CLEANUP") == declared("ECS", Phase.CLEANUP)


def test_files_and_of_them_those_for_the_phase(shop: Path) -> None:
    files = ("--manifest", shop / "Activate.json", "--manifest", shop / "cleanup.JSON")
    assert allowed(*files) == declared("EventBridge", Phase.ACTIVATE) | declared("ECS", Phase.CLEANUP)
    assert allowed(*files, "--phase", "cleanup") == declared("ECS", Phase.CLEANUP)


def test_a_file_of_another_name_says_its_phase_itself_or_the_option_does(shop: Path) -> None:
    assert allowed("--manifest", write(shop / "one.json", "EventBridge", RULE, phase="Cleanup")) == declared("EventBridge", Phase.CLEANUP)
    unnamed = write(shop / "two.json", "EventBridge", RULE)
    assert allowed("--manifest", unnamed, "--phase", "activate") == declared("EventBridge", Phase.ACTIVATE)
    result = run("--manifest", unnamed)
    assert (result.exit_code, "it is not known which phase" in result.stderr) == (2, True)


@pytest.mark.parametrize("value", ["!Import Rule", "resolve:ssm:/shop/rule"])
def test_what_references_need_is_there_where_there_is_one(shop: Path, value: str) -> None:
    assert not allowed("--application", "shop") & REFERRING
    write(shop / "Activate.json", "EventBridge", {"EventRuleName": value})
    assert allowed("--application", "shop") >= REFERRING


def test_a_table_has_a_line_for_each_action_and_its_phases(shop: Path) -> None:
    lines = [line.split() for line in run("--phase", "replicate", "-o", "table").stdout.splitlines()]
    assert lines[0] == ["Module", "Action", "Phases"]
    for expected in (
        "AuroraMySQL rds:CreateDBCluster change REPLICATE",
        "AuroraMySQL kms:CreateGrant change REPLICATE AWS asks for it",
        "AuroraMySQL rds:DescribeDBClusters read REPLICATE",
        "References cloudformation:ListExports read",
    ):
        assert expected in "\n".join(" ".join(line) for line in lines)
    assert not [line for line in lines if line[0] == "ECS"]
    both = run("--application", "shop", "--output", "table").stdout
    assert " ".join(both.split()).count("ecs:UpdateService change INSTANTIATE, CLEANUP") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--application", "shop", "--manifest", "x"), "--application and --manifest exclude each other"),
        (("--application", "sohp"), "there is no folder sohp or manifests/sohp"),
        (
            ("--application", "shop", "--phase", "replicate"),
            "there is no manifest in manifests/shop\n       it would be called Replicate.json",
        ),
        (("--manifest", "none.json"), "none.json cannot be read: No such file or directory"),
        (("--manifest", "manifests/shop/Activate.json", "--phase", "cleanup"), "none of these manifests is for CLEANUP"),
    ],
)
def test_what_it_cannot_do_it_says(shop: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_an_invalid_manifest_has_no_policy(shop: Path) -> None:
    write(shop / "Activate.json", "EventBridge", {"EventRuleNam": "daily"})
    result = run("--application", "shop")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean EventRuleName?" in result.stderr
