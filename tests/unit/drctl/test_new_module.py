"""`drctl new-module`: what it writes works as it is, and it refuses to write over anything."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dr_core.phases import Phase
from drctl.app import app

ROOT = Path(__file__).resolve().parents[3]
SOURCES = Path("layers/dr_modules/python/dr_modules")
BIN = Path(sys.executable).parent
# What a checkout must have for a module to be judged in it; the rest of the product is the real one.
COPIED = (
    "pyproject.toml",
    f"{SOURCES}/__init__.py",
    f"{SOURCES}/py.typed",
    f"{SOURCES}/base.py",
    f"{SOURCES}/event_bridge.py",
    "tests/__init__.py",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests" / "support").glob("*.py"))),
    "tests/support/stories/__init__.py",
    "template.yaml",
    "tests/contract/test_modules.py",
    "tests/unit/dr_modules/conftest.py",
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one module, which is where drctl runs."""
    root = tmp_path / "checkout"
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    for name in ("layers/dr_core", "localcloud"):
        (root / name).symlink_to(ROOT / name)
    monkeypatch.chdir(root)
    return root


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["new-module", *arguments])


def files(root: Path, name: str) -> list[str]:
    """The paths of a module's three files."""
    return [f"{SOURCES}/{name}.py", f"tests/unit/dr_modules/test_{name}.py", f"tests/support/stories/{name}.py"]


def everything(root: Path) -> dict[Path, bytes]:
    """All files of the checkout, links aside."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}


def tool(root: Path, *command: str) -> None:
    """Run a tool of the environment in the checkout, whose own modules and tests stand before the real ones. It must find nothing."""
    environment = os.environ | {"PYTHONPATH": f"{root / SOURCES.parent}{os.pathsep}{root}"}
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_module_passes_its_own_tests_and_what_every_module_promises(checkout: Path) -> None:
    assert run("TransferServer").exit_code == 0
    tests = ["tests/unit/dr_modules/test_transfer_server.py", "tests/contract/test_modules.py"]
    tool(checkout, "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", "TransferServer or transfer_server")


@pytest.mark.parametrize("name", ["EFS", "AlarmBell", "S3Bucket", "A" + "Long" * 11 + "Nam"])
@pytest.mark.parametrize("phases", ["replicate", "instantiate,activate,cleanup,replicate"])
def test_a_new_module_is_written_in_the_style_of_the_house(checkout: Path, name: str, phases: str) -> None:
    """Whatever its name does to the order of imports and the length of lines."""
    written = re.findall(r"^wrote (.+)$", run(name, "--phases", phases).stdout, re.MULTILINE)
    assert len(written) == 3
    tool(checkout, "ruff", "check", "--no-cache", *written)
    tool(checkout, "ruff", "format", "--no-cache", "--check", *written)


def test_a_new_module_has_no_errors_of_types(checkout: Path) -> None:
    run("TransferServer")
    # The types of the libraries are read once: the cache outlives the checkout.
    cache = ROOT / ".mypy_cache" / "new_module"
    tool(checkout, "mypy", "--config-file", "pyproject.toml", "--cache-dir", str(cache), *files(checkout, "transfer_server"))


def test_it_writes_three_files_and_says_what_to_do_next(checkout: Path) -> None:
    before = everything(checkout)
    result = run("OpenSearchDomain", "--phases", "replicate,cleanup, Instantiate,ACTIVATE")
    assert result.exit_code == 0
    assert [str(path.relative_to(checkout)) for path in sorted(set(everything(checkout)) - set(before))] == sorted(
        files(checkout, "open_search_domain")
    )
    assert [line.removeprefix("wrote ") for line in result.stdout.splitlines()[:3]] == files(checkout, "open_search_domain")
    for expected in ("pytest tests/unit/dr_modules/test_open_search_domain.py", "-k OpenSearchDomain", "make schema", "CONTRIBUTING.md"):
        assert expected in result.stdout
    text = (checkout / SOURCES / "open_search_domain.py").read_text()
    assert re.findall(r"    def (\w+)_status_check", text) == ["instantiate", "activate", "cleanup", "replicate"]
    assert re.findall(r"        Phase\.(\w+):", text) == list(Phase)
    assert "$" not in text and text.count("# Replace:") >= 8


def test_it_finds_the_checkout_from_a_folder_inside(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout / "tests" / "support")
    assert run("EFS").exit_code == 0
    assert (checkout / SOURCES / "efs.py").is_file()


@pytest.mark.parametrize(
    ("name", "file"),
    [("DRS", "drs"), ("SQLServer", "sql_server"), ("MemoryDB", "memory_db"), ("R53Record", "r53_record"), ("EC2Fleet", "ec2_fleet")],
)
def test_files_are_called_as_people_would(checkout: Path, name: str, file: str) -> None:
    assert f"{SOURCES}/{file}.py" in run(name).stdout


@pytest.mark.parametrize("name", ["transferServer", "Transfer-Server", "Transfer_Server", "2Fast", "", "Grüße", "A" * 49])
def test_a_name_must_be_in_pascal_case(checkout: Path, name: str) -> None:
    before = everything(checkout)
    result = run(name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{name} is not a name in PascalCase" in result.stderr
    assert everything(checkout) == before


@pytest.mark.parametrize("name", ["Lambda", "None", "Phase", "World", "Stories", "Any"])
def test_a_name_must_not_mean_something_else_in_the_files(checkout: Path, name: str) -> None:
    result = run(name)
    assert (result.exit_code, f"{name} has a meaning of its own in the code" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("EventBridge", "layers/dr_modules/python/dr_modules/event_bridge.py already there"),
        ("Eventbridge", "layers/dr_modules/python/dr_modules/event_bridge.py has a module EventBridge"),
        ("Base", "layers/dr_modules/python/dr_modules/base.py already there"),
    ],
)
def test_a_name_that_is_taken_is_refused_whatever_its_case(checkout: Path, name: str, said: str) -> None:
    before = everything(checkout)
    result = run(name)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert everything(checkout) == before


@pytest.mark.parametrize("there", [0, 1, 2])
def test_nothing_is_written_where_one_of_the_files_is_there(checkout: Path, there: int) -> None:
    path = checkout / files(checkout, "efs")[there]
    path.write_text("mine")
    before = everything(checkout)
    result = run("EFS")
    assert (result.exit_code, f"{path.relative_to(checkout)} already there" in result.stderr) == (2, True)
    assert everything(checkout) == before


@pytest.mark.parametrize(
    ("phases", "said"), [("activate,failover", "there is no phase FAILOVER"), ("", "no phase is named"), (",", "no phase is named")]
)
def test_phases_must_be_phases(checkout: Path, phases: str, said: str) -> None:
    result = run("EFS", "--phases", phases)
    assert (result.exit_code, said in result.stderr) == (2, True)
    assert not (checkout / SOURCES / "efs.py").exists()


def test_outside_of_a_checkout_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("EFS")
    assert (result.exit_code, f"{tmp_path} is not in a checkout" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
