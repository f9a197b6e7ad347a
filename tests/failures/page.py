"""Write docs/failure-matrix.md from the report of a run: `python -m tests.failures.page REPORT.xml...`.

The report is that of `pytest -m failure --junitxml=REPORT.xml`; each of its tests carries its rows as properties (tests/conftest.py).
A run in parts has several reports; of a test that is in two of them, the later one counts.
Exit code 0 only if every row has a test that passed, or is a known gap, and none failed.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from tests.failures.rows import ROWS, Row

PAGE: Final = Path(__file__).parents[2] / "docs" / "failure-matrix.md"
_HEAD: Final = """\
# Failure matrix

What may go wrong, what happens then, and the tests that show it. `make failure-matrix` runs these tests and writes this page from their
report; nothing on it is written by hand but the words of the rows (`tests/failures/rows.toml`). A test names its rows with
`@pytest.mark.failure`. Tests below `integration/stack` run on the deployed template, in a local cloud.

"""


@dataclass(frozen=True)
class Outcome:
    """What became of the tests of one function; `counts` by passed, failed and skipped."""

    test: str
    counts: Mapping[str, int]

    def __str__(self) -> str:
        several = ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items(), reverse=True))
        return f"`{self.test}`: {several if self.runs > 1 else next(iter(self.counts))}"

    @property
    def runs(self) -> int:
        """How often the function ran, each time with other parameters."""
        return sum(self.counts.values())


def outcomes(report: ElementTree.Element) -> Mapping[str, Sequence[Outcome]]:
    """By row, what became of its tests."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for case in report.iter("testcase"):
        test = f"{_file(case.attrib['classname'])}::{case.attrib['name'].partition('[')[0]}"
        result = "failed" if case.find("failure") is not None or case.find("error") is not None else "passed"
        result = "skipped" if case.find("skipped") is not None else result
        for row in {found.attrib["value"] for found in case.iter("property") if found.attrib["name"] == "failure"}:
            counts.setdefault((row, test), Counter())[result] += 1
    found: dict[str, list[Outcome]] = {}
    for (row, test), results in sorted(counts.items()):
        found.setdefault(row, []).append(Outcome(test, results))
    return found


def merged(reports: Sequence[ElementTree.Element]) -> ElementTree.Element:
    """One report of several, as if they were one run that began with the last."""
    cases = {(case.attrib["classname"], case.attrib["name"]): case for report in reports for case in report.iter("testcase")}
    began = max(suite.attrib["timestamp"] for report in reports for suite in report.iter("testsuite"))
    suite = ElementTree.Element("testsuite", {"tests": str(len(cases)), "timestamp": began})
    suite.extend(cases.values())
    return suite


def _file(classname: str) -> str:
    """The file below tests/, of a dotted name that may end in a class, which begins with a capital letter."""
    parts = [part for part in classname.split(".") if not part[:1].isupper()]
    return "/".join(parts[1:]) + ".py"


def verdict(row: Row, tests: Sequence[Outcome]) -> str:
    """What the page says of a row."""
    totals: Counter[str] = Counter()
    for outcome in tests:
        totals.update(outcome.counts)
    if totals["failed"]:
        return "**failed**"
    if totals["passed"]:
        return "passed"
    return f"no test yet: {row.gap}" if row.gap else "**not shown**"


def page(report: ElementTree.Element, rows: Sequence[Row] = ROWS) -> str:
    """The page in Markdown."""
    found = outcomes(report)
    suites = list(report.iter("testsuite"))
    when = datetime.fromisoformat(suites[0].attrib["timestamp"])
    ran = sum(int(suite.attrib["tests"]) for suite in suites)
    shown = sum(verdict(row, found.get(row.fault, ())) == "passed" for row in rows)
    lines = [f"Run of {when:%Y-%m-%d}: {ran} tests, {shown} of {len(rows)} rows shown.", ""]
    lines += ["| # | Fault | What happens | Recovered by | Result |", "|---|---|---|---|---|"]
    for number, row in enumerate(rows, 1):
        lines.append(
            f"| [{number}](#row-{number}) | {row.fault} | {row.happens} | {row.recovered} | {verdict(row, found.get(row.fault, ()))} |"
        )
    lines += ["", "## Tests", ""]
    for number, row in enumerate(rows, 1):
        lines += [f'<a id="row-{number}"></a>', "", f"**{number}. {row.fault}**", ""]
        lines += [f"- {outcome}" for outcome in found.get(row.fault, ())] or [f"- none: {row.gap or 'nobody has written one'}"]
        lines.append("")
    return _HEAD + "\n".join(lines)


def main() -> int:
    """Write the page. Gives the exit code."""
    report = merged([ElementTree.parse(path).getroot() for path in sys.argv[1:]])
    PAGE.write_text(page(report))
    found = outcomes(report)
    bad = [row.fault for row in ROWS if "**" in verdict(row, found.get(row.fault, ()))]
    gaps = sum(bool(row.gap) for row in ROWS)
    print(f"{PAGE}: {len(ROWS) - len(bad) - gaps} of {len(ROWS)} rows shown, {gaps} known gaps")  # noqa: T201
    for fault in bad:
        print(f"  not: {fault}")  # noqa: T201
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
