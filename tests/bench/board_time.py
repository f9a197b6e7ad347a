"""How long the dashboard's first page takes with many executions in the table: `python -m tests.bench.board_time [5000]`.

In this process, with moto for DynamoDB, which looks through the whole table for each query: on AWS an index is read where it is asked
for. So the time of the page's own code is told apart from that of the calls with moto's answers.
"""

import sys
import time
from datetime import timedelta
from typing import Any

import pytest

from dr_core.items import ExecutionItem
from dr_core.records import ExecutionStatus
from dr_people import board_shells
from dr_people.board import Board
from dr_people.wellbeing import Wellbeing
from tests.support.control_plane import HOME, T0, Cloud, a_layer, a_resource, an_approval, an_execution, emulated

LIVE = 20
ROUNDS = 9


def fill(cloud: Cloud, number: int) -> None:
    """Twenty executions that wait, all others have ended."""
    for index in range(LIVE):
        live = an_execution(id=f"01JZZZZZZZZZZZZZZZZZL{index:05d}", application=f"a{index}")
        assert cloud.table.create(live, [a_layer()], [a_resource()], an_approval(), T0)
    with ExecutionItem.batch_write() as batch:
        for index in range(number - LIVE):
            over = an_execution(id=f"01JZZZZZZZZZZZZZZZZZ{index:06d}", status=ExecutionStatus.SUCCEEDED)
            values: dict[str, Any] = {name: getattr(over, name) for name in ExecutionItem.get_attributes() if hasattr(over, name)}
            values |= {"requested_at": T0 + timedelta(seconds=index), "ended_at": T0 + timedelta(seconds=index + 60), "due_at": None}
            batch.save(ExecutionItem(f"EXEC#{over.id}", "META", standing=f"OVER#{HOME}", **values))


def measure(number: int) -> None:
    """Print the median time of the first page, and what of it the table took."""
    with pytest.MonkeyPatch.context() as patch, emulated(patch) as cloud:
        fill(cloud, number)
        waited = 0.0
        original = cloud.table._connection.client._make_api_call

        def timed(*arguments: Any, **more: Any) -> Any:
            nonlocal waited
            began = time.process_time()
            try:
                return original(*arguments, **more)
            finally:
                waited += time.process_time() - began

        patch.setattr(cloud.table._connection.client, "_make_api_call", timed)
        board = Board(cloud.table, HOME, "dr-orchestrator", "", "drctl", cloud.clock, lambda: Wellbeing(()))
        board_shells.widget({}, board, "arn")
        times: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            cloud.calls.clear()
            waited = 0.0
            began = time.process_time()
            html = board_shells.widget({}, board, "arn")
            times.append((time.process_time() - began - waited, waited))
        page, table = sorted(times)[ROUNDS // 2]
        print(f"{number} executions, {LIVE} of them live: {len(cloud.calls)} reads, {len(html) / 1024:.0f} KB")  # noqa: T201
        print(f"median of {ROUNDS}: {page * 1000:.0f} ms of CPU for the page itself, {table * 1000:.0f} ms in its calls and in moto")  # noqa: T201


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
