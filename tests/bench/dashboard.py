"""The dashboard's first page with many executions in the table: what the deployed function takes, and how much it reads.

`python -m tests.bench.dashboard [--executions 5000] [--live 100]`. The stack is deployed to a local cloud; executions with their layers
are written into its table, those that live with their resources too, every tenth of them halted; then the function is invoked as
CloudWatch does it, cold and warm. Exit code 0 only if every page named the failed resources, and the same reads made each. The figures
go between the marks of docs/performance.md.

Durations are those of the emulator's REPORT lines, those of the calls the gateway's. The processor time is that of the function's process,
whatever else the machine does. Read units are counted by DynamoDB's rule (each read in steps of 4 KB, half a unit a step where it need not
be consistent), from the answers to the same page made here.
"""

import argparse
import json
import math
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

from dr_core.errors import ErrorClass
from dr_core.items import EXECUTION_SK, ApprovalItem, ExecutionItem, Item, LayerItem, ResourceItem
from dr_core.mapping import item_of
from dr_core.records import ApprovalStatus, ExecutionStatus, Failure, LayerStatus, ResourceStatus
from dr_core.state import Table
from dr_people import board_shells
from dr_people.board import Board
from dr_people.wellbeing import Wellbeing
from localcloud import performance_page
from localcloud.cloud import CONTROL_ACCOUNT, REPOSITORY, STANDBY_REGION, LocalCloud
from localcloud.deployment import STACK_NAME
from localcloud.installation import install
from tests.bench.invocations import REPORT
from tests.support.control_plane import a_layer, a_resource, an_approval, an_execution

FUNCTION: Final = f"{STACK_NAME}-show-dashboard"
COLD, WARM = 5, 30
_LAYERS, _RESOURCES, _EVERY_TENTH = 3, 10, 10
_READ_UNIT: Final = 4096  # bytes
_CALLS: Final = ("Query", "GetItem", "BatchGetItem", "Scan", "GetMetricData", "GetQueueAttributes")


@dataclass(frozen=True)
class Invocation:
    """One page: how long the function took, the calls that it made, by service and operation, with theirs, and the processor's."""

    milliseconds: float
    calls: Sequence[tuple[str, float]]
    html: str
    processor_milliseconds: float

    @property
    def waited(self) -> float:
        """Milliseconds of its calls, as if one came after the other."""
        return sum(took for _, took in self.calls)

    @property
    def reads(self) -> Counter[str]:
        """The reads of the table."""
        return Counter(name.removeprefix("dynamodb:") for name, _ in self.calls if name.startswith("dynamodb:"))

    @property
    def others(self) -> Counter[str]:
        """The calls to other services."""
        return Counter(name for name, _ in self.calls if not name.startswith("dynamodb:"))


@dataclass(frozen=True)
class Figures:
    """What was measured. `units`: read units of one page."""

    executions: int
    live: int
    items: int
    cold: Sequence[Invocation]
    warm: Sequence[Invocation]
    units: float

    @property
    def wrong(self) -> list[str]:
        """What is not as it should be."""
        pages = [*self.cold, *self.warm]
        reads = {tuple(sorted(one.reads.items())) for one in pages}
        wrong = [] if len(reads) == 1 else [f"the reads are not always the same: {sorted(reads)}"]
        return wrong + ["a page does not name what failed"] * any("AccessDenied" not in one.html for one in pages)


class Filling:
    """Writes executions as they would be there after months. No events: what is written here wakes nobody up."""

    def __init__(self, executions: int, live: int) -> None:
        """`live` of them have not ended."""
        self._executions, self._live = executions, live
        self._began = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)

    def write(self) -> int:
        """Write them; gives the number of items."""
        items = [item for number in range(self._executions) for item in self._items(number, f"01KBENCH0000000000000{number:05d}")]
        for model in (ExecutionItem, LayerItem, ResourceItem, ApprovalItem):
            with model.batch_write() as batch:
                for item in items:
                    if isinstance(item, model):
                        batch.save(item)
        return len(items)

    def _items(self, number: int, identity: str) -> list[Item]:
        lives, halted = number < self._live, number < self._live and number % _EVERY_TENTH == 0
        status = ExecutionStatus.FAILED if halted else ExecutionStatus.RUNNING if lives else ExecutionStatus.SUCCEEDED
        requested = self._began - timedelta(minutes=0 if lives else number)
        ended = None if lives else requested + timedelta(minutes=20)
        times = {"requested_at": requested, "started_at": requested, "ended_at": ended, "due_at": None}
        at = {"current_layer": 1 if lives else _LAYERS, "layers_total": _LAYERS}
        execution = an_execution(identity, application=f"application-{number % 50}", status=status, **times, **at)
        decided = {"status": ApprovalStatus.APPROVED, "due_at": None, "expires_at": requested, "decided_at": requested}
        found: list[Item] = [
            item_of(ExecutionItem, execution, f"EXEC#{identity}", EXECUTION_SK),
            item_of(ApprovalItem, an_approval(**decided), f"EXEC#{identity}", "APPR"),
        ]
        opened = LayerStatus.FAILED if halted else LayerStatus.RUNNING
        for layer in range(1, _LAYERS + 1):
            now = LayerStatus.SUCCEEDED if not lives else opened if layer == 1 else LayerStatus.PENDING
            found.append(item_of(LayerItem, a_layer(layer, _RESOURCES, status=now), f"EXEC#{identity}", f"LAYER#{layer:04d}"))
            found += [self._resource(identity, layer, index, halted) for index in range(1, _RESOURCES + 1) if lives]
        return found

    def _resource(self, identity: str, layer: int, index: int, halted: bool) -> ResourceItem:
        message = f"User: arn:aws:sts::222222222222:assumed-role/dr/dr-{identity} is not authorized to perform: rds:FailoverGlobalCluster"
        failure = Failure("AccessDenied", ErrorClass.TERMINAL, message, "5b0c29cf-3c3c-4c9a-8f58-3ad1d2a9a3a6")
        failed = {"status": ResourceStatus.FAILED, "failure": failure} if halted and index == 1 else {"status": ResourceStatus.WAITING}
        parameters = json.dumps({"GlobalClusterIdentifier": "global", "DBClusterIdentifier": "cluster", "Names": ["a-name"] * 100})
        made = a_resource(layer, index, **{"attempt": 1, "started_at": self._began, "parameters": parameters, **failed})
        return item_of(ResourceItem, made, f"EXEC#{identity}", f"RES#{made.id}")


def invoke(cloud: LocalCloud) -> Invocation:
    """One page, asked for as CloudWatch asks. Raises RuntimeError where the function fails."""
    position, began, before = cloud.journal.stat().st_size, int(time.time() * 1000), _processor_milliseconds()
    event = {"widgetContext": {"theme": "light"}}
    answer = cloud.client("lambda").invoke(FunctionName=FUNCTION, Payload=json.dumps(event).encode())
    payload, after = answer["Payload"].read().decode(), _processor_milliseconds()
    if "FunctionError" in answer:
        raise RuntimeError(payload)
    with cloud.journal.open("rb") as journal:
        journal.seek(position)
        lines = [json.loads(line) for line in journal]
    calls = [(f"{one['service']}:{one['operation']}", one["milliseconds"]) for one in lines if one["operation"] in _CALLS]
    return Invocation(_reported(cloud, began), calls, json.loads(payload), after - before)


def _processor_milliseconds() -> float:
    """How long the processors have worked for the processes that run the function, which are on this machine. Linux only."""
    mine = b"AWS_LAMBDA_FUNCTION_NAME=" + FUNCTION.encode()
    worked = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mine in (process / "environ").read_bytes().split(b"\0"):
                worked += sum(int((task / "schedstat").read_text().split()[0]) for task in (process / "task").iterdir())
    return worked / 1e6


def _reported(cloud: LocalCloud, began: int) -> float:
    """The duration in the REPORT line of the only invocation since that millisecond."""
    written = cloud.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{FUNCTION}", startTime=began)["events"]
    (duration,) = [found[1] for one in written if (found := REPORT.match(one["message"]))]
    return float(duration)


def make_cold(cloud: LocalCloud) -> None:
    """Let the next invocation find no environment: where the memory is set, they are made anew."""
    cloud.client("lambda").update_function_configuration(FunctionName=FUNCTION, MemorySize=1769)
    cloud.client("lambda").get_waiter("function_updated_v2").wait(FunctionName=FUNCTION)


def read_units(table: Table) -> float:
    """What the reads of the first page cost, made here on the same table."""
    units: list[float] = []

    def note(params: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
        context["consistent"] = params.get("ConsistentRead", False)

    def count(parsed: Mapping[str, Any], context: Mapping[str, Any], **_: object) -> None:
        found = parsed.get("Items", [parsed["Item"]] if "Item" in parsed else [])
        steps = max(1, math.ceil(sum(map(size, found)) / _READ_UNIT))
        units.append(steps * (1.0 if context["consistent"] else 0.5))

    events = table._connection.client.meta.events
    events.register("provide-client-params.dynamodb.*", note)
    events.register("after-call.dynamodb.*", count)
    board = Board(table, STANDBY_REGION, STACK_NAME, "", "drctl", lambda: datetime.now(UTC), lambda: Wellbeing(()))
    board_shells.widget({}, board, "arn")
    return sum(units)


def size(item: Mapping[str, Mapping[str, Any]]) -> int:
    """About the bytes that DynamoDB counts for an item: its attributes' names and values."""
    return sum(len(name.encode()) + len(str(next(iter(value.values()))).encode()) for name, value in item.items())


def section(figures: Figures) -> str:
    """The figures in Markdown."""
    one = figures.warm[0]
    warm, cold = f"warm, {len(figures.warm)} times", f"cold, {len(figures.cold)} times"
    rows = [
        ("executions in the table", f"{figures.executions}, of which {figures.live} have not ended; {figures.items} items"),
        ("pages as they should be", "all" if not figures.wrong else f"no: {'; '.join(figures.wrong)}"),
        ("reads of the table for a page, each time", f"{one.reads.total()}: {_counted(one.reads)}"),
        ("read units for a page", f"{figures.units:g}"),
        ("other calls for a page", _counted(one.others)),
        ("the page", f"{len(one.html) / 1024:.0f} KB"),
        (f"{warm}: duration that Lambda reports", _spread([each.milliseconds for each in figures.warm])),
        (f"{warm}: processor time of the function, calls included", _spread([each.processor_milliseconds for each in figures.warm])),
        (f"{warm}: its calls, one after the other", _spread([each.waited for each in figures.warm])),
        (f"{cold}, new process and imports included", _spread([each.milliseconds for each in figures.cold])),
        (f"{cold}: its calls", _spread([each.waited for each in figures.cold])),
        (f"{cold}: processor time of the new process", _spread([each.processor_milliseconds for each in figures.cold])),
    ]
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, {platform.system()}, Python {platform.python_version()}; "
        f"the load average was {os.getloadavg()[0]:.0f}, emulated AWS",
        "on the same machine. Repeat it with `make bench-dashboard`.",
        "",
        "| | |\n|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
    ]
    return "\n".join(lines) + "\n"


def _counted(calls: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(calls.items()))


def _spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    return f"median {median(ordered):.0f} ms, p90 {ordered[int(0.9 * (len(ordered) - 1))]:.0f} ms, max {ordered[-1]:.0f} ms"


def main() -> int:
    """Measure. Gives the exit code."""
    parser = argparse.ArgumentParser(description="The dashboard's first page with many executions in the table.")
    parser.add_argument("--executions", type=int, default=5000)
    parser.add_argument("--live", type=int, default=100)
    parser.add_argument("--no-page", action="store_true", help="print the figures, and leave docs/performance.md as it is")
    options = parser.parse_args()
    cloud = LocalCloud.start(REPOSITORY / ".local" / "bench-dashboard" / str(os.getpid()))
    try:
        os.environ.update(cloud.environment(CONTROL_ACCOUNT))
        table = Table(install(cloud)["StateTableName"])
        # The sweep reads the same table; its reads would be taken for the page's.
        cloud.client("lambda").put_function_concurrency(FunctionName=f"{STACK_NAME}-sweep", ReservedConcurrentExecutions=0)
        items = Filling(options.executions, options.live).write()
        cold = []
        for _ in range(COLD):
            make_cold(cloud)
            cold.append(invoke(cloud))
        warm = [invoke(cloud) for _ in range(WARM)]
        figures = Figures(options.executions, options.live, items, cold, warm, read_units(table))
    finally:
        cloud.stop()
    text = section(figures)
    sys.stdout.write(text)
    if not options.no_page:
        performance_page.write("dashboard", text)
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
