"""What must never be, and where an execution may rest."""

from collections import Counter

from dr_core.records import ApprovalStatus, ExecutionStatus, LayerStatus, ResourceStatus
from tests.model.facts import Book, Facts
from tests.model.protocol import Executor, Now, Protocol
from tests.support.memory_table import SOURCE, TARGET

_GOOD = (ResourceStatus.SUCCEEDED, ResourceStatus.SKIPPED)


class Properties:
    """The properties of a protocol's states; those of the records are looked at once for each set of records."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._records: dict[Facts, str] = {}
        self._settled: dict[Facts, bool] = {}

    def unsafe(self, now: Now) -> str:
        """What is wrong with the state, empty if nothing is."""
        if now.wrong:
            return now.wrong
        if any(count > 1 for acts in now.acts for count in acts):
            return "two acts in one attempt"
        executors = Counter(f.number for f in now.functions if isinstance(f, Executor))
        if not self._protocol.mutation.lease_too_short and any(count > 1 for count in executors.values()):
            return "two executors hold one resource"
        if not self._protocol.variant.force_complete:
            for resource, world in zip(self._protocol.book.resources(now.facts), now.world, strict=True):
                if resource.status is ResourceStatus.SUCCEEDED and world != "done":
                    return f"{resource.id} SUCCEEDED, but the world is {world}"
        if now.facts not in self._records:
            self._records[now.facts] = _wrong_with(self._protocol.book, now.facts)
        return self._records[now.facts]

    def settled(self, now: Now) -> bool:
        """Ended, or waiting for a person."""
        if now.facts not in self._settled:
            table = self._protocol.book.table(now.facts)
            execution = table.execution("e1")
            waits = execution.status is ExecutionStatus.PENDING_APPROVAL and table.approval("e1").status == "PENDING"
            resting = (ExecutionStatus.FAILED, ExecutionStatus.PAUSED)
            self._settled[now.facts] = execution.status.is_terminal or execution.status in resting or waits
        return self._settled[now.facts]


def _wrong_with(book: Book, facts: Facts) -> str:
    table, resources = book.table(facts), book.resources(facts)
    execution, layers = table.execution("e1"), table.layers("e1")
    approved = {one.layer for one in table.approvals("e1") if one.status is ApprovalStatus.APPROVED}
    for layer in layers:
        if layer.status is LayerStatus.PENDING:
            continue
        if 0 not in approved or (layer.approval_seconds is not None and layer.number not in approved):
            return f"layer {layer.number} is open and nobody has approved it"
        earlier = [r for r in resources if r.layer < layer.number]
        if not all(r.status in _GOOD for r in earlier):
            return f"layer {layer.number} is open while an earlier one is not done"
    if execution.status is ExecutionStatus.SUCCEEDED and not all(r.status in _GOOD for r in resources):
        return "SUCCEEDED with unfinished resources"
    if execution.status is ExecutionStatus.FAILED:
        current = [r for r in resources if r.layer == execution.current_layer]
        if not any(r.status.is_failure for r in current):
            return "FAILED without a failed resource"
        if not all(r.status.is_terminal or r.status in ("PENDING", "RETRY_WAIT") for r in current):
            return "FAILED with work under way"
    if execution.status is ExecutionStatus.CANCELLED and any(r.status in ("STARTING", "WAITING") for r in resources):
        return "CANCELLED with work under way"
    if any((table.lock(region).owner == "e1") == execution.status.is_terminal for region in (SOURCE, TARGET)):
        return "the locks are not held to the end, and no longer"
    if execution.status.is_terminal and book.is_due(facts):
        return "a timer after the end"
    if execution.status is not ExecutionStatus.FAILED and not execution.status.is_terminal and execution.due_at is None:
        return "the sweep cannot see the execution"
    return ""
