"""How long it took before: what an approver, an operator who watches, and a report compare with."""

from itertools import islice

from dr_core.phases import Phase
from dr_core.records import ExecutionStatus
from dr_core.state import Table

_COMPLETED = (ExecutionStatus.SUCCEEDED, ExecutionStatus.SUCCEEDED_WITH_FAILURES)
_MOST = 10


def completed_seconds(table: Table, application: str, phase: Phase) -> list[float]:
    """How many seconds the newest ten completed executions of a phase took from the opening of the first layer, newest first."""
    completed = (one for one in table.past_runs(application, phase) if one.status in _COMPLETED)
    return [one.running_seconds for one in islice(completed, _MOST) if one.running_seconds is not None]
