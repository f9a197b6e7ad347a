"""`drctl report`: the recovery report of an execution, as a page, a text, a document or a PDF."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dr_people.report_building import picture_of, report_of
from dr_people.report_rendering import as_html, as_json, as_markdown
from drctl import view
from drctl.cloud import cloud_of
from drctl.failures import WrongUseError
from drctl.status import ExecutionId, accepted


class Format(StrEnum):
    """What the report is written as."""

    HTML = "html"
    MD = "md"
    JSON = "json"
    PDF = "pdf"


def report(
    context: typer.Context,
    execution_id: ExecutionId,
    form: Annotated[Format, typer.Option("--format", "-f", metavar="html|md|json|pdf", help="What to write.")] = Format.MD,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; by default standard output.", dir_okay=False),
    ] = None,
) -> None:
    """Write the recovery report: what was asked, who allowed it, what happened, how long it took against the target, what was lost.

    It is made from the state table alone; the stack keeps the same report of each execution that has ended or is halted in its bucket
    of reports. A PDF needs the extra of drctl: pip install 'dr-orchestrator[pdf]', and the library Pango.

    Examples:

    * `drctl report 01J9ZK3M8Q4T7V2X5B6C8D0E1F`
    * `drctl report 01J9ZK3M8Q4T7V2X5B6C8D0E1F --format pdf --output activate.pdf`
    """
    cloud = cloud_of(context)
    if form is Format.PDF and output is None and sys.stdout.isatty():
        raise WrongUseError("a PDF is nothing for a terminal", f"{cloud.command} report {execution_id} --format pdf --output report.pdf")
    found = accepted(cloud, execution_id)
    made = report_of(cloud.table, found, cloud.clock())
    if form is Format.JSON:
        written = as_json(made).encode()
    elif form is Format.MD:
        written = as_markdown(made).encode()
    else:
        page = as_html(made, picture_of(cloud.table, found, made.as_of))
        written = as_pdf(page) if form is Format.PDF else page.encode()
    if output is None:
        typer.get_binary_stream("stdout").write(written)
        return
    output.write_bytes(written)
    view.console(stderr=True).print(f"wrote {output}, {len(written)} bytes")


def as_pdf(page: str) -> bytes:
    """The page, printed. Raises WrongUseError where what prints it is not installed."""
    try:
        from weasyprint import HTML  # an extra: slow to import, and not everybody has Pango
    except ImportError as error:
        raise WrongUseError("a PDF needs WeasyPrint, which is not installed", _REMEDY) from error
    except OSError as error:  # it is there, and does not find Pango
        raise WrongUseError(f"a PDF needs the library Pango: {error}", _REMEDY) from error
    printed: bytes = HTML(string=page).write_pdf()
    return printed


_REMEDY = (
    "pip install 'dr-orchestrator[pdf]', and Pango (Debian: apt install libpango-1.0-0 libpangoft2-1.0-0; macOS: brew install pango); "
    "or write the page, --format html, and print it from a browser"
)
