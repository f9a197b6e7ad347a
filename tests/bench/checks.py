"""How soon checks notice an end, and how many of them it takes: without knowledge of earlier runs, and with it.

`python -m tests.bench.checks`. The product's own schedule is followed for made-up operations, in no time; durations vary as those of one
operation do, by a twentieth (standard deviation), and chance is seeded. The figures go between the marks of docs/performance.md.

Many at once are followed together, as Lambda delivers their messages: some pollers, each of which takes up to ten messages that are
visible when it asks and comes back when all of them have been dealt with, and more of them while messages are left over. Of a batch the
first asks by itself, since nobody waits for company, and the others share the next call.
"""

import heapq
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Final

from dr_core.checks import READS_PER_SECOND, check_delay
from dr_modules.base import modules
from localcloud import performance_page

FIRST_CHECK_SECONDS: Final = 5.0  # the template's FirstCheckSeconds
_SEED: Final = 8
_TIMES: Final = 2000
_VARIES: Final = 0.05
# What the specification's targets name: module, seconds that the operation takes.
_OPERATIONS: Final = (("ECS", 60.0), ("AuroraMySQL", 90.0), ("DRS", 540.0))
_TOGETHER: Final = (1, 20, 100, 500)
# docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html: five batches at first, up to 300 a minute more while messages are left.
_POLLERS, _MORE_POLLERS_PER_SECOND = 5, 5.0
_CHECK_SECONDS: Final = (0.15, 0.35)  # that one check takes: assumed
_BATCH: Final = 10


@dataclass(frozen=True)
class Found:
    """Of many operations: seconds from the end to the check that saw it, sorted; checks of one in a minute."""

    lags: Sequence[float]
    checks_per_minute: float

    def __str__(self) -> str:
        p95 = self.lags[int(0.95 * len(self.lags))]
        return f"{mean(self.lags):.1f} s, {p95:.1f} s | {self.checks_per_minute:.1f}"


def followed(seconds: float, cap: float, runs: int, error: float = 1.0, peers: int = 1) -> Found:
    """Operations of about so many seconds, checked with the knowledge of so many runs, whose times are wrong by the factor `error`."""
    chance = random.Random(_SEED)
    lags, checks, minutes = [], 0, 0.0
    for _ in range(_TIMES):
        length = _varied(chance, seconds)
        known = [error * _varied(chance, seconds) for _ in range(runs)]
        passed, check_no = 0.0, 0
        while passed < length or not check_no:
            least = peers / READS_PER_SECOND if check_no else 0.0
            delay = check_delay(check_no, FIRST_CHECK_SECONDS, cap, chance.random(), passed=passed, known=known, least=least)
            passed += max(1, round(delay))  # a queue holds back whole seconds
            check_no += 1
        lags.append(passed - length)
        checks += check_no
        minutes += passed / 60
    return Found(sorted(lags), checks / minutes)


@dataclass(frozen=True)
class Crowded:
    """Of many operations at once: as `Found`; reading calls for one in a minute, and of all in a second; messages of a batch."""

    found: Found
    calls_per_minute: float
    calls_per_second: float
    batch: float


class _Pollers:
    """Take messages, each due at a time, out of a queue as Lambda does."""

    def __init__(self) -> None:
        self._free = [0.0] * _POLLERS
        self._added = 0.0

    def take(self, queue: list[tuple[float, int]]) -> tuple[float, list[int]]:
        """When the next batch is taken, and whose messages are in it. `queue` is a heap, not empty."""
        now = max(heapq.heappop(self._free), queue[0][0])
        batch: list[int] = []
        while queue and queue[0][0] <= now and len(batch) < _BATCH:
            batch.append(heapq.heappop(queue)[1])
        if queue and queue[0][0] <= now and now - self._added > 1 / _MORE_POLLERS_PER_SECOND:
            self.back(now)
            self._added = now
        return now, batch

    def back(self, at: float) -> None:
        """One of them is free again."""
        heapq.heappush(self._free, at)


def crowded(seconds: float, cap: float, runs: int, peers: int, *, share: bool) -> Crowded:
    """`peers` operations of one layer, module and account, checked with one kind of reading call, which those of a batch share or not."""
    chance = random.Random(_SEED)
    lags: list[float] = []
    minutes, checks, calls, batches = 0.0, 0, 0.0, 0
    for _ in range(max(2, _TIMES // peers)):
        lengths = [_varied(chance, seconds) for _ in range(peers)]
        known = [[_varied(chance, seconds) for _ in range(runs)] for _ in range(peers)]
        begun = [chance.random() for _ in range(peers)]
        queue = [(begun[one] + max(1, round(check_delay(0, FIRST_CHECK_SECONDS, cap, chance.random()))), one) for one in range(peers)]
        heapq.heapify(queue)
        check_no, pollers = [0] * peers, _Pollers()
        while queue:
            now, batch = pollers.take(queue)
            ends = [now + chance.uniform(*_CHECK_SECONDS) for _ in batch]
            pollers.back(max(ends))
            shares = _shares(len(batch)) if share else [1.0] * len(batch)
            checks, calls, batches = checks + len(batch), calls + sum(shares), batches + 1
            for one, end, reads in zip(batch, ends, shares, strict=True):
                passed, least = now - begun[one], peers * reads / READS_PER_SECOND
                check_no[one] += 1
                if passed >= lengths[one]:
                    lags.append(passed - lengths[one])
                    minutes += passed / 60
                    continue
                passed = end - begun[one]
                jitter = chance.random()
                delay = check_delay(check_no[one], FIRST_CHECK_SECONDS, cap, jitter, passed=passed, known=known[one], least=least)
                heapq.heappush(queue, (end + max(1, round(delay)), one))
    return Crowded(Found(sorted(lags), checks / minutes), calls / minutes, peers * calls / minutes / 60, checks / batches)


def burst(messages: int) -> tuple[int, int]:
    """Of so many checks that come within a second: the batches, and the reading calls of one kind that they share."""
    chance = random.Random(_SEED)
    queue = [(chance.random(), one) for one in range(messages)]
    heapq.heapify(queue)
    pollers, sizes = _Pollers(), []
    while queue:
        now, batch = pollers.take(queue)
        pollers.back(now + max(chance.uniform(*_CHECK_SECONDS) for _ in batch))
        sizes.append(len(batch))
    return len(sizes), round(sum(sum(_shares(size)) for size in sizes))


def _shares(batch: int) -> list[float]:
    """Of the reading calls of a batch, what each counts as its own: the first asks alone, the others share the next call."""
    return [1.0] + [1 / (batch - 1)] * (batch - 1) if batch > 1 else [1.0]


def _varied(chance: random.Random, seconds: float) -> float:
    return max(1.0, chance.gauss(seconds, _VARIES * seconds))


def section() -> str:
    """The figures in Markdown."""
    known = (("nothing", 0, 1.0), ("one run", 1, 1.0), ("five runs", 5, 1.0), ("half the time", 5, 0.5), ("twice the time", 5, 2.0))
    lines = ["| Operation | Known | Lag: mean, p95 | Checks a minute |\n|---|---|---:|---:|"]
    for module, seconds in _OPERATIONS:
        cap = modules()[module].check_cap_seconds
        for name, runs, error in known:
            lines.append(f"| {module}, {seconds:.0f} s, cap {cap} s | {name} | {followed(seconds, cap, runs, error)} |")
    module, seconds = _OPERATIONS[0]
    cap = modules()[module].check_cap_seconds
    lines += [
        "",
        f"Many of one layer, module and account at once ({module}, {seconds:.0f} s, five runs known, one kind of reading call):",
        "",
    ]
    head = (
        "At once",
        "Reading calls",
        "Lag: mean, p95",
        "Checks a minute, each",
        "Reading calls a minute, each",
        "Reading calls a second, all",
        "Messages of a batch",
    )
    lines += [f"| {' | '.join(head)} |", "|---:|---" + "|---:" * (len(head) - 2) + "|"]
    for peers in _TOGETHER:
        for name, share in (("shared, as it is", True), ("one for each check", False)):
            many = crowded(seconds, cap, 5, peers, share=share)
            figures = f"{many.calls_per_minute:.1f} | {many.calls_per_second:.1f} | {many.batch:.1f}"
            lines.append(f"| {peers} | {name} | {many.found} | {figures} |")
        tens = followed(seconds, cap, 5, peers=-(-peers // _BATCH))
        calls = tens.checks_per_minute / min(peers, _BATCH)
        lines.append(f"| {peers} | if always ten met | {tens} | {calls:.1f} | {peers * calls / 60:.1f} | {min(peers, _BATCH)} |")
    lines += ["", "Checks that come within one second, such as after an event of AWS for each resource:", ""]
    lines += ["| Checks | Batches | Reading calls, one for each check | Shared, as it is |", "|---:" * 4 + "|"]
    for messages in _TOGETHER[1:]:
        batches, calls_made = burst(messages)
        lines.append(f"| {messages} | {batches} | {messages} | {calls_made} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Follow the schedule. Gives the exit code, 0."""
    found = section()
    sys.stdout.write(found)
    performance_page.write("checks", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
