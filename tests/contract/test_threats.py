"""The threat model names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_threat_has_a_test_that_exists() -> None:
    table = (ROOT / "docs" / "approvals.md").read_text().partition("## Threats")[2]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("| ") and not row.startswith("| Threat ")]
    written = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert len(rows) >= 15
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row[3]))
        assert named and named <= written, f"{row[1].strip()}: no such test as {named - written}"
