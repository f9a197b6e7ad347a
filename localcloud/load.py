"""Load: many executions at once on a local cloud, and what came of them.

`python -m localcloud.load [--executions 100] [--layers 5] [--resources 10]`. Each execution is an application of its own, with rules of
EventBridge to be disabled and, as every fifth resource, a service of ECS to be scaled to zero, which takes its time. All are requested and
preflown, then approved together; the clock runs from the first approval to the last end.
Exit code 0 only if every execution and every resource succeeded, each was acted on exactly once, and nothing lies in a dead-letter queue.
The figures go between the marks of docs/performance.md.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from rich.console import Console

from dr_core.records import ExecutionStatus, Resource, ResourceStatus
from dr_core.state import Table, TimelineEntry
from localcloud import journal, performance_page
from localcloud.approver import Approver
from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, REPOSITORY, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from localcloud.deployment import STACK_NAME
from localcloud.gauges import Readings, queues, reading
from localcloud.installation import install
from localcloud.requests import put, started

TIME_SCALE: Final = 0.02
_PATIENCE_SECONDS: Final = 1800.0
_REPORT_SECONDS: Final = 180.0
_LOOK_SECONDS: Final = 3.0  # looking is a call too
_EVERY_FIFTH: Final = 5
_ENDED: Final = frozenset(status for status in ExecutionStatus if status.is_terminal) | {ExecutionStatus.FAILED}
_CHANGES: Final = ("DisableRule", "UpdateService")


@dataclass(frozen=True)
class Size:
    """How much is done at once."""

    executions: int
    layers: int
    resources: int

    @property
    def in_all(self) -> int:
        """Resources of all executions."""
        return self.executions * self.layers * self.resources

    def __str__(self) -> str:
        return f"{self.executions} executions of {self.layers} layers with {self.resources} resources each"


@dataclass(frozen=True)
class Figures:
    """What was measured. Seconds, unless a name says otherwise; `wrong` has everything that did not end as it should."""

    size: Size
    request_seconds: float
    run_seconds: float
    events: int
    calls: int
    seconds_by_execution: Sequence[float]
    hops: Sequence[float]
    closes: Sequence[float]
    readings: Readings
    wake_ups: Mapping[str, int]
    retried: int
    page_kib: float
    report_kib: float
    wrong: Sequence[str]


class Load:
    """Creates what the executions act on, runs them, and looks at what they did."""

    def __init__(self, cloud: LocalCloud, outputs: Mapping[str, str], size: Size) -> None:
        """The environment must point at the cloud already."""
        self._cloud = cloud
        self._outputs = outputs
        self._table = Table(outputs["StateTableName"])
        self._approver = Approver(cloud, outputs["ApprovalTopicArn"], "load")
        self._size = size
        self._run = uuid4().hex[:6]  # a cloud may see several loads
        self._applications = [f"load-{self._run}-{number:03}" for number in range(size.executions)]

    def prepare(self) -> None:
        """Make a bus of enabled rules and a cluster of running services for each execution, and publish their manifests."""
        ecs = self._cloud.client("ecs", STANDBY_REGION, WORKLOAD_ACCOUNT)
        fargate = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
        ecs.register_task_definition(family="load", containerDefinitions=[{"name": "app", "image": "load", "memory": 512}], **fargate)
        subnet = self._cloud.client("ec2", STANDBY_REGION, WORKLOAD_ACCOUNT).describe_subnets()["Subnets"][0]["SubnetId"]
        self._network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": []}}
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._prepare_one, self._applications))

    def _prepare_one(self, application: str) -> None:
        events = self._cloud.client("events", STANDBY_REGION, WORKLOAD_ACCOUNT)
        ecs = self._cloud.client("ecs", STANDBY_REGION, WORKLOAD_ACCOUNT)
        events.create_event_bus(Name=application)
        ecs.create_cluster(clusterName=application)
        layers = []
        for layer in range(1, self._size.layers + 1):
            resources = []
            for index in range(1, self._size.resources + 1):
                name = f"r{layer}-{index}"
                parameters: dict[str, object]
                if index % _EVERY_FIFTH == 0:
                    service = {"cluster": application, "serviceName": name, "taskDefinition": "load", "desiredCount": 1}
                    ecs.create_service(**service, launchType="FARGATE", networkConfiguration=self._network)
                    action, parameters = "ECS", {"EcsClusterName": application, "EcsServiceName": name, "Force": True}
                else:
                    events.put_rule(Name=name, EventBusName=application, EventPattern='{"source": ["load"]}', State="ENABLED")
                    action, parameters = "EventBridge", {"EventRuleName": name, "BusName": application, "Force": True}
                resources.append({"action": action, "resourceName": name, "AccountId": WORKLOAD_ACCOUNT, "parameters": parameters})
            layers.append({"layer": layer, "resources": resources})
        body = json.dumps(layers).encode()
        self._cloud.client("s3").put_object(Bucket=self._outputs["ManifestBucketName"], Key=f"{application}/Cleanup.json", Body=body)

    def run(self) -> Figures:
        """Request all, wait until people have been asked about all, approve all, wait for all ends."""
        position, began, dead = self._cloud.journal.stat().st_size, time.time(), self._dead()
        with reading(self._cloud) as readings:
            requested = time.monotonic()
            ids = self._request()
            with ThreadPoolExecutor(4) as pool:
                links = list(pool.map(lambda execution_id: self._approver.link(execution_id, _PATIENCE_SECONDS), ids))
                asked = time.monotonic()
                list(pool.map(self._approve, links))
            unfinished = self._wait(ids)
            ended = time.monotonic()
        timelines = {execution_id: self._table.timeline(execution_id) for execution_id in ids}
        resources = {execution_id: self._table.resources(execution_id) for execution_id in ids}
        reports, page = self._reports(ids), self._page(ids[0])
        calls = journal.read(self._cloud.journal, position)
        wrong = [f"{execution_id} did not end within {_PATIENCE_SECONDS:.0f} s" for execution_id in unfinished]
        wrong += self._wrong(ids, resources, calls)
        wrong += [f"{execution_id} has no report" for execution_id in ids if execution_id not in reports]
        wrong += [] if ids[0] in page else [f"the dashboard does not show {ids[0]}: {page[:200]}"]
        wrong += [f"{queue} holds {more} messages more than before" for queue, more in (self._dead() - dead).items()]
        return Figures(
            size=self._size,
            request_seconds=asked - requested,
            run_seconds=ended - asked,
            events=sum(map(len, timelines.values())),
            calls=len(calls),
            seconds_by_execution=sorted(lasted(timeline) for timeline in timelines.values()),
            hops=sorted(wait for timeline in timelines.values() for wait in waits(timeline, "Resource Requested", "Resource Started")),
            closes=sorted(wait for timeline in timelines.values() for wait in closes(timeline)),
            readings=readings,
            wake_ups=self._wake_ups(began),
            retried=sum(resource.attempt > 1 for found in resources.values() for resource in found),
            page_kib=len(page.encode()) / 1024,
            report_kib=max(reports.values(), default=0) / 1024,
            wrong=wrong,
        )

    def _approve(self, link: str) -> None:
        answer = self._approver.decide(link, "approve", "load")
        if answer.status_code != 200:
            raise LoadError(f"the approval page answered {answer.status_code}: {answer.text}")

    def _request(self) -> list[str]:
        request = {"phase": "CLEANUP", "sourceRegion": PRIMARY_REGION, "targetRegion": STANDBY_REGION}
        who = {"mode": "planned", "requestedBy": "operator", "reason": "load"}
        entry = {"EventBusName": self._outputs["BusName"], "Source": "dr.operator", "DetailType": "Execution Requested"}
        for application in self._applications:
            detail = json.dumps({"application": application, "clientToken": application, **request, **who})
            put(self._cloud, [{**entry, "Detail": detail}])
        return [started(self._cloud, self._table, application, application, _PATIENCE_SECONDS) for application in self._applications]

    def _wait(self, ids: Sequence[str]) -> list[str]:
        """Those that have not ended in time."""
        running = list(ids)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while running and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            running = [execution_id for execution_id in running if self._status(execution_id) not in _ENDED]
        return running

    def _status(self, execution_id: str) -> str:
        key = {"pk": {"S": f"EXEC#{execution_id}"}, "sk": {"S": "META"}}
        return str(self._cloud.client("dynamodb").get_item(TableName=self._outputs["StateTableName"], Key=key)["Item"]["status"]["S"])

    def _wrong(self, ids: Sequence[str], resources: Mapping[str, Sequence[Resource]], calls: Sequence[journal.Entry]) -> list[str]:
        wrong = [f"{execution_id} is {status}" for execution_id in ids if (status := self._status(execution_id)) != "SUCCEEDED"]
        statuses = Counter(resource.status for found in resources.values() for resource in found)
        if statuses != {ResourceStatus.SUCCEEDED: self._size.in_all}:
            wrong.append(f"resources are {dict(statuses)}")
        made = sum(call.account == WORKLOAD_ACCOUNT and call.operation in _CHANGES and call.status == 200 for call in calls)
        if made != self._size.in_all:
            wrong.append(f"{self._size.in_all} resources were changed by {made} calls")
        return wrong + [f"locks of {application} are held" for application in self._applications if self._held(application)]

    def _reports(self, ids: Sequence[str]) -> Mapping[str, int]:
        """The bytes of each execution's report as HTML; it is written when the execution has ended, and waited for."""
        pages = self._cloud.client("s3").get_paginator("list_objects_v2")
        deadline = time.monotonic() + _REPORT_SECONDS
        while True:
            found: dict[str, int] = {}
            for page in pages.paginate(Bucket=self._outputs["ReportBucketName"], Prefix=f"load-{self._run}-"):
                for one in page.get("Contents", []):
                    if one["Key"].endswith(".html"):
                        found[one["Key"].rpartition("/")[2].removesuffix(".html")] = one["Size"]
            if found.keys() >= set(ids) or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK_SECONDS)

    def _page(self, execution_id: str) -> str:
        """The dashboard's page that begins with the execution, as CloudWatch asks for it; or the error that came instead."""
        payload = json.dumps({"execution": execution_id, "widgetContext": {}}).encode()
        answer = self._cloud.client("lambda").invoke(FunctionName=f"{STACK_NAME}-show-dashboard", Payload=payload)
        return str(json.loads(answer["Payload"].read()))

    def _dead(self) -> Counter[str]:
        """How many messages lie where messages end that nobody could handle or deliver."""
        found = queues(self._cloud)
        return Counter({queue: len(found[queue]) for queue in found if "DeadLetter" in queue or "Undelivered" in queue})

    def _held(self, application: str) -> bool:
        return bool(self._table.locked_by(application, (PRIMARY_REGION, STANDBY_REGION)))

    def _wake_ups(self, began: float) -> Mapping[str, int]:
        """What the sweep has sent again since then, by detail-type, from its log."""
        pages = self._cloud.client("logs").get_paginator("filter_log_events")
        counted: Counter[str] = Counter()
        for page in pages.paginate(logGroupName=f"/aws/lambda/{STACK_NAME}-sweep", startTime=int(began * 1000)):
            for event in page["events"]:
                if "lost wake-up sent again" in event["message"]:
                    counted[json.loads(event["message"][event["message"].index("{") :])["detail_type"]] += 1
        return counted


class LoadError(Exception):
    """It could not be run; the text says why."""


def lasted(timeline: Sequence[TimelineEntry]) -> float:
    """Seconds from the approval to the end."""
    times = {entry.detail_type: _time(entry) for entry in timeline}
    return times["Execution Completed"] - times["Approval Granted"] if "Execution Completed" in times else float("inf")


def waits(timeline: Sequence[TimelineEntry], first: str, then: str) -> list[float]:
    """Seconds between two events of the same attempt of the same resource."""
    begun, found = {}, []
    for entry in timeline:
        detail = json.loads(entry.detail)
        key = detail.get("resourceId"), detail.get("attempt")
        if entry.detail_type == first:
            begun[key] = _time(entry)
        if entry.detail_type == then and key in begun:
            found.append(_time(entry) - begun.pop(key))
    return found


def closes(timeline: Sequence[TimelineEntry]) -> list[float]:
    """Seconds from the last success in a layer to the close of the layer."""
    last, found = 0.0, []
    for entry in timeline:
        if entry.detail_type == "Resource Succeeded":
            last = _time(entry)
        if entry.detail_type == "Layer Completed":
            found.append(_time(entry) - last)
    return found


def _time(entry: TimelineEntry) -> float:
    return datetime.fromisoformat(json.loads(entry.detail)["occurredAt"]).timestamp()


def section(figures: Figures) -> str:
    """The figures in Markdown."""
    size, readings = figures.size, figures.readings
    command = f"make load EXECUTIONS={size.executions} LAYERS={size.layers} RESOURCES={size.resources}"
    busiest = sorted(readings.processor_seconds.items(), key=lambda part: -part[1])
    rows = [
        ("executions, all requested, then all approved", f"{size.executions}, each {size.layers} layers of {size.resources} resources"),
        ("ended right", "all" if not figures.wrong else f"no: {'; '.join(figures.wrong)}"),
        ("requests to the last request for approval, with all preflights", f"{figures.request_seconds:.0f} s"),
        ("first approval to the last end", f"{figures.run_seconds:.0f} s"),
        ("executions", f"{60 * size.executions / figures.run_seconds:.1f} / min"),
        ("resources", f"{size.in_all / figures.run_seconds:.1f} / s"),
        ("events, from request to end", f"{figures.events}, {figures.events / (figures.request_seconds + figures.run_seconds):.1f} / s"),
        ("AWS calls that passed the gateway, also those of this command", f"{figures.calls}"),
        ("an execution, from approval to end", spread(figures.seconds_by_execution)),
        ("`Resource Requested` to `Resource Started`", spread(figures.hops)),
        ("last success of a layer to its close", spread(figures.closes)),
        ("resources with more than one attempt", f"{figures.retried}"),
        ("the largest report, as HTML", f"{figures.report_kib:.0f} KiB"),
        ("the dashboard's page of an execution", f"{figures.page_kib:.0f} KiB"),
        ("wake-ups that the sweep sent again", ", ".join(f"{number} {name}" for name, number in figures.wake_ups.items()) or "none"),
        ("memory of the cloud's processes, peak", f"{readings.peak_mib_together:.0f} MiB: {_mib(readings.peak_mib)}"),
        ("processor time", ", ".join(f"{part} {seconds:.0f} s" for part, seconds in busiest)),
        ("the machine meanwhile", machine(readings)),
    ]
    queues = [
        (short(queue), readings.oldest(queue, 0.95), max(ages), readings.deepest[queue], readings.deliveries[queue])
        for queue, ages in sorted(readings.ages.items())
        if max(ages) >= 1 or readings.deepest[queue]
    ]
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, {_memory_gib():.0f} GiB, {_model()}, {platform.system()},",
        f"Python {platform.python_version()}; everything runs on this one machine, the emulators included. Repeat it with `{command}`.",
        "",
        "| | |\n|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "How long the oldest message of each queue had been visible, read every two seconds; queues that were always empty are left out:",
        "",
        "| Queue | Oldest, p95 | Oldest, max | Most messages | Most deliveries of one |\n|---|---|---|---|---|",
        *(f"| {name} | {p95:.0f} s | {most:.0f} s | {deepest} | {times} |" for name, p95, most, deepest, times in queues),
    ]
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> str:
    """Median, 95th percentile and maximum of sorted seconds."""
    if not values:
        return "none"
    p50, p95 = (values[min(len(values) - 1, int(share * len(values)))] for share in (0.5, 0.95))
    return f"median {p50:.1f} s, p95 {p95:.1f} s, max {values[-1]:.1f} s"


def machine(readings: Readings) -> str:
    """Who had the processors: a load that shares them with other work is slower than it could be."""
    ours, busy, idle = sum(readings.processor_seconds.values()), readings.machine_busy_seconds, readings.machine_idle_seconds
    shares = ((ours, "this cloud"), (max(0.0, busy - ours), "other work and this command"), (idle, "idle"))
    told = ", ".join(f"{100 * seconds / (busy + idle):.0f} % {who}" for seconds, who in shares)
    first, *rest = readings.load_averages
    median = sorted(rest or [first])[len(rest) // 2]
    return f"{told}; load average {first:.0f} before it began, {median:.0f} in the median"


def _mib(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {mib:.0f}" for part, mib in sorted(parts.items(), key=lambda part: -part[1]))


def short(queue: str) -> str:
    """The name in the template, of the name that CloudFormation gave."""
    return queue.removeprefix(f"{STACK_NAME}-").rpartition("-")[0] or queue


def _model() -> str:
    """What the processor calls itself, where Linux says it."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def main() -> int:
    """Run the load. Gives the exit code: 0 if everything ended right, 1 if not."""
    parser = argparse.ArgumentParser(description="Many executions at once on a local cloud.")
    parser.add_argument("--executions", type=int, default=100)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--resources", type=int, default=10)
    parser.add_argument("--no-page", action="store_true", help="print the figures, and leave docs/performance.md as it is")
    options = parser.parse_args()
    size = Size(options.executions, options.layers, options.resources)
    out = Console(highlight=False, width=200)
    cloud = LocalCloud.start(REPOSITORY / ".local" / "load" / str(os.getpid()), time_scale=TIME_SCALE)
    try:
        os.environ.update(cloud.environment(CONTROL_ACCOUNT))
        load = Load(cloud, install(cloud, approval_seconds=7200), size)
        load.prepare()
        out.print(f"Local cloud up, stack deployed, {size} prepared")
        figures = load.run()
    finally:
        cloud.stop()
    out.print(section(figures), markup=False)
    if not options.no_page:
        performance_page.write("load", section(figures))
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
