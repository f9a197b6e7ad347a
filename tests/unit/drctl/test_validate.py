"""`drctl validate` on files: which phase each is for, what is printed, and the exit code. The modules are the real ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from drctl.validate import validate

APP = typer.Typer()
APP.command()(validate)

SCALE_UP = {
    "action": "ECS",
    "resourceName": "api",
    "parameters": {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 4},
    "AccountId": "123456789012",
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def write(file: Path, *resources: dict[str, Any], **around: Any) -> Path:
    layers = [{"layer": 1, "resources": list(resources or (SCALE_UP,))}]
    file.write_text(json.dumps({"layers": layers} | around))
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def test_a_valid_manifest_is_said_to_be_valid(shop: Path) -> None:
    result = run(write(shop / "Instantiate.json"))
    assert result.exit_code == 0
    assert "Instantiate.json: valid, 1 layer, 1 resource" in result.output


def test_the_phase_is_the_files_name_whatever_its_case_unless_the_option_says_otherwise(shop: Path) -> None:
    file = write(shop / "activate.JSON")
    assert "ECS does nothing in ACTIVATE" in run(file).output
    assert run(file, "--phase", "instantiate").exit_code == 0


def test_a_file_of_another_name_needs_a_phase(shop: Path) -> None:
    assert "not known which phase" in run(write(shop / "prewarm.json")).output
    assert run(write(shop / "prewarm.json"), "--phase", "INSTANTIATE").exit_code == 0
    assert run(write(shop / "prewarm.json", phase="Instantiate")).exit_code == 0


def test_the_manifest_must_be_its_folders_and_its_files(shop: Path) -> None:
    result = run(write(shop / "Instantiate.json", application="store", phase="CLEANUP"))
    assert result.exit_code == 2
    assert "the manifest is of store, and is used for shop" in result.output
    assert "the manifest is for CLEANUP, and is used for INSTANTIATE" in result.output


def test_a_folder_means_every_manifest_below_it(tmp_path: Path, shop: Path) -> None:
    write(shop / "Instantiate.json")
    write(shop / "cleanup.json")
    (shop / "package.json").write_text("{}")
    result = run(tmp_path)
    assert result.exit_code == 0
    assert result.output.count("valid") == 2


def test_all_problems_of_all_files_are_printed(shop: Path) -> None:
    write(
        shop / "Instantiate.json",
        {**SCALE_UP, "action": "EcsService"},
        {**SCALE_UP, "resourceName": "b", "parameters": {"EcsClustrName": "x"}},
    )
    (shop / "Activate.json").write_text("layers: []")
    result = run(shop, shop / "Replicate.json")
    assert result.exit_code == 2
    for expected in ("did you mean ECS?", "did you mean EcsClusterName?", "looks like YAML", "there is no such file"):
        assert expected in result.output


def test_json_output_is_the_list_of_problems_and_nothing_else(shop: Path) -> None:
    file = write(shop / "Instantiate.json", {**SCALE_UP, "action": "EcsService"})
    result = run(file, "--output", "json")
    assert result.exit_code == 2
    assert json.loads(result.output) == [
        {
            "file": str(file),
            "layer": "1",
            "resource": "api",
            "key": "action",
            "message": "there is no module EcsService",
            "remedy": "did you mean ECS?",
        }
    ]
    assert json.loads(run(write(file), "--output", "json").output) == []


def test_on_a_terminal_the_problems_are_a_table(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    result = run(write(shop / "Instantiate.json", {**SCALE_UP, "action": "[red]EcsService"}))
    assert "Problems: 1" in result.output
    assert "[red]EcsService" in result.output


def test_nothing_to_check_is_a_problem(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "there is no manifest" in result.output


@pytest.mark.parametrize("arguments", [(), ("--output", "xml", "x"), ("--phase", "FAILOVER", "x")])
def test_a_wrong_call_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


# --- Registrations, and names


def register(folder: Path, **changes: Any) -> Path:
    file = folder / "application.json"
    file.write_text(json.dumps({"application": "shop", "regions": {"primary": "us-east-1", "standby": "us-west-2"}} | changes))
    return file


def test_a_registration_is_checked_with_the_manifests_of_its_folder(shop: Path) -> None:
    write(shop / "Instantiate.json")
    register(shop)
    result = run(shop)
    assert result.exit_code == 0
    assert "application.json: valid, us-east-1 and us-west-2" in result.output
    assert "Instantiate.json: valid" in result.output


def test_a_registration_is_never_taken_for_a_manifest(shop: Path) -> None:
    assert run(register(shop), "--phase", "INSTANTIATE").exit_code == 0
    (shop / "application.json").write_text(json.dumps([{"layer": 1, "resources": [SCALE_UP]}]))
    assert "a registration is an object" in run(shop, "--phase", "INSTANTIATE").output


def test_all_problems_of_a_registration_are_told(shop: Path) -> None:
    write(shop / "Instantiate.json", {**SCALE_UP, "action": "EcsService"})
    register(shop, application="store", regions={"primary": "us-east-1", "secondary": "Oregon"}, prefligth=True)
    result = run(shop)
    assert result.exit_code == 2
    for expected in ("did you mean ECS?", "the registration is of store", "did you mean standby?", "did you mean preflight?"):
        assert expected in result.output


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Instanciate.json", "Instantiate.json"),
        ("Clean-up.json", "Cleanup.json"),
        ("Aplication.json", "application.json"),
        ("Activate.yaml", "Activate.json"),
        ("application.yml", "application.json"),
        ("replicate.JSONC", "Replicate.json"),
        ("Application.json", "application.json"),
    ],
)
def test_a_name_that_is_a_slip_is_told(shop: Path, name: str, meant: str) -> None:
    write(shop / name)
    result = run(shop)
    assert result.exit_code == 2
    assert f"{name}: would not be found under this name (call it {meant}" in result.output


@pytest.mark.parametrize("name", ["package.json", "Activate-eu.json", "notes.yaml", "deactivate.json", ".x/cleanup.yml"])
def test_other_files_are_left_alone(shop: Path, name: str) -> None:
    register(shop)
    (shop / ".x").mkdir()
    (shop / name).write_text("nothing of ours")
    assert run(shop).exit_code == 0


def test_a_manifest_of_another_format_is_recognised(shop: Path) -> None:
    (shop / "Activate.yaml").write_text("- layer: 1\n  resources: []\n")
    result = run(shop / "Activate.yaml")
    assert result.exit_code == 2
    assert "this looks like YAML: convert it to JSON" in result.output
