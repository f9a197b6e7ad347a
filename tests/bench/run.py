"""What one run of a case gave, whoever ran it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from localcloud import journal
from localcloud.cloud import LocalCloud
from localcloud.gauges import processor_seconds
from tests.bench.cases import Case


@dataclass(frozen=True)
class Run:
    """From the approval to the end.

    `lags`: seconds from each resource's goal to the moment at which the engine knew of it, sorted. `steps`: events of the product, state
    transitions of Step Functions. `invocations`: of functions, and `billed_seconds` of them all. `calls`: those that passed the gateway, by
    service and operation, and `items` those that they named in DynamoDB. `processor`: seconds of it, by part of the local cloud.
    """

    case: Case
    wall_seconds: float
    lags: Sequence[float]
    steps: int
    invocations: int
    billed_seconds: float
    calls: Mapping[tuple[str, str], int]
    items: Mapping[tuple[str, str], int]
    processor: Mapping[str, float]

    @property
    def overhead(self) -> float:
        """Seconds over the critical path."""
        return self.wall_seconds - self.case.critical_path

    def lag(self, share: float) -> float:
        """The lag that `share` of the resources did not exceed."""
        return self.lags[min(len(self.lags) - 1, int(share * len(self.lags)))]

    def called(self, service: str, *operations: str) -> int:
        """How often these operations were called, without names all of the service."""
        return sum(
            number for (one, operation), number in self.calls.items() if one == service and (not operations or operation in operations)
        )


@dataclass
class Meter:
    """What the machine did within a with statement."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    items: Counter[tuple[str, str]] = field(default_factory=Counter)
    processor: dict[str, float] = field(default_factory=dict)


@contextmanager
def metered(cloud: LocalCloud) -> Iterator[Meter]:
    """Count the calls and the processor time until the end of the with statement."""
    meter, position, before = Meter(), cloud.journal.stat().st_size, processor_seconds(cloud)
    yield meter
    meter.processor = {part: seconds - before.get(part, 0.0) for part, seconds in processor_seconds(cloud).items()}
    for call in journal.read(cloud.journal, position):
        meter.calls[call.service, call.operation] += 1
        meter.items[call.service, call.operation] += call.items
