"""How soon checks notice an end, and how many of them it takes: without knowledge of earlier runs, and with it.

`python -m tests.bench.checks`. The product's own schedule is followed for made-up operations, in no time; durations vary as those of one
operation do, by a twentieth (standard deviation), and chance is seeded. The figures go between the marks of docs/performance.md.
"""

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
        f"Many of one layer, module and account at once ({module}, {seconds:.0f} s, five runs known, one call for each check):",
        "",
    ]
    head = (
        "Together",
        "Lag: mean, p95",
        "Checks a minute, each",
        "Calls a second, all",
        "If one call told of ten: lag",
        "Checks a minute, each",
    )
    lines += [f"| {' | '.join(head)} |", "|---:" * len(head) + "|"]
    for peers in _TOGETHER:
        found = followed(seconds, cap, 5, peers=peers)
        tens = followed(seconds, cap, 5, peers=-(-peers // 10))
        lines.append(f"| {peers} | {found} | {peers * found.checks_per_minute / 60:.1f} | {tens} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Follow the schedule. Gives the exit code, 0."""
    found = section()
    sys.stdout.write(found)
    performance_page.write("checks", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
