"""The load of `make load`, smaller: everything at once ends right, and the figures are those of the run."""

from localcloud.load import Load, Size, section
from tests.integration.stack.operator import Operator


def test_many_executions_at_once(operator: Operator) -> None:
    load = Load(operator.cloud, operator.outputs, Size(6, 3, 4))
    load.prepare()
    figures = load.run()

    assert figures.wrong == []
    assert len(figures.seconds_by_execution) == 6 and len(figures.hops) == 72 and len(figures.closes) == 18
    assert 0 < figures.seconds_by_execution[0] <= figures.seconds_by_execution[-1] <= figures.run_seconds
    # Requested, preflown, asked, approved, started, completed; a layer's start and end; a resource's request, start and success.
    assert figures.events >= 6 * (6 + 2 * 3 + 3 * 12)
    assert figures.readings.peak_mib["functions"] > 50 and figures.readings.processor_seconds["ministack"] > 0
    assert figures.readings.machine_busy_seconds > sum(figures.readings.processor_seconds.values())
    assert {"StartResourceQueue", "AdvanceQueue"} <= {queue.split("-")[-2] for queue in figures.readings.ages}

    assert "| ended right | all |" in section(figures)
