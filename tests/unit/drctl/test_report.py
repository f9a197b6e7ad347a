"""`drctl report`: the recovery report in each of its forms."""

import json
import sys
from pathlib import Path

import pytest
from pypdf import PdfReader

from dr_people.report import Report
from tests.support.desk import ID, Desk
from tests.support.recovery import EVIL, recovered


def test_writes_text_by_default_and_a_document_on_request(desk: Desk) -> None:
    recovered(desk)
    assert desk.run("report", ID).stdout.startswith("# Recovery report: ACTIVATE of storefront\n\n**SUCCEEDED**")
    document = desk.run("report", ID, "--format", "json").stdout
    assert Report.model_validate_json(document).execution_id == ID
    assert desk.run("report", ID, "--format", "html").stdout.startswith("<!doctype html>")


def test_writes_a_file(desk: Desk, tmp_path: Path) -> None:
    recovered(desk)
    file = tmp_path / "report.json"
    result = desk.run("report", ID, "--format", "json", "--output", str(file))
    assert result.exit_code == 0 and result.stdout == "" and str(file) in result.stderr
    assert json.loads(file.read_text())["kind"] == "report"


def test_prints_a_pdf(desk: Desk, tmp_path: Path) -> None:
    try:
        import weasyprint  # noqa: F401
    except OSError as error:
        pytest.skip(f"no Pango: {error}")
    recovered(desk)
    file = tmp_path / "report.pdf"
    assert desk.run("report", ID, "--format", "pdf", "--output", str(file)).exit_code == 0
    pages = [" ".join(page.extract_text().split()) for page in PdfReader(file).pages]
    assert len(pages) > 1 and "Recovery report: ACTIVATE of storefront" in pages[0]
    printed = " ".join(pages)
    for said in ("8 min 9.000 s = 3 min 0.000 s AWS at work + 5 min 9.000 s overhead", "75.5 s", ID, EVIL):
        assert said in printed


def test_says_what_a_pdf_needs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    recovered(desk)
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    result = desk.run("report", ID, "--format", "pdf", "--output", "/nonexistent/report.pdf")
    assert result.exit_code == 2 and "a PDF needs WeasyPrint" in result.stderr and "dr-orchestrator[pdf]" in result.stderr


def test_there_is_none_of_what_never_was(desk: Desk) -> None:
    result = desk.run("report", ID)
    assert result.exit_code == 2 and f"there is no execution {ID}" in result.stderr
