"""`drctl validate`: say everything that is wrong with manifests and registrations before they are published."""

import difflib
import json
import re
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dr_core.application import FILE_NAME, read_application
from dr_core.errors import InvalidInputError, Problem
from dr_core.manifest import Manifest
from dr_core.phases import Phase
from dr_engine.plan import check_manifest
from dr_modules.base import modules

INVALID = 2  # exit code

_PHASES = {phase.file_name.lower(): phase for phase in Phase}
_BY_NAME = {name.lower(): name for name in (*(phase.file_name for phase in Phase), FILE_NAME)}
_OTHER_FORMATS = (".yaml", ".yml", ".jsonc", ".json5", ".txt")


class Output(StrEnum):
    """How the result is written."""

    TEXT = "text"
    JSON = "json"


def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Manifests, or folders to look for them in.", show_default=False)],
    phase: Annotated[
        Phase | None,
        typer.Option(
            case_sensitive=False, help="The phase that they are for, if the names of the files do not say it.", show_default=False
        ),
    ] = None,
    output: Annotated[Output, typer.Option(help="Lines for people, or a JSON list of problems.")] = Output.TEXT,
) -> None:
    """Check manifests: their shape, and their parameters against the modules; and application.json. References are not resolved.

    A manifest's phase is its name's (Instantiate.json, ...), its application its folder's. Exit code 2: there are problems.
    """
    console = Console()
    problems: list[Problem] = []
    for path in paths:
        files, slips = files_of(path)
        problems += slips
        if not files:
            problems.append(file_problem(path, "there is no manifest", f"manifests are called {', '.join(one.file_name for one in Phase)}"))
        for file in files:
            try:
                summary, _ = checked(file, phase)
            except InvalidInputError as error:
                problems += error.problems
            else:
                if output is Output.TEXT:
                    console.print(Text(f"{file}: valid, {summary}"), soft_wrap=True)
    _print(console, problems, output)
    if problems:
        raise typer.Exit(INVALID)


def files_of(path: Path) -> tuple[list[Path], list[Problem]]:
    """The file itself, or every manifest and registration below the folder, and the files there whose names are a slip of one."""
    if not path.is_dir():
        return [path], []
    hidden = re.compile(r"(^|/)\.")
    files = sorted(one for one in path.rglob("*") if one.is_file() and not hidden.search(one.relative_to(path).as_posix()))
    meant = [(file, _meant(file)) for file in files if file.name.lower() not in _BY_NAME]
    slips = [file_problem(file, "would not be found under this name", f"call it {name}, in JSON") for file, name in meant if name]
    return [file for file in files if file.name.lower() in _BY_NAME], slips


def name_of(file: Path) -> str:
    """The name under which the file is looked for."""
    return _BY_NAME.get(file.name.lower(), file.name)


def _meant(file: Path) -> str | None:
    """The name that the file should have, if its own is misspelt or of another format. Other words, such as Activate-eu, are not."""
    word = file.stem.lower()
    stems = {name.removesuffix(".json"): right for name, right in _BY_NAME.items()}
    if file.suffix.lower() in _OTHER_FORMATS:
        return stems.get(word)
    near = difflib.get_close_matches(re.sub(r"[\s_-]", "", word), stems, 1, 0.8) if file.suffix.lower() == ".json" else []
    return stems[near[0]] if near and abs(len(word) - len(near[0])) <= 1 else None


def checked(file: Path, phase: Phase | None) -> tuple[str, bytes]:
    """What there is in the file, in short, and the bytes that were checked. Raises InvalidInputError, also when the file cannot be read."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise InvalidInputError([file_problem(file, "there is no such file", "correct the path")]) from None
    except OSError as error:
        raise InvalidInputError([file_problem(file, f"cannot be read: {error.strerror}", "make it readable")]) from error
    application = file.resolve().parent.name
    if file.name == FILE_NAME:
        regions = read_application(str(file), data, application).regions
        return f"{regions.primary} and {regions.standby}", data
    if file.name.lower() == FILE_NAME:
        raise InvalidInputError([file_problem(file, "would not be found under this name", f"call it {FILE_NAME}")])
    return _summary(check_manifest(data, str(file), application, phase or _PHASES.get(file.name.lower()), modules())), data


def file_problem(file: Path, message: str, remedy: str) -> Problem:
    """What is wrong with a file as a whole."""
    return Problem(str(file), "", "", "", message, remedy)


def _summary(manifest: Manifest) -> str:
    resources = sum(len(layer.resources) for layer in manifest.layers)
    return f"{len(manifest.layers)} layer{'s'[: len(manifest.layers) > 1]}, {resources} resource{'s'[: resources > 1]}"


def _print(console: Console, problems: list[Problem], output: Output) -> None:
    if output is Output.JSON:
        typer.echo(json.dumps([asdict(problem) for problem in problems], indent=2))
    elif not console.is_terminal:
        for problem in problems:
            typer.echo(str(problem))
    elif problems:
        table = Table("File", "Layer", "Resource", "Key", "Problem", "Remedy", title=f"Problems: {len(problems)}", show_lines=True)
        for problem in problems:
            table.add_row(*(Text(column) for column in asdict(problem).values()))
        console.print(table)
