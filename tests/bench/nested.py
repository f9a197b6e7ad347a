"""The specification's own design on the same local cloud: three nested state machines, deployed beside the product."""

import json
import time
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from localcloud.cloud import LocalCloud
from localcloud.deployment import deploy
from localcloud.mailbox import subscribed
from tests.bench.cases import Case
from tests.bench.invocations import invocations
from tests.bench.run import Run, metered

STACK_NAME: Final = "nested-state-machines"
TEMPLATE: Final = Path(__file__).parent / "nested_stack" / "template.yaml"
_PATIENCE_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.5


def deploy_nested(cloud: LocalCloud, bucket: str, external_id: str) -> dict[str, str]:
    """Deploy the state machines. Gives the stack's outputs."""
    parameters = {"ManifestBucketName": bucket, "ExternalId": external_id}
    return deploy(cloud, template=TEMPLATE, stack_name=STACK_NAME, parameters=parameters)


class Nested:
    """Runs cases one after the other."""

    name: Final = "nested state machines"

    def __init__(self, cloud: LocalCloud, outputs: dict[str, str], bucket: str) -> None:
        self._cloud, self._outputs, self._bucket = cloud, outputs, bucket
        self._states: Any = cloud.client("stepfunctions")
        self._sqs: Any = cloud.client("sqs")
        self._mailbox = subscribed(cloud, outputs["ApprovalTopicArn"], "nested")

    def run(self, case: Case) -> Run:
        """Start, approve, wait for the end. Raises TimeoutError, or ValueError when it does not succeed."""
        key = f"nested-{uuid4().hex[:8]}/Instantiate.json"
        self._cloud.client("s3").put_object(Bucket=self._bucket, Key=key, Body=json.dumps(case.manifest()).encode())
        request = json.dumps({"bucket": self._bucket, "key": key})
        execution = self._states.start_execution(stateMachineArn=self._outputs["DrOrchestratorArn"], input=request)["executionArn"]
        token, known = self._token(key), len(self._children())
        began = time.time()
        with metered(self._cloud) as meter:
            self._states.send_task_success(taskToken=token, output="{}")
            ended = self._wait(execution)
        found = self._children()
        children = found[: len(found) - known]
        called, billed = invocations(self._cloud, STACK_NAME, began)
        return Run(
            case=case,
            wall_seconds=ended - began,
            lags=sorted(map(self._lag, children)),
            steps=self._transitions(execution, children),
            invocations=called,
            billed_seconds=billed,
            calls=meter.calls,
            items=meter.items,
            processor=meter.processor,
        )

    def _token(self, key: str) -> str:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for message in self._sqs.receive_message(QueueUrl=self._mailbox, WaitTimeSeconds=1).get("Messages", []):
                self._sqs.delete_message(QueueUrl=self._mailbox, ReceiptHandle=message["ReceiptHandle"])
                asked = json.loads(json.loads(message["Body"])["Message"])
                if asked["manifest"] == key:
                    return str(asked["token"])
        raise TimeoutError(f"nobody was asked about {key}")

    def _wait(self, execution: str) -> float:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = self._states.describe_execution(executionArn=execution)
            if found["status"] == "SUCCEEDED":
                return float(found["stopDate"].timestamp())
            if found["status"] != "RUNNING":
                raise ValueError(f"{execution} is {found['status']}: {found.get('error')} {found.get('cause')}")
            time.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"{execution} did not end within {_PATIENCE_SECONDS:.0f} s")

    def _children(self) -> list[str]:
        """Executions of ModuleFactory, the newest first."""
        pages = self._states.get_paginator("list_executions").paginate(stateMachineArn=self._outputs["ModuleFactoryArn"])
        return [one["executionArn"] for page in pages for one in page["executions"]]

    def _lag(self, child: str) -> float:
        found = self._states.describe_execution(executionArn=child)
        output = json.loads(found["output"])
        return float(found["stopDate"].timestamp() - output["startedAt"] - output["seconds"])

    def _transitions(self, execution: str, children: list[str]) -> int:
        """State transitions, which is what Step Functions charges for: each state entered."""
        lifecycle = self._states.list_executions(stateMachineArn=self._outputs["LifecycleOrchestratorArn"])["executions"][0]
        return sum(map(self._entered, (execution, lifecycle["executionArn"], *children)))

    def _entered(self, execution: str) -> int:
        pages = self._states.get_paginator("get_execution_history").paginate(executionArn=execution)
        return sum(event["type"].endswith("StateEntered") for page in pages for event in page["events"])
