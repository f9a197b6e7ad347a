"""`drctl permissions`: which IAM actions the modules need, for those who have to allow them."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from dr_core.manifest import Manifest
from dr_core.phases import Phase
from dr_core.references import holds_reference
from dr_engine.permissions import Need, Use, needs, policy, uses
from dr_engine.plan import check_manifest
from dr_modules.base import modules
from drctl import view
from drctl.failures import WrongUseError

_MANIFESTS = Path("manifests")
_PHASES = {one.file_name.lower(): one for one in Phase}


class Output(StrEnum):
    """How the result is written."""

    JSON = "json"
    TABLE = "table"


def permissions(
    phase: Annotated[
        Phase | None, typer.Option(metavar="PHASE", case_sensitive=False, help="Only what this phase needs.", show_default=False)
    ] = None,
    application: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Only the modules in the application's manifests; a name is a folder of manifests/.",
            show_default=False,
        ),
    ] = None,
    manifest: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Only the modules in this manifest; may be given several times.", show_default=False),
    ] = None,
    output: Annotated[
        Output, typer.Option("--output", "-o", metavar="json|table", help="An IAM policy, or a line for each action.")
    ] = Output.JSON,
) -> None:
    """Print the IAM actions that the modules need in the target accounts, as a policy. Nothing is called.

    All modules, phases and what references need, as in deploy/TargetAccountsAssumeRole.yaml, unless options say less. Of manifests those
    for other phases are left out, and what references need where there are none. An invalid manifest is refused with its problems.

    Examples:

    * `drctl permissions --phase activate --output table`
    * `drctl permissions --application storefront`
    * `drctl permissions --manifest Activate.json --manifest Cleanup.json`
    """
    if application is not None and manifest:
        raise WrongUseError("--application and --manifest exclude each other", "an application's manifests are the files of its folder")
    used, references = uses(modules(), phase), True
    if application is not None or manifest:
        used, references = _used(_of_application(application, phase) if application is not None else manifest or [], phase)
    needed = needs(modules(), used, references=references)
    if output is Output.JSON:
        typer.echo(json.dumps(policy(needed), indent=2))
    else:
        view.console().print(_table(needed))


def _of_application(application: str, phase: Phase | None) -> list[Path]:
    """The manifests in the application's folder, or the phase's alone. Raises WrongUseError when there is none."""
    folder = next((one for one in (Path(application), _MANIFESTS / application) if one.is_dir()), None)
    if folder is None:
        raise WrongUseError(f"there is no folder {application} or {_MANIFESTS / application}", "name the folder that its manifests are in")
    found = sorted(one for one in folder.iterdir() if one.name.lower() in _PHASES and phase in (None, _PHASES[one.name.lower()]))
    if not found:
        names = phase.file_name if phase else ", ".join(one.file_name for one in Phase)
        raise WrongUseError(f"there is no manifest in {folder}", f"it would be called {names}")
    return found


def _used(files: list[Path], phase: Phase | None) -> tuple[set[Use], bool]:
    """The modules in those of the manifests that are for `phase`, each in its manifest's, and whether one has a reference.

    Raises InvalidInputError when a manifest is invalid: nothing would run it. Raises WrongUseError when none is for the phase.
    """
    used: set[Use] = set()
    references = False
    for file in files:
        own = _PHASES.get(file.name.lower()) or phase
        found = _read(file, own)
        own = own or found.phase
        if own is not None and phase in (None, own):
            resources = [resource for layer in found.layers for resource in layer.resources]
            used |= {Use(resource.action, own) for resource in resources}
            references |= any(holds_reference(resource.parameters) for resource in resources)
    if not used:
        raise WrongUseError(f"none of these manifests is for {phase}", "name others, or leave out --phase")
    return used, references


def _read(file: Path, phase: Phase | None) -> Manifest:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise WrongUseError(f"{file} cannot be read: {error.strerror}", "correct the path") from error
    return check_manifest(text, str(file), None, phase, modules())


def _table(needed: list[Need]) -> Table:
    """A line for each action of each module."""
    table = Table("Module", "Action", "", "Phases", "", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for need in needed:
        kind, asked = "read" if need.is_reading else "change", "" if need.called else "AWS asks for it"
        table.add_row(Text(need.module), Text(need.action), Text(kind), Text(", ".join(need.phases)), Text(asked))
    return table
