"""Every function is thin: a docstring that says what comes in and goes out, and the few imports that a handler needs."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployed import functions
from tests.support.state_table import TEMPLATE

FOLDER = TEMPLATE.parent / "functions"
HANDLERS = sorted(FOLDER.glob("*/*.py"))
OURS = ("dr_core", "dr_modules", "dr_engine", "dr_people")
MOST_LINES = 50


def trees() -> list[object]:
    """A parameter for each handler."""
    return [pytest.param(path, ast.parse(path.read_text()), id=path.parent.name) for path in HANDLERS]


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """The top-level packages that are imported there."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "no relative imports"
            found.add(node.module.split(".")[0])
    return found


def for_types(tree: ast.Module) -> list[ast.If]:
    """The blocks that only type checkers see."""
    return [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]


def test_every_function_of_the_template_is_a_folder_with_one_file() -> None:
    deployed = {str(one["CodeUri"]) for one in functions().values()}
    assert deployed == {f"functions/{path.parent.name}" for path in HANDLERS}
    assert {path.name for path in HANDLERS} == {"app.py"} and len(HANDLERS) == len(deployed)
    for name, one in functions().items():
        folder = one["CodeUri"].removeprefix("functions/")
        assert name == "".join(word.capitalize() for word in folder.split("_")) + "Function"
        assert one["FunctionName"] == f"${{AWS::StackName}}-{folder.replace('_', '-')}"


@pytest.mark.parametrize(("path", "tree"), trees())
def test_a_handler_imports_the_layers_and_never_another_function(path: Path, tree: ast.Module) -> None:
    hidden = {id(node) for block in for_types(tree) for node in ast.walk(block)}
    used = imported(node for node in ast.walk(tree) if id(node) not in hidden)
    allowed = {"aws_lambda_powertools", *OURS} | set(sys.stdlib_module_names)
    assert used <= allowed, f"{path.parent.name} imports {used - allowed}"
    types = imported(node for block in for_types(tree) for node in ast.walk(block))
    assert all(name.startswith("mypy_boto3_") for name in types)


@pytest.mark.parametrize(("path", "tree"), trees())
def test_a_handler_has_the_layers_that_it_imports(path: Path, tree: ast.Module) -> None:
    (defined,) = [one for one in functions().values() if one["CodeUri"] == f"functions/{path.parent.name}"]
    layers = {"DependenciesLayer", "CoreLayer", *defined.get("Layers", [])}
    needs = {
        "dr_core": {"CoreLayer"},
        "dr_modules": {"ModulesLayer"},
        "dr_engine": {"ModulesLayer", "EngineLayer"},
        "dr_people": {"PeopleLayer", "PeopleDependenciesLayer"},
    }
    wanted = {layer for name in imported(ast.walk(tree)) for layer in needs.get(name, set())}
    assert wanted <= layers, f"{path.parent.name} needs {wanted - layers}"
    assert layers - wanted <= {"DependenciesLayer", "CoreLayer"}, "and no others"


@pytest.mark.parametrize(("path", "tree"), trees())
def test_a_handler_is_short(path: Path, tree: ast.Module) -> None:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= MOST_LINES


@pytest.mark.parametrize(("path", "tree"), trees())
def test_a_handler_says_what_comes_in_and_what_goes_out(path: Path, tree: ast.Module) -> None:
    said = (ast.get_docstring(tree) or "").splitlines()
    assert said[0].endswith(".") and said[1] == ""
    assert said[2].startswith("In:  ") and any(line.startswith("Out: ") for line in said[3:])
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            assert ast.get_docstring(node), f"{path.parent.name}: {node.name} has no docstring"


@pytest.mark.parametrize(("path", "tree"), trees())
def test_a_handler_reads_no_environment_and_makes_no_client_when_it_is_imported(path: Path, tree: ast.Module) -> None:
    at_import = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom | ast.If)]
    text = "\n".join(ast.unparse(node) for node in at_import)
    assert "client(" not in text and "setting(" not in text
    assert "os.environ" not in ast.unparse(tree), "settings read it, in one place"
    assert "lambda_handler" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
