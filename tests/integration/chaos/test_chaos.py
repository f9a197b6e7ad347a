"""A short chaos run with a fixed seed: everything at once on the deployed stack, and every invariant holds."""

from pathlib import Path

import pytest

from dr_core.records import ExecutionStatus
from tests.chaos.harness import Options, run
from tests.chaos.plan import Emphasis

pytestmark = pytest.mark.integration


def test_nothing_that_must_hold_is_broken(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = Path(tmp_path_factory.mktemp("chaos"))
    result = run(
        Options(seed=20, seconds=20, directory=directory, applications=2, emphasis=Emphasis(largest=3), die_with_parent=True), print
    )
    assert not result.violations
    ended = result.witness.ended()
    statuses = [seen.execution(seen.id).status for seen in ended]
    assert len(ended) >= 2
    assert any(status in (ExecutionStatus.SUCCEEDED, ExecutionStatus.SUCCEEDED_WITH_FAILURES) for status in statuses), statuses
    assert sum(sum(seen.claims.values()) for seen in ended) >= 2
    assert result.witness.checked["I11 the events tell what is stored"] == len(ended)
    assert result.witness.checked["the stream told what is stored"] > 0
    assert result.deliveries["event twice"] and result.deliveries["event late"]
    assert {"plan.json", "table.jsonl", "violations.json"} <= {path.name for path in directory.iterdir()}
