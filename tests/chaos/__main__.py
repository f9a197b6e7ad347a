"""`python -m tests.chaos [--seed N] [--minutes M] [--mutant NAME | --mutants]`: a chaos run on a local cloud of its own.

Exit code 0: no violation; with a mutant, that one was found.
"""

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table as Grid

from dr_core.records import Execution
from localcloud.cloud import REPOSITORY
from tests.chaos.harness import Options, Result, run
from tests.chaos.mutants import MUTANTS

_DIRECTORY: Final = REPOSITORY / ".local" / "chaos"
_MUTANT_MINUTES: Final = 10.0


def main() -> int:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of everything that is drawn; by default a new one")
    parser.add_argument(
        "--minutes", type=float, default=None, help="how long executions are started; by default 2, with a mutant at most 10"
    )
    parser.add_argument("--applications", type=int, default=3, help="how many have an execution at the same time")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="deploy the product without this guard: the run must find out")
    parser.add_argument("--mutants", action="store_true", help="all of them, one after the other")
    given = parser.parse_args()
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    if given.mutants:
        return _all_mutants(out, seed, given.minutes or _MUTANT_MINUTES, given.applications)
    minutes = given.minutes or (_MUTANT_MINUTES if given.mutant else 2.0)
    result = _run(out, seed, minutes, given.applications, given.mutant)
    if given.mutant:
        return 0 if result.found_after is not None else 1
    return 1 if result.violations else 0


def _run(out: Console, seed: int, minutes: float, applications: int, mutant: str | None) -> Result:
    directory = _directory(seed, mutant)
    again = f"make chaos SEED={seed} MINUTES={minutes:g}" + (f" MUTANT={mutant}" if mutant else "")
    out.rule(f"seed {seed}, {minutes:g} minutes" + (f", without the guard {mutant}" if mutant else ""), align="left")
    options = Options(seed, minutes * 60, directory, applications, mutant)
    began = time.monotonic()
    result = run(options, lambda line: out.print(f"{time.monotonic() - began:6.1f} s  {line}"))
    out.print(*report(result), sep="\n")
    for violation in result.violations[:20]:
        out.print(f"[bold red]VIOLATION[/] {violation.at} {violation.invariant} {violation.execution_id}: {violation.what}")
    if mutant and result.found_after is not None:
        out.print(f"[bold]the guard {mutant} is missed after {result.found_after:.0f} s[/]")
    out.print(f"{len(result.violations)} violations, {result.seconds:.0f} s. Again: {again}\nPlan, table and violations: {directory}")
    return result


def _all_mutants(out: Console, seed: int, minutes: float, applications: int) -> int:
    grid = Grid(title="Guards taken away", title_justify="left")
    for column in ("guard", "missed after", "invariant", "what was seen"):
        grid.add_column(column)
    missed = 0
    for mutant in MUTANTS:
        result = _run(out, seed, minutes, applications, mutant)
        missed += result.found_after is None
        first = result.violations[0] if result.violations else None
        after = f"{result.found_after:.0f} s" if result.found_after is not None else "NEVER"
        grid.add_row(mutant, after, first.invariant if first else "", first.what if first else "")
    out.print(grid)
    return 1 if missed else 0


def _directory(seed: int, mutant: str | None) -> Path:
    stem = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{seed}"
    return _DIRECTORY / (f"{stem}-{mutant}" if mutant else stem)


def report(result: Result) -> list[Grid]:
    """What happened, and what was checked."""
    seen = [one for one in result.witness.executions.values() if isinstance(one.records.get("META"), Execution)]
    statuses: dict[str, int] = {}
    for one in seen:
        status = str(one.execution(one.id).status)
        statuses[status] = statuses.get(status, 0) + 1
    what = Grid(title="What happened", title_justify="left", show_header=False)
    resources = sum(len(one.resources(one.id)) for one in seen)
    what.add_row("executions", f"{len(seen)}, and {len(result.witness.refused)} refused: {_listed(statuses)}")
    what.add_row("resources", f"{resources}, {sum(sum(one.claims.values()) for one in seen)} times claimed")
    what.add_row("changes of the table", str(result.witness.changes))
    what.add_row("calls through the gateway", str(result.calls))
    receipts = {f"{name} {outcome.lower()}": count for (name, outcome), count in sorted(result.witness.receipts.items())}
    what.add_row("commands", f"{result.sent.total()} sent; {_listed(receipts)}")
    what.add_row("messages", _listed(dict(sorted(result.deliveries.items()))))
    what.add_row("sweeps; executors killed", f"{result.sweeps}; {result.killed} before their leases were taken to be over")
    faults = Grid(title="Faults", title_justify="left")
    for column in ("kind", "set", "calls struck"):
        faults.add_column(column, justify="left" if column == "kind" else "right")
    for kind, count in sorted(result.injected.items()):
        faults.add_row(kind, str(count), str(result.hit[kind]))
    checks = Grid(title="Invariants", title_justify="left")
    checks.add_column("held against")
    checks.add_column("times", justify="right")
    for name, count in sorted(result.witness.checked.items(), key=lambda pair: _order(pair[0])):
        checks.add_row(name, str(count))
    return [what, faults, checks]


def _order(name: str) -> tuple[int, str]:
    number = name.split()[0].removeprefix("I")
    return (int(number) if number.isdigit() else 99, name)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


if __name__ == "__main__":
    sys.exit(main())
