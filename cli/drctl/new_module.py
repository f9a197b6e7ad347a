"""`drctl new-module`: the files of a new module, which works and passes its tests, for whoever writes the real one to change."""

import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from dr_core.phases import Phase
from drctl.failures import WrongUseError

_MODULES = Path("layers/dr_modules/python/dr_modules")
_LONGEST_NAME = 48  # so that no line of the files becomes too long
_ACTIONS = '("ssm:GetParameter", "ssm:PutParameter")'


def new_module(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The manifest's action, in PascalCase.", show_default=False)],
    phases: Annotated[str, typer.Option(metavar="PHASE,…", help="The phases that it shall have.", show_default="all")] = ",".join(Phase),
) -> None:
    """Write a new module, its test and its stories into this checkout of the repository.

    What is written works: it gives a parameter of SSM a value. Comments that begin with "Replace:" say what to put in its place.

    Examples:

    * `drctl new-module TransferServer`
    * `drctl new-module TransferServer --phases instantiate,cleanup`
    """
    root = _checkout(Path.cwd())
    file = _file_name(name)
    texts = {root / path: text for path, text in _texts(name, file, _phases(phases)).items()}
    _refuse_taken(name, root, texts)
    for path, text in texts.items():
        path.write_text(text)
        typer.echo(f"wrote {path.relative_to(root)}")
    typer.echo(f"""
It passes its tests now. Change what the comments "Replace:" name, and run after each change:

  .venv/bin/pytest tests/unit/dr_modules/test_{file}.py
  .venv/bin/pytest tests/contract/test_modules.py -k {name}

Then write the schema of manifests, the role of the target accounts and docs/modules.md anew, and check everything:

  make schema
  make check

CONTRIBUTING.md, "Add a module", says what else belongs to it.""")


def _checkout(inside: Path) -> Path:
    """The checkout of the repository that the folder is in. Raises WrongUseError when it is in none."""
    for folder in (inside, *inside.parents):
        if (folder / _MODULES / "base.py").is_file():
            return folder
    raise WrongUseError(f"{inside} is not in a checkout of the orchestrator's repository", "change to a folder of one and try again")


def _file_name(name: str) -> str:
    """How the module's files are called: `OpenSearchService` is in open_search_service.py. Raises WrongUseError for a name that is none."""
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) or len(name) > _LONGEST_NAME:
        remedy = f"such as TransferServer or EFS: letters and digits, a capital first, at most {_LONGEST_NAME}"
        raise WrongUseError(f"{name} is not a name in PascalCase", remedy)
    file = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    if keyword.iskeyword(file) or keyword.iskeyword(name) or name in _imported():
        raise WrongUseError(f"{name} has a meaning of its own in the code", f"choose another name, such as {name}Service")
    return file


def _phases(text: str) -> list[Phase]:
    """The phases in a list with commas, in the order in which they run. Raises WrongUseError when one is unknown, or none is named."""
    asked = {word.strip().upper() for word in text.split(",") if word.strip()}
    if not asked or not asked <= set(Phase):
        unknown = ", ".join(sorted(asked - set(Phase)))
        raise WrongUseError(f"there is no phase {unknown}" if unknown else "no phase is named", f"phases are {', '.join(Phase)}")
    return [phase for phase in Phase if phase in asked]


def _refuse_taken(name: str, root: Path, texts: dict[Path, str]) -> None:
    """Raise WrongUseError when a file is there already, or a module has the name but for upper and lower case."""
    there = [str(path.relative_to(root)) for path in texts if path.exists()]
    if there:
        raise WrongUseError(f"{', '.join(there)} already there", "choose another name, or remove them first")
    for file in sorted((root / _MODULES).glob("*.py")):
        for registered in re.findall(r'^@register\("(\w+)"\)', file.read_text(), re.MULTILINE):
            if registered.lower() == name.lower():
                raise WrongUseError(f"{file.relative_to(root)} has a module {registered}", "choose a name that is not so easily confused")


def _texts(name: str, file: str, phases: list[Phase]) -> dict[Path, str]:
    """What is written, by its path in the checkout."""
    methods = "".join(_filled("phase", name=name, phase=phase.lower(), upper=phase) for phase in phases)
    permissions = "\n".join(f"        Phase.{phase}: {_ACTIONS}," for phase in phases)
    imports = "\n".join(sorted(["from dr_modules.base import Progress", f"from dr_modules.{file} import {name}"]))
    return {
        _MODULES / f"{file}.py": _filled("module", name=name, permissions=permissions, methods=methods),
        Path(f"tests/unit/dr_modules/test_{file}.py"): _filled("test", name=name, file=file, imports=imports),
        Path(f"tests/support/stories/{file}.py"): _filled("stories", name=name, file=file),
    }


def _filled(template: str, **values: str) -> str:
    return Template(_template(template)).substitute(values)


def _imported() -> set[str]:
    """The names that the written files import, and which a class of that name would hide."""
    imports = [
        line for one in ("module", "test", "stories") for line in _template(one).splitlines() if line.startswith(("from ", "import "))
    ]
    return {word for line in imports for word in re.findall(r"\w+", line.partition("import ")[2])}


def _template(name: str) -> str:
    return (resources.files("drctl") / "templates" / f"{name}.py.template").read_text()
