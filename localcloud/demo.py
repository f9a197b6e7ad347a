"""The demonstration: one application through all four phases, on the real template, and what the cloud says after each.

`python -m localcloud.demo`. Exit code 0 only if every phase succeeded and every expected fact held.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from rich.console import Console
from rich.table import Table as Grid

from dr_core.observability import utc_now
from dr_core.phases import Phase
from dr_core.records import ExecutionStatus
from dr_core.state import Table
from drctl.watch import follow
from localcloud.applications import storefront
from localcloud.approver import Approver
from localcloud.cloud import PRIMARY_REGION, REPOSITORY, STANDBY_REGION, LocalCloud
from localcloud.installation import install, publish

_STATE_DIR: Final = REPOSITORY / ".local" / "demo"
_TIME_SCALE: Final = 0.04  # a minute of AWS's takes two and a half seconds


@dataclass(frozen=True)
class Step:
    """A phase of the demonstration: the request that starts it, and the facts that must hold after it."""

    phase: Phase
    entries: Path
    expected: Mapping[str, str]


def steps() -> tuple[Step, ...]:
    """The storefront's four phases, as in an outage of us-east-1 and after it."""
    requests = REPOSITORY / "events" / "put-events"
    east, west = PRIMARY_REGION, STANDBY_REGION
    return (
        Step(
            Phase.INSTANTIATE,
            requests / "StartInstantiate.json",
            {
                "Aurora writer": east,
                f"Aurora instances in {west}": "storefront-1 available, storefront-2 available",
                f"storefront-api running in {west}": "4",
                f"storefront-web running in {west}": "2",
                f"workers in service in {west}": "3",
                f"{storefront.RULE} in {west}": "DISABLED",
            },
        ),
        Step(
            Phase.ACTIVATE,
            requests / "StartActivate.json",
            {
                "Aurora writer": west,
                f"{storefront.RECORD} points to": f"the load balancer in {west}",
                f"{storefront.RULE} in {west}": "ENABLED",
            },
        ),
        Step(
            Phase.CLEANUP,
            requests / "StartCleanup.json",
            {
                "Aurora writer": west,
                f"Aurora instances in {east}": "none",
                f"storefront-api running in {east}": "0",
                f"storefront-web running in {east}": "0",
                f"workers in service in {east}": "0",
                f"{storefront.RULE} in {east}": "DISABLED",
                f"storefront-api running in {west}": "4",
            },
        ),
        Step(
            Phase.REPLICATE,
            requests / "StartReplicate.json",
            {"Aurora writer": west, f"Aurora instances in {east}": "storefront-1 available"},
        ),
    )


class DemoError(Exception):
    """Something did not happen as it should; the text says what."""


class Demo:
    """Runs the steps on a cloud and keeps what it said before and after each."""

    def __init__(self, cloud: LocalCloud, outputs: Mapping[str, str], out: Console) -> None:
        self._cloud = cloud
        self._bus = outputs["BusName"]
        self._table = Table(outputs["StateTableName"])
        self._approver = Approver(cloud, outputs["ApprovalTopicArn"])
        self._out = out
        self.seen: list[tuple[str, dict[str, str]]] = [("before", storefront.observe(cloud))]
        self.failures: list[str] = []

    def run(self, step: Step) -> None:
        """Start the phase by put-events, approve it through the link that was sent, follow it, and look at the cloud."""
        self._out.rule(f"{step.phase}", align="left")
        execution_id = self._start(step)
        answer = self._approver.decide(self._approver.link(execution_id), "approve", "demonstration")
        if answer.status_code != 200:
            raise DemoError(f"the approval page answered {answer.status_code}: {answer.text}")
        execution = follow(self._table, execution_id, self._out, clock=utc_now, sleep=time.sleep, timeout_seconds=120)
        facts = storefront.observe(self._cloud)
        self.seen.append((step.phase, facts))
        if execution.status is not ExecutionStatus.SUCCEEDED:
            self.failures.append(f"{step.phase} is {execution.status}: {execution.outcome_detail}")
        self.failures += [
            f"after {step.phase}: {fact} is {facts[fact]}, not {wanted}" for fact, wanted in step.expected.items() if facts[fact] != wanted
        ]

    def _start(self, step: Step) -> str:
        entries = json.loads(step.entries.read_text())
        token = uuid4().hex
        for entry in entries:
            entry["EventBusName"] = self._bus
            entry["Detail"] = json.dumps(json.loads(entry["Detail"]) | {"clientToken": token})
        answer = self._cloud.client("events").put_events(Entries=entries)
        if answer["FailedEntryCount"]:
            raise DemoError(f"the bus did not take {step.entries.name}: {answer['Entries']}")
        deadline = time.monotonic() + 60
        while (execution_id := self._table.by_token(storefront.NAME, token)) is None:
            if time.monotonic() > deadline:
                raise DemoError(f"{step.entries.name} led to nothing within 60 s; see {self._cloud.state_dir}/ministack.log")
            time.sleep(0.1)
        if refusal := self._table.refusal(execution_id):
            raise DemoError(f"{step.phase} was refused: " + "; ".join(refusal.problems))
        return execution_id

    def summary(self) -> Grid:
        """What the cloud said before and after each phase; what changed is marked."""
        grid = Grid(title="What the cloud itself says", title_justify="left")
        grid.add_column("")
        for name, _ in self.seen:
            grid.add_column(name if name == "before" else f"after {name}")
        for fact in self.seen[0][1]:
            values = [facts[fact] for _, facts in self.seen]
            marked = [value if i == 0 or value == values[i - 1] else f"[bold green]{value}[/]" for i, value in enumerate(values)]
            grid.add_row(fact, *marked)
        return grid


def main() -> int:
    """Run the demonstration. Gives the exit code: 0 if everything held, 1 if not."""
    parser = argparse.ArgumentParser(description="One application through all four phases on a local cloud.")
    parser.add_argument("--keep", action="store_true", help="leave the local cloud running afterwards")
    parser.add_argument("--time-scale", type=float, default=_TIME_SCALE, help="how long resources take; 1 is as on AWS")
    options = parser.parse_args()
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    began = time.monotonic()
    with _cloud(options.time_scale, keep=options.keep) as cloud:
        out.print(f"Local cloud up at {cloud.endpoint_url} after {time.monotonic() - began:.1f} s; its control plane enforces IAM")
        os.environ.update(cloud.environment())
        with ThreadPoolExecutor() as pool:
            created = pool.submit(storefront.create, cloud)
            outputs = install(cloud)
            out.print(f"Stack deployed with sam after {time.monotonic() - began:.1f} s")
            publish(cloud, storefront.NAME)
            created.result()
        out.print(f"Application created in {PRIMARY_REGION} and {STANDBY_REGION} after {time.monotonic() - began:.1f} s")
        demo = Demo(cloud, outputs, out)
        for step in steps():
            demo.run(step)
        out.print(demo.summary())
        if options.keep:
            out.print("\n".join(f"export {name}={value}" for name, value in cloud.environment().items()))
    for failure in demo.failures:
        out.print(f"[bold red]FAILED[/] {failure}")
    checked = sum(len(step.expected) for step in steps())
    verdict = f"{len(demo.failures)} failures," if demo.failures else "All phases succeeded,"
    out.print(f"{verdict} {checked} facts checked against the cloud, {time.monotonic() - began:.0f} s in all")
    return 1 if demo.failures else 0


@contextmanager
def _cloud(time_scale: float, *, keep: bool) -> Iterator[LocalCloud]:
    """A local cloud for the demonstration alone, gone afterwards unless it is to be kept."""
    name = "kept" if keep else str(os.getpid())  # so that two demonstrations can run side by side
    cloud = LocalCloud.start(_STATE_DIR / name, time_scale=time_scale)
    try:
        yield cloud
    finally:
        if not keep:
            cloud.stop()


if __name__ == "__main__":
    sys.exit(main())
