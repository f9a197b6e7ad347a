"""`drctl validate`: say everything that is wrong with manifests before they are published."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dr_core.errors import InvalidInputError, Problem
from dr_core.manifest import Manifest
from dr_core.phases import Phase
from dr_engine.plan import check_manifest
from dr_modules.base import modules

INVALID = 2  # exit code

_PHASES = {phase.file_name.lower(): phase for phase in Phase}


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
    """Check manifests: their shape, and their parameters against the modules. Nothing is called; references are not resolved.

    A manifest's phase is its name's (Instantiate.json, ...), its application its folder's. Exit code 2: there are problems.
    """
    console = Console()
    problems: list[Problem] = []
    for path in paths:
        files = list(_manifests(path))
        if not files:
            problems.append(_unreadable(path, "there is no manifest", f"manifests are called {', '.join(one.file_name for one in Phase)}"))
        for file in files:
            try:
                manifest = _checked(file, phase)
            except InvalidInputError as error:
                problems += error.problems
            else:
                if output is Output.TEXT:
                    console.print(Text(f"{file}: valid, {_summary(manifest)}"), soft_wrap=True)
    _print(console, problems, output)
    if problems:
        raise typer.Exit(INVALID)


def _manifests(path: Path) -> Iterator[Path]:
    """The file itself, or all manifests below the folder, in the order of their paths."""
    if path.is_dir():
        yield from sorted(one for one in path.rglob("*.json") if one.name.lower() in _PHASES and one.is_file())
    else:
        yield path


def _checked(file: Path, phase: Phase | None) -> Manifest:
    """The manifest in the file. Raises InvalidInputError, also when the file cannot be read."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        raise InvalidInputError([_unreadable(file, "there is no such file", "correct the path")]) from None
    except OSError as error:
        raise InvalidInputError([_unreadable(file, f"cannot be read: {error.strerror}", "")]) from error
    return check_manifest(text, str(file), file.resolve().parent.name, phase or _PHASES.get(file.name.lower()), modules())


def _unreadable(path: Path, message: str, remedy: str) -> Problem:
    return Problem(str(path), "", "", "", message, remedy)


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
