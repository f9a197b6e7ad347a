"""What the tests do with the deployed stack, in an operator's and an approver's words."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from dr_core.commands import Command
from dr_core.execution import decide
from dr_core.items import MomentAttribute
from dr_core.observability import utc_now
from dr_core.records import ApprovalStatus, Execution, ExecutionStatus, State
from dr_core.state import Refusal, Table
from localcloud import applications, mails, repeats
from localcloud.approver import Approver
from localcloud.cloud import STANDBY_REGION, LocalCloud
from localcloud.deployment import STACK_NAME
from localcloud.gauges import queues
from localcloud.installation import install, publish
from localcloud.journal import Entry, read

T = TypeVar("T")
# Long enough for functions that start cold on two busy cores.
PATIENCE_SECONDS = 120.0
_KEEPS = re.compile("DeadLetterQueue|UndeliveredQueue")


def _just_decided(state: State) -> bool:
    """Whether the vote is counted, and what follows from it has yet to follow: a command is refused for that moment."""
    approval = state.approval
    pending = state.execution.status is ExecutionStatus.PENDING_APPROVAL
    return pending and approval is not None and approval.status is not ApprovalStatus.PENDING


def drctl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Give a command, as an operator does."""
    return subprocess.run([str(Path(sys.executable).with_name("drctl")), *arguments], capture_output=True, text=True, check=False)


@contextmanager
def at_work_on(directory: Path, application: str) -> Iterator["Operator"]:
    """Somebody who works with the deployed stack on a cloud of its own, in which the application runs in the primary Region."""
    cloud = LocalCloud.start(directory, time_scale=0.02, die_with_parent=True)
    try:
        outputs = install(cloud)
        applications.load(application).create(cloud)
        publish(cloud, application)
        yield Operator(cloud, outputs)
    finally:
        cloud.stop()


class Operator:
    """Starts executions, decides on them, waits for them, and looks at what was called."""

    def __init__(self, cloud: LocalCloud, outputs: Mapping[str, str], region: str = STANDBY_REGION, stack: str = STACK_NAME) -> None:
        self.cloud = cloud
        self.outputs = outputs
        self.region = region
        self.stack = stack
        self.approver = Approver(cloud, outputs["ApprovalTopicArn"], region=region)
        self._requested: set[str] = set()

    def client(self, service: str) -> Any:
        """A client of the stack's account and Region."""
        return self.cloud.client(service, self.region)

    def open_table(self) -> None:
        """Connect to the state table: once per test, since tests of the same process use tables of their own."""
        self.table = Table(self.outputs["StateTableName"])

    def request(self, **changes: object) -> str:
        """Put an `Execution Requested` for the storefront's INSTANTIATE, with `changes`; gives the id that came of it."""
        detail: dict[str, object] = {
            "application": "storefront",
            "phase": "INSTANTIATE",
            "sourceRegion": "us-east-1",
            "targetRegion": "us-west-2",
            "mode": "planned",
            "requestedBy": "alice",
            "reason": "test",
            "clientToken": uuid4().hex,
        }
        detail = {key: value for key, value in {**detail, **changes}.items() if value is not None}
        self.put("dr.operator", "Execution Requested", detail)
        token, application = str(detail["clientToken"]), str(detail["application"])
        self._requested.add(application)
        return self.wait(lambda: self.table.by_token(application, token), f"an execution for token {token}")

    def put(self, source: str, detail_type: str, detail: Mapping[str, object]) -> None:
        """Put one event on the bus."""
        entry = {"EventBusName": self.outputs["BusName"], "Source": source, "DetailType": detail_type, "Detail": json.dumps(detail)}
        answer = self.client("events").put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0, answer

    def refusal(self, execution_id: str) -> Refusal:
        """The refusal stored for a request."""
        return self.wait(lambda: self.table.refusal(execution_id), f"a refusal of {execution_id}")

    def decide(self, execution_id: str, decision: str) -> httpx.Response:
        """Follow the link that was sent, and decide."""
        return self.approver.decide(self.approver.link(execution_id, PATIENCE_SECONDS), decision, "test")

    def decide_by(self, link: str, decision: str) -> httpx.Response:
        """Follow that link, and decide."""
        return self.approver.decide(link, decision, "test")

    def execution(self, execution_id: str) -> Execution:
        """The execution as the table has it."""
        state = self.table.load(execution_id)
        assert state is not None
        return state.execution

    def finished(self, execution_id: str) -> Execution:
        """The execution once it has ended or halted."""

        def over() -> Execution | None:
            execution = self.execution(execution_id)
            return execution if execution.status.is_terminal or execution.status is ExecutionStatus.FAILED else None

        return self.wait(over, f"the end of {execution_id}")

    def events(self, execution_id: str) -> list[tuple[str, str]]:
        """The timeline: detail-type and the resource's name, in order."""
        entries = self.table.timeline(execution_id)
        return [(entry.detail_type, json.loads(entry.detail).get("resourceName", "")) for entry in entries]

    def wait(self, look: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
        """Look until there is something."""
        deadline = time.monotonic() + seconds
        while (found := look()) is None:
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
            time.sleep(0.1)
        return found

    def repeat(self, *operations: str) -> None:
        """From now on the gateway carries out these operations twice, such as `sqs:SendMessage`; none to stop."""
        httpx.put(self.cloud.endpoint_url + repeats.PATH, json=list(operations)).raise_for_status()

    def sweep(self) -> Mapping[str, Any]:
        """Run the sweep now."""
        answer = self.client("lambda").invoke(FunctionName=f"{self.stack}-sweep", Payload=b"{}")
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, body
        return dict(body)

    def overdue(self, execution_id: str) -> None:
        """Let everything of the execution that the sweep looks at be overdue, as if a minute had passed."""
        dynamodb = self.client("dynamodb")
        table = self.outputs["StateTableName"]
        pk = {"S": f"EXEC#{execution_id}"}
        items = dynamodb.query(TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": pk})["Items"]
        for item in items:
            if "due_at" in item:
                dynamodb.update_item(
                    TableName=table,
                    Key={"pk": pk, "sk": item["sk"]},
                    UpdateExpression="SET due_at = :past",
                    ExpressionAttributeValues={":past": {"S": "2000-01-01T00:00:00.000Z"}},
                )

    def minute_later(self, execution_id: str) -> Mapping[str, Any]:
        """Let everything be due, also what nobody was asked about, and run the sweep, as the schedule would a minute later."""
        execution = self.execution(execution_id)
        for name, moment in (("requested_at", execution.requested_at), ("preflight_at", execution.preflight_at)):
            if moment is not None and execution.status is ExecutionStatus.PENDING_APPROVAL:
                self.client("dynamodb").update_item(
                    TableName=self.outputs["StateTableName"],
                    Key={"pk": {"S": f"EXEC#{execution_id}"}, "sk": {"S": "META"}},
                    UpdateExpression="SET #name = :earlier",
                    ExpressionAttributeNames={"#name": name},
                    ExpressionAttributeValues={":earlier": {"S": MomentAttribute().serialize(moment - timedelta(seconds=60))}},
                )
        self.overdue(execution_id)
        return self.sweep()

    def items(self, execution_id: str) -> list[dict[str, Any]]:
        """Everything that the table holds of an execution, but for what people were told: that may be at any time after."""
        pk = {":pk": {"S": f"EXEC#{execution_id}"}}
        pages = self.client("dynamodb").get_paginator("query")
        asked = {"TableName": self.outputs["StateTableName"], "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": pk}
        found = [item for page in pages.paginate(**asked, ConsistentRead=True) for item in page["Items"]]
        return [item for item in found if not item["sk"]["S"].startswith(("NOTE#", "CHANNEL#"))]

    def waits_since(self, execution_id: str, seconds: float) -> None:
        """Let the approval have been waited for so many seconds, of which it has as many more left as before, and run the sweep."""
        dynamodb, approval = self.cloud.client("dynamodb"), self.table.approval(execution_id)
        assert approval is not None
        opened = MomentAttribute().serialize(utc_now() - timedelta(seconds=seconds))
        dynamodb.update_item(
            TableName=self.outputs["StateTableName"],
            Key={"pk": {"S": f"EXEC#{execution_id}"}, "sk": {"S": "APPR"}},
            UpdateExpression="SET opened_at = :opened",
            ExpressionAttributeValues={":opened": {"S": opened}},
        )
        self.overdue(execution_id)
        self.sweep()

    def all_that_left(self, execution_id: str) -> Iterator[tuple[str, str]]:
        """What left the backend about an execution, by where it is: events, logs, what passed the gateway, mails, and what drctl says."""
        yield "events", "\n".join(entry.detail for entry in self.table.timeline(execution_id))
        yield "journal", self.cloud.journal.read_text()
        yield "mails", repr(mails.sent(self.cloud))
        logs = self.cloud.client("logs")
        for group in logs.get_paginator("describe_log_groups").paginate():
            for name in (one["logGroupName"] for one in group["logGroups"]):
                pages = logs.get_paginator("filter_log_events").paginate(logGroupName=name)
                yield name, "\n".join(event["message"] for page in pages for event in page["events"])
        for command in (("status",), ("approvals", "show"), ("report",), ("timeline",), ("calls",)):
            shown = drctl(*command, execution_id)
            assert shown.stdout, shown.stderr
            yield f"drctl {' '.join(command)}", shown.stdout + shown.stderr

    def quiet(self) -> None:
        """Wait until every function has handled what was sent to it."""

        def is_open(message: Mapping[str, Any]) -> bool:
            """Not yet received, or being handled: one whose function was killed stays hidden for minutes."""
            received = message["FirstReceiveTimestamp"]
            return message["IsVisible"] or received is None or time.time() - received < 20

        def empty() -> bool | None:
            ours = [found for name, found in queues(self.cloud).items() if name.startswith("dr-orchestrator-") and not _KEEPS.search(name)]
            return None if any(is_open(message) for messages in ours for message in messages) else True

        time.sleep(3)  # what is on its way from the stream to a queue is nowhere to be seen
        self.wait(empty, "the queues to be empty")

    @contextmanager
    def relay_off(self) -> Iterator[None]:
        """Nobody reads the table's stream; afterwards it is read from where it was left."""
        functions = self.client("lambda")
        (mapping,) = functions.list_event_source_mappings(FunctionName="dr-orchestrator-publish-changes")["EventSourceMappings"]
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    @contextmanager
    def sweep_off(self) -> Iterator[None]:
        """The sweep's schedule is disabled."""
        scheduler = self.client("scheduler")
        names = [schedule["Name"] for schedule in scheduler.list_schedules()["Schedules"]]
        found = [scheduler.get_schedule(Name=name) for name in names]
        (schedule,) = [one for one in found if one["Target"]["Arn"].endswith("dr-orchestrator-sweep")]
        kept = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
        same = {name: schedule[name] for name in kept}
        scheduler.update_schedule(**same, State="DISABLED")
        try:
            yield
        finally:
            scheduler.update_schedule(**same, State="ENABLED")

    def journal_position(self) -> int:
        """Where the journal ends now."""
        return self.cloud.journal.stat().st_size

    def calls_since(self, position: int) -> list[Entry]:
        """What passed the gateway since then."""
        return read(self.cloud.journal, position)

    def publish(self, application: str, phase_file: str, body: bytes) -> None:
        """Put a manifest into the bucket."""
        self.client("s3").put_object(Bucket=self.outputs["ManifestBucketName"], Key=f"{application}/{phase_file}", Body=body)

    def release(self) -> None:
        """End whatever a test left running, so that the next one finds the locks free."""
        held = [self.table.locked_by(application, ("us-east-1", "us-west-2")) for application in self._requested]
        self._requested.clear()
        for execution_id in {execution_id for locks in held for execution_id in locks.values()}:

            def ended(execution_id: str = execution_id) -> bool | None:
                state = self.table.load(execution_id)
                assert state is not None
                if state.execution.status.is_terminal:
                    return True
                if state.execution.status is not ExecutionStatus.CANCELLING and not _just_decided(state):
                    move = decide(state, Command("cancel", "test", "the test is over"), utc_now())
                    assert move is not None
                    self.table.commit(state.execution, move, utc_now())
                self.sweep()
                return None

            self.wait(ended, f"the end of {execution_id}")
