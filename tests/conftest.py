"""What holds for all tests: `@pytest.mark.failure(row, ...)` names rows of the failure matrix, and the report of a run carries them."""

from collections.abc import Sequence

import pytest

from tests.failures.rows import FAULTS


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Refuse a row that there is not; give the others to the report, from which `tests.failures.page` reads them."""
    for item in items:
        for row in (str(row) for mark in item.iter_markers("failure") for row in mark.args):
            if row not in FAULTS:
                raise pytest.UsageError(f"{item.nodeid}: there is no row {row!r} in tests/failures/rows.toml")
            item.user_properties.append(("failure", row))
