"""The product, with the module Pause added to a copy of its source, on a local cloud."""

import json
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from dr_core.records import ExecutionStatus, Resource, ResourceStatus
from dr_core.state import Table
from localcloud.approver import Approver
from localcloud.cloud import PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from localcloud.deployment import STACK_NAME
from localcloud.requests import put, started
from tests.bench.cases import TOLD, Case
from tests.bench.invocations import invocations
from tests.bench.run import Run, metered
from tests.support.copied_source import copied_source

MODULES: Final = Path(__file__).parent / "modules"
PAUSE: Final = MODULES / "pause.py"
_PATIENCE_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.5  # looking is a call too


def source(directory: Path) -> Path:
    """A copy of what is deployed, with the benchmark's modules; gives its template."""
    template = copied_source(directory)
    for module in MODULES.glob("*.py"):
        shutil.copy(module, directory / "layers/dr_modules/python/dr_modules")
    return template


class Orchestrator:
    """Runs cases one after the other."""

    name: Final = "DR Orchestrator"

    def __init__(self, cloud: LocalCloud, outputs: dict[str, str]) -> None:
        """The environment must point at the cloud already."""
        self._cloud, self._outputs = cloud, outputs
        self._table = Table(outputs["StateTableName"])
        self._approver = Approver(cloud, outputs["ApprovalTopicArn"], "bench")

    def run(self, case: Case) -> Run:
        """Request, approve, wait for the end. Raises NotStartedError, TimeoutError, or ValueError when it does not succeed."""
        execution_id = self._requested(case)
        link = self._approver.link(execution_id, _PATIENCE_SECONDS)
        began = time.time()
        with metered(self._cloud) as meter:
            self._approver.decide(link, "approve", "bench").raise_for_status()
            if case is TOLD:
                self._tell(execution_id, case.resources)
            self._wait(execution_id)
        timeline = self._table.timeline(execution_id)
        times = {entry.detail_type: datetime.fromisoformat(json.loads(entry.detail)["occurredAt"]).timestamp() for entry in timeline}
        called, billed = invocations(self._cloud, STACK_NAME, began)
        return Run(
            case=case,
            wall_seconds=times["Execution Completed"] - times["Approval Granted"],
            lags=_lags(self._table.resources(execution_id)),
            steps=len(timeline),
            invocations=called,
            billed_seconds=billed,
            calls=meter.calls,
            items=meter.items,
            processor=meter.processor,
        )

    def _requested(self, case: Case) -> str:
        application = f"bench-{uuid4().hex[:8]}"
        body = json.dumps(case.manifest()).encode()
        self._cloud.client("s3").put_object(Bucket=self._outputs["ManifestBucketName"], Key=f"{application}/Instantiate.json", Body=body)
        detail = {"application": application, "phase": "INSTANTIATE", "sourceRegion": PRIMARY_REGION, "targetRegion": STANDBY_REGION}
        detail |= {"mode": "planned", "requestedBy": "operator", "reason": "bench", "clientToken": application}
        entry = {"EventBusName": self._outputs["BusName"], "Source": "dr.operator", "DetailType": "Execution Requested"}
        put(self._cloud, [{**entry, "Detail": json.dumps(detail)}])
        return started(self._cloud, self._table, application, application, _PATIENCE_SECONDS)

    def _tell(self, execution_id: str, resources: int) -> None:
        """Once all are waited for: as the service, say of each that it is done, as soon as it is."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(waiting := [one for one in self._table.resources(execution_id) if one.status is ResourceStatus.WAITING]) < resources:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{execution_id}: {len(waiting)} of {resources} resources are waited for")
            time.sleep(_LOOK_SECONDS)
        self._cloud.tell(
            _steady("nobody"), _steady("nobody-else")
        )  # both processes of the function that listens have begun before it counts
        for resource in sorted(waiting, key=_goal):
            time.sleep(max(0.0, _goal(resource) - time.time()))
            self._cloud.tell(_steady(resource.name))

    def _wait(self, execution_id: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        key = {"pk": {"S": f"EXEC#{execution_id}"}, "sk": {"S": "META"}}
        while time.monotonic() < deadline:
            item = self._cloud.client("dynamodb").get_item(TableName=self._outputs["StateTableName"], Key=key)["Item"]
            status = ExecutionStatus(item["status"]["S"])
            if status is ExecutionStatus.SUCCEEDED:
                return
            if status.is_terminal or status is ExecutionStatus.FAILED:
                raise ValueError(f"{execution_id} is {status}")
            time.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"{execution_id} did not end within {_PATIENCE_SECONDS:.0f} s")


def _goal(resource: Resource) -> float:
    """When it is done, in seconds since 1970."""
    assert resource.handles, resource
    return float(json.loads(resource.handles)[0]["startedAt"]) + float(json.loads(resource.parameters)["Seconds"])


def _steady(name: str) -> dict[str, object]:
    """What ECS says of a service that has as many tasks as it shall."""
    where = {"account": WORKLOAD_ACCOUNT, "region": STANDBY_REGION}
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    arn = f"arn:aws:ecs:{STANDBY_REGION}:{WORKLOAD_ACCOUNT}:service/bench/{name}"
    said = {"version": "0", "id": str(uuid4()), "source": "aws.ecs", "detail-type": "ECS Service Action", "time": at, **where}
    return {**said, "resources": [arn], "detail": {"eventType": "INFO", "eventName": "SERVICE_STEADY_STATE"}}


def _lags(resources: Sequence[Resource]) -> list[float]:
    found = []
    for resource in resources:
        assert resource.ended_at, resource
        found.append(resource.ended_at.timestamp() - _goal(resource))
    return sorted(found)
