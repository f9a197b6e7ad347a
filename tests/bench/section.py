"""The section of docs/performance.md: the table, the picture, and what was aimed at."""

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from tests.bench.cases import CHECK_SECONDS
from tests.bench.price import of_nested, of_orchestrator, read_units, write_units
from tests.bench.run import Run

Pair = tuple[Run, Run]  # the product's run of a case, and that of the nested state machines


def section(pairs: Sequence[Pair], load_average: float, told: Run | None = None) -> str:
    """Markdown; `load_average`: of the machine before it began, so that a reader knows what else it did.

    `told`: the product's run of the case whose service says when it is done.
    """
    head = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"load average before it began {load_average:.1f}."
    )
    return "\n\n".join((head, _table(pairs), _told(told), _picture(pairs), _targets(pairs, told), _work(pairs))) + "\n"


def _table(pairs: Sequence[Pair]) -> str:
    lines = [
        "| Case | Critical path | Ours: overhead | Nested: overhead | Ours / nested | Lag p50, p95: ours | Lag p50, p95: nested |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for ours, nested in pairs:
        lines.append(
            f"| {ours.case.name} | {ours.case.critical_path:.1f} s | {ours.overhead:.1f} s | {nested.overhead:.1f} s "
            f"| {ours.overhead / nested.overhead:.2f} | {_lags(ours)} | {_lags(nested)} |"
        )
    return "\n".join(lines)


def _told(run: Run | None) -> str:
    if run is None:
        return "The case of events was not run."
    what = (
        f"{run.case.name}: {run.case.resources} resources whose checks are up to a minute apart. Their service says when each is done, by"
    )
    how = f"an event on the default bus of the applications' account: lag p50, p95 {_lags(run)}, at most {run.lags[-1]:.2f} s."
    return f"{what}\n{how} The functions\nare warm. Nested state machines have nothing that hears of it."


def _lags(run: Run) -> str:
    return f"{run.lag(0.5):.2f} s, {run.lag(0.95):.2f} s"


def _picture(pairs: Sequence[Pair]) -> str:
    shown = [pair for pair in pairs if "checked" in pair[0].case.name]
    names = ", ".join(f'"{ours.case.name.partition(",")[0]}"' for ours, _ in shown)
    return "\n".join(
        (
            "Overhead of the cases that are checked, in seconds: bars are ours, the line is that of the nested state machines.",
            "",
            "```mermaid",
            "xychart-beta",
            f"    x-axis [{names}]",
            '    y-axis "seconds over the critical path"',
            f"    bar [{', '.join(f'{ours.overhead:.1f}' for ours, _ in shown)}]",
            f"    line [{', '.join(f'{nested.overhead:.1f}' for _, nested in shown)}]",
            "```",
        )
    )


def _targets(pairs: Sequence[Pair], told: Run | None) -> str:
    found = {ours.case.name: (ours, nested) for ours, nested in pairs}
    lines = ["| Aim | Measured | Met |", "|---|---|---|"]

    def aim(text: str, measured: str, met: bool) -> None:
        lines.append(f"| {text} | {measured} | {'yes' if met else '**no**'} |")

    for name in ("3 x 100", "10 x 20"):
        for kind in ("instant", "checked"):
            if pair := found.get(f"{name}, {kind}"):
                share = pair[0].overhead / pair[1].overhead
                aim(f"{name}, {kind}: overhead at most half of nested", f"{share:.2f}", share <= 0.5)
    for kind in ("instant", "checked"):
        few, layers, large = (found.get(f"{name}, {kind}") for name in ("10 x 20", "20 x 20", "3 x 100"))
        if few and layers:
            growth = layers[0].overhead / few[0].overhead
            aim(f"20 x 20 against 10 x 20, {kind}: overhead as the layers, 2 (and a tenth)", f"{growth:.2f}", growth <= 2.2)
        if few and large:
            growth = (large[0].overhead / 3) / (few[0].overhead / 10)
            aim(f"a layer of 100 against one of 20, {kind}: overhead at most as the resources, 5", f"{growth:.2f}", growth <= 5)
    if pairs:
        worst, which = max((ours.overhead / nested.overhead, ours.case.name) for ours, nested in pairs)
        aim("overhead never above nested", f"at worst {worst:.2f}, {which}", worst <= 1)
    polled = [ours for ours, _ in pairs if "checked" in ours.case.name]
    if polled:
        lag = max(ours.lag(0.95) for ours in polled)
        expected = 0.95 * CHECK_SECONDS  # of a goal that may fall anywhere between two checks
        aim("lag p95 of what is checked: at most 1.2 of the interval's", f"{lag:.2f} s, {lag / expected:.2f}", lag <= 1.2 * expected)
    if told is not None:
        aim("lag p95 where the service says when it is done: at most 1 s", f"{told.lag(0.95):.2f} s", told.lag(0.95) <= 1)
    for ours, _ in pairs:
        if ours.case.name.startswith("Aurora"):
            share = ours.wall_seconds / ours.case.critical_path
            aim("realistic durations: at most 1.05 of the critical path", f"{share:.3f}", share <= 1.05)
    return "\n".join(lines)


def _work(pairs: Sequence[Pair]) -> str:
    lines = [
        "| Case | | Events or transitions | Invocations | Write units | Read units | Calls | Processor | On AWS |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for ours, nested in pairs:
        prices: tuple[tuple[str, Run, Callable[[Run], float]], ...] = (("ours", ours, of_orchestrator), ("nested", nested, of_nested))
        for name, run, price in prices:
            lines.append(
                f"| {run.case.name} | {name} | {run.steps} | {run.invocations} | {write_units(run)} | {read_units(run)} "
                f"| {sum(run.calls.values())} | {sum(run.processor.values()):.1f} s | ${price(run):.4f} |"
            )
    return "\n".join(lines)
