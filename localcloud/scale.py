"""Scale: the largest layer, the largest execution, and many executions, one after the other on one local cloud.

`python -m localcloud.scale [--sizes 1x1x500,1x10x100,200x2x3]`. Exit code 0 only if everything ended right, as `localcloud.load` judges
it. The figures go between the marks of docs/performance.md.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console

from localcloud import performance_page
from localcloud.cloud import CONTROL_ACCOUNT, REPOSITORY, LocalCloud
from localcloud.deployment import STACK_NAME
from localcloud.gauges import Readings
from localcloud.installation import install
from localcloud.load import TIME_SCALE, Figures, Load, Size, machine, short, spread

_SIZES: Final = "1x1x500,1x10x100,200x2x3"


def section(found: Sequence[Figures]) -> str:
    """The figures in Markdown, a column for each size."""
    rows = [
        ("executions x layers x resources", [f"{one.size.executions} x {one.size.layers} x {one.size.resources}" for one in found]),
        ("ended right", ["all" if not one.wrong else f"no: {'; '.join(one.wrong)}" for one in found]),
        ("requests to the last request for approval, with all preflights", [f"{one.request_seconds:.0f} s" for one in found]),
        ("first approval to the last end", [f"{one.run_seconds:.0f} s" for one in found]),
        ("resources", [f"{one.size.in_all / one.run_seconds:.1f} / s" for one in found]),
        ("`Resource Requested` to `Resource Started`", [spread(one.hops) for one in found]),
        ("last success of a layer to its close", [spread(one.closes) for one in found]),
        ("resources with more than one attempt", [str(one.retried) for one in found]),
        ("wake-ups that the sweep sent again", [str(sum(one.wake_ups.values())) for one in found]),
        ("AWS calls for a resource, this command's own included", [f"{one.calls / one.size.in_all:.0f}" for one in found]),
        ("where messages waited longest", [_bottleneck(one.readings) for one in found]),
        ("the largest report, as HTML", [f"{one.report_kib:.0f} KiB" for one in found]),
        ("the dashboard's page of an execution", [f"{one.page_kib:.0f} KiB" for one in found]),
        ("memory of the cloud's processes, peak", [f"{one.readings.peak_mib_together:.0f} MiB" for one in found]),
        ("the machine meanwhile", [machine(one.readings) for one in found]),
    ]
    head = f"Measured on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, the emulators and all functions on this one machine."
    lines = [head, "", f"| {' | '.join(['', *rows[0][1]])} |", "|---" * (len(found) + 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join([name, *values])} |" for name, values in rows[1:])]) + "\n"


def _bottleneck(readings: Readings) -> str:
    """The stack's queue whose oldest message waited longest, and how many it held at most."""
    own = [queue for queue in readings.ages if queue.startswith(STACK_NAME)]
    queue = max(own, key=lambda one: max(readings.ages[one]), default=None)
    return "nowhere" if queue is None else f"{short(queue)}: {max(readings.ages[queue]):.0f} s, {readings.deepest[queue]} messages"


def _size(text: str) -> Size:
    executions, layers, resources = map(int, text.split("x"))
    return Size(executions, layers, resources)


def main() -> int:
    """Run each size. Gives the exit code: 0 if everything ended right, 1 if not."""
    parser = argparse.ArgumentParser(description="Large layers, large executions, and many executions on a local cloud.")
    parser.add_argument("--sizes", default=_SIZES, help="executions x layers x resources, such as 1x1x500, separated by commas")
    parser.add_argument("--no-page", action="store_true", help="print the figures, and leave docs/performance.md as it is")
    options = parser.parse_args()
    out, found = Console(highlight=False, width=200), []
    cloud = LocalCloud.start(REPOSITORY / ".local" / "scale" / str(os.getpid()), time_scale=TIME_SCALE)
    try:
        os.environ.update(cloud.environment(CONTROL_ACCOUNT))
        outputs = install(cloud, approval_seconds=7200)
        for size in map(_size, options.sizes.split(",")):
            load = Load(cloud, outputs, size)
            load.prepare()
            found.append(load.run())
            out.print(f"{size}: {found[-1].run_seconds:.0f} s, {'all right' if not found[-1].wrong else found[-1].wrong}", markup=False)
    finally:
        cloud.stop()
    text = section(found)
    out.print(text, markup=False)
    if not options.no_page:
        performance_page.write("scale", text)
    return 1 if any(one.wrong for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
