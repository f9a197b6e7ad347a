"""The demonstration: one application through all four phases, on the real template, and what the cloud says after each.

`python -m localcloud.demo [--app erp]`. Exit code 0 only if every phase succeeded and every expected fact held.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

from rich.console import Console
from rich.table import Table as Grid

from dr_core.observability import utc_now
from dr_core.records import ExecutionStatus
from dr_core.state import Table
from drctl.watch import follow
from localcloud import applications
from localcloud.applications import Application, Step
from localcloud.approver import Approver
from localcloud.cloud import PRIMARY_REGION, REPOSITORY, STANDBY_REGION, LocalCloud
from localcloud.installation import install, publish
from localcloud.requests import put, started

_APPLICATION: Final = "storefront"
_STATE_DIR: Final = REPOSITORY / ".local" / "demo"
_REPORTS: Final = REPOSITORY / ".local" / "reports"
_PATIENCE_SECONDS: Final = 300
_TIME_SCALE: Final = 0.04  # a minute of AWS's takes two and a half seconds


class DemoError(Exception):
    """Something did not happen as it should; the text says what."""


class Demo:
    """Runs the steps on a cloud and keeps what it said before and after each."""

    def __init__(self, cloud: LocalCloud, application: Application, outputs: Mapping[str, str], out: Console) -> None:
        self._cloud = cloud
        self._application = application
        self._bus = outputs["BusName"]
        self._table = Table(outputs["StateTableName"])
        self._reports = outputs["ReportBucketName"]
        self._approver = Approver(cloud, outputs["ApprovalTopicArn"])
        self._out = out
        self.seen: list[tuple[str, dict[str, str]]] = [("before", application.observe(cloud))]
        self.failures: list[str] = []

    def run(self, step: Step) -> None:
        """Start the phase by put-events, approve it through the link that was sent, follow it, and look at the cloud."""
        self._out.rule(f"{step.phase}", align="left")
        execution_id = self._start(step)
        answer = self._approver.decide(self._approver.link(execution_id), "approve", "demonstration")
        if answer.status_code != 200:
            raise DemoError(f"the approval page answered {answer.status_code}: {answer.text}")
        execution = follow(self._table, execution_id, self._out, clock=utc_now, sleep=time.sleep, timeout_seconds=_PATIENCE_SECONDS)
        facts = self._application.observe(self._cloud)
        self.seen.append((step.phase, facts))
        if execution.status is not ExecutionStatus.SUCCEEDED:
            self.failures.append(f"{step.phase} is {execution.status}: {execution.outcome_detail}")
        self._fetch_report(execution_id)
        self.failures += [
            f"after {step.phase}: {fact} is {facts[fact]}, not {wanted}" for fact, wanted in step.expected.items() if facts[fact] != wanted
        ]

    def _start(self, step: Step) -> str:
        token = uuid4().hex
        entries = [
            {**entry, "EventBusName": self._bus, "Detail": json.dumps(json.loads(entry["Detail"]) | {"clientToken": token})}
            for entry in step.entries
        ]
        put(self._cloud, entries)
        return started(self._cloud, self._table, self._application.NAME, token)

    def _fetch_report(self, execution_id: str) -> None:
        """Copy the report that the stack has stored next to the demonstration's logs, where it can be opened afterwards."""
        s3 = self._cloud.client("s3")
        deadline = time.monotonic() + 60
        while not (found := s3.list_objects_v2(Bucket=self._reports).get("Contents", [])) or not any(
            one["Key"].endswith(f"{execution_id}.html")
            for one in found  # the last of the three that is written
        ):
            if time.monotonic() > deadline:
                raise DemoError(f"no report of {execution_id} within 60 s; see {self._cloud.state_dir}/ministack.log")
            time.sleep(0.2)
        for one in found:
            if execution_id in one["Key"]:
                file = _REPORTS / one["Key"]
                file.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(self._reports, one["Key"], str(file))
                if file.suffix == ".html":
                    self._out.print(f"Report: {file}")

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
    known = applications.names()
    parser.add_argument("--app", default=_APPLICATION, choices=known, help=f"the application: {', '.join(known)}")
    parser.add_argument("--keep", action="store_true", help="leave the local cloud running afterwards")
    parser.add_argument("--time-scale", type=float, default=_TIME_SCALE, help="how long resources take; 1 is as on AWS")
    options = parser.parse_args()
    application = applications.load(options.app)
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    began = time.monotonic()
    with _cloud(options.time_scale, keep=options.keep) as cloud:
        out.print(f"Local cloud up at {cloud.endpoint_url} after {time.monotonic() - began:.1f} s; its control plane enforces IAM")
        os.environ.update(cloud.environment())
        with ThreadPoolExecutor() as pool:
            created = pool.submit(application.create, cloud)
            outputs = install(cloud)
            out.print(f"Stack deployed with sam after {time.monotonic() - began:.1f} s")
            publish(cloud, application.NAME)
            created.result()
        out.print(f"Application created in {PRIMARY_REGION} and {STANDBY_REGION} after {time.monotonic() - began:.1f} s")
        demo = Demo(cloud, application, outputs, out)
        for step in application.steps():
            demo.run(step)
        out.print(demo.summary())
        if options.keep:
            out.print("\n".join(f"export {name}={value}" for name, value in cloud.environment().items()))
    for failure in demo.failures:
        out.print(f"[bold red]FAILED[/] {failure}")
    checked = sum(len(step.expected) for step in application.steps())
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
