"""The failure matrix is complete, its page is that of the tests that there are, and it says what their report said."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.failures.page import PAGE, Outcome, merged, outcomes, page
from tests.failures.rows import FAULTS, ROWS, Row

TESTS = Path(__file__).parents[1]


def marks() -> Iterator[tuple[str, str]]:
    """Every row that a test's file names, with the file; in the searches of the model a table of theirs has them."""
    for path in sorted(TESTS.rglob("test_*.py")):
        file, tree = path.relative_to(TESTS).as_posix(), ast.parse(path.read_text())
        for node in ast.walk(tree):
            named: list[ast.expr] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "failure":
                named = node.args
            if isinstance(node, ast.Dict) and file == "model/test_model.py":
                named = node.values
            yield from ((file, text.value) for text in named if isinstance(text, ast.Constant) and isinstance(text.value, str))


def shown() -> set[tuple[str, str]]:
    """What the page says: file and row."""
    found = set()
    for part in PAGE.read_text().partition("\n## Tests\n")[2].split("<a id=")[1:]:
        heading = re.search(r"\*\*\d+\. (.+)\*\*", part)
        assert heading
        found |= {(file, heading[1]) for file in re.findall(r"^- `([\w/]+\.py)::", part, re.MULTILINE)}
    return found


def test_rows_are_told_apart_by_their_faults() -> None:
    assert len(set(FAULTS)) == len(FAULTS)


def test_marks_name_rows_that_there_are() -> None:
    assert {row for _, row in marks()} <= set(FAULTS)


@pytest.mark.parametrize("row", ROWS, ids=FAULTS)
def test_each_row_has_a_test_or_is_a_known_gap(row: Row) -> None:
    assert bool(row.gap) != (row.fault in {named for _, named in marks()}), "a test, or why there is none, and not both"


def test_the_page_lists_every_row_with_tests_that_are_marked_for_it() -> None:
    """`make failure-matrix` writes it anew; it need not have the newest test of a row yet, but one."""
    listed = re.findall(r"^\| \[\d+\]\(#row-\d+\) \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    assert listed == list(FAULTS)
    assert shown() <= set(marks())
    assert {row for _, row in shown()} == {row.fault for row in ROWS if not row.gap}


def test_the_page_holds_no_failure() -> None:
    assert "**failed**" not in PAGE.read_text() and "**not shown**" not in PAGE.read_text()


CASES = (
    ("test_a", "test_x[1]", "one", ""),
    ("test_a", "test_x[2]", "one", "<failure/>"),
    ("test_a.TestIt", "runTest", "two", ""),
    ("test_a", "test_y", "three", "<skipped/>"),
    ("test_a", "test_z", "", ""),
)
CASE = '<testcase classname="tests.unit.{}" name="{}"><properties><property name="failure" value="{}"/></properties>{}</testcase>'
AGAIN = ((1, CASE.format(*CASES[1])), (2, CASE.format("test_a", "test_x[2]", "one", "")))
CASE_TEXTS = "".join(CASE.format(*case) for case in CASES)
REPORT = f'<testsuites><testsuite tests="5" timestamp="2031-03-01T12:00:00+00:00">{CASE_TEXTS}</testsuite></testsuites>'


def test_the_page_says_what_the_report_says() -> None:
    report = ElementTree.fromstring(REPORT)
    assert outcomes(report) == {
        "one": [Outcome("unit/test_a.py::test_x", {"passed": 1, "failed": 1})],
        "two": [Outcome("unit/test_a.py::runTest", {"passed": 1})],
        "three": [Outcome("unit/test_a.py::test_y", {"skipped": 1})],
        "": [Outcome("unit/test_a.py::test_z", {"passed": 1})],
    }
    faults = ("one", "two", "three", "four", "five")
    rows = [Row(fault=fault, happens="h", recovered="r", gap="later" if fault == "five" else "") for fault in faults]
    text = page(report, rows)
    results = re.findall(r"^\| \[\d\].* \| ([^|]+) \|$", text, re.MULTILINE)
    assert results == ["**failed**", "passed", "**not shown**", "**not shown**", "no test yet: later"]
    assert "1 of 5 rows shown" in text and "- `unit/test_a.py::test_x`: 1 passed, 1 failed" in text


def test_of_two_reports_the_later_one_counts_for_a_test() -> None:
    first, then = (f'<testsuite tests="1" timestamp="2031-03-0{day}T12:00:00+00:00">{case}</testsuite>' for day, case in AGAIN)
    both = merged([ElementTree.fromstring(first), ElementTree.fromstring(then)])
    assert outcomes(both)["one"] == [Outcome("unit/test_a.py::test_x", {"passed": 1})]
    assert "Run of 2031-03-02: 1 tests" in page(both, [])
