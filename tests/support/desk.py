"""An operator's desk: drctl, the stack that it finds, and executions that move when the story says so. No network, no waiting."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
import pytest
from botocore.loaders import create_loader
from moto import mock_aws
from typer.testing import CliRunner, Result

from dr_core import approvals
from dr_core.control import Control
from dr_core.errors import ErrorClass
from dr_core.events import Incoming
from dr_core.execution import decide
from dr_core.links import LinkSigner
from dr_core.phases import Mode, Phase
from dr_core.records import Approval, ApprovalStatus, Execution, ExecutionStatus, Failure, Layer, LayerStatus, Resource, ResourceStatus
from dr_core.state import Table
from dr_core.target import TargetAccess
from dr_core.triggers import Asked, Checked, Claim, Outcome, Started, TokenHeld, Trigger, Vote, Wake
from dr_core.watch import watch
from dr_engine import signed_requests
from dr_engine.intake import Intake
from dr_engine.preflight import Report, document, summary
from dr_people import approval_views
from drctl.app import app
from drctl.cloud import Cloud
from tests.support.reports import report
from tests.support.state_table import TABLE_NAME, create_state_table

STACK, BUS, BUCKET, PAGE = "dr-orchestrator", "the-bus", "the-manifests", "https://page.example/decide/"
HOME, OTHER, ACCOUNT, SHA = "us-west-2", "us-east-1", "123456789012", "5ha"
REQUESTS = "https://requests.example/"
ID = "01JZZZZZZZZZZZZZZZZZZZZZZZ"
SECRET = "the-signing-secret"
T0 = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
DONE = Outcome("DONE", "there")

# Each test has new sessions, and each would read the services' models anew: most of a test's time.
_shared_loader = cache(create_loader)


def failed(code: str, message: str, request_id: str | None = None) -> Outcome:
    """What the module raises when AWS says no for good."""
    return Outcome("ERROR", failure=Failure(code, ErrorClass.TERMINAL, message, request_id))


def answering(service: str, operation: str, answer: dict[str, Any], status: int = 200) -> boto3.Session:
    """A session in which AWS answers an operation with that."""

    def answered(**_: object) -> Any:
        return SimpleNamespace(status_code=status), answer

    session = boto3.Session()
    session.events.register(f"before-call.{service}.{operation}", answered)
    return session


@contextmanager
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator["Desk"]:
    """A desk in an empty account."""
    monkeypatch.setattr("botocore.session.create_loader", _shared_loader)
    monkeypatch.setenv("AWS_DEFAULT_REGION", HOME)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("DRCTL_STACK", raising=False)
    with mock_aws():
        yield Desk()


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, socket_disabled: None) -> Iterator["Desk"]:
    """drctl and the orchestrator's stack, nothing requested yet."""
    with emulated(monkeypatch) as made:
        yield made


@dataclass
class Desk:
    """`upcoming`: what happens while drctl waits, one step for each time that it does; then only time passes. `reported`: what
    preflight finds of the resources of these names."""

    table: Table = field(default_factory=create_state_table)
    now: datetime = T0
    upcoming: list[Callable[[], object]] = field(default_factory=list)
    posts: list[httpx.Request] = field(default_factory=list)
    queue: str = ""
    execution_id: str = ID
    reported: dict[str, Report] = field(default_factory=dict)
    principal: str = ""
    break_glass: str = ""

    def __post_init__(self) -> None:
        secret = boto3.client("secretsmanager").create_secret(Name="signing", SecretString=SECRET)["ARN"]
        outputs = {
            "BusName": BUS,
            "ManifestBucketName": BUCKET,
            "StateTableName": "state-table",
            "ApprovalPageAddress": PAGE,
            "SigningSecretArn": secret,
            "ApprovalStateMachineArn": f"arn:aws:states:{HOME}:{ACCOUNT}:stateMachine:approval",
            "DeadLetterQueueUrl": boto3.client("sqs").create_queue(QueueName="dead-letters")["QueueUrl"],
            "UndeliveredQueueUrl": boto3.client("sqs").create_queue(QueueName="undelivered")["QueueUrl"],
        }
        body = {"Resources": {"Any": {"Type": "AWS::SNS::Topic"}}, "Outputs": {name: {"Value": value} for name, value in outputs.items()}}
        boto3.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(body))

    # --- drctl ---

    def run(self, *arguments: str) -> Result:
        """Give a command."""
        cloud = Cloud(STACK, clock=lambda: self.now, sleep=self.sleep, transport=httpx.MockTransport(self._page))
        return CliRunner().invoke(app, arguments, obj=cloud)

    def sleep(self, seconds: float) -> None:
        """Time passes, and the next of the upcoming things happens."""
        self.now += timedelta(seconds=seconds)
        if self.upcoming:
            self.upcoming.pop(0)()

    def take_signed(self, principal: str, break_glass: str = "") -> None:
        """From now on the stack takes signed requests; they are `principal`'s. `break_glass`: the ARN that may approve alone."""
        self.principal, self.break_glass = principal, break_glass
        cloudformation = boto3.client("cloudformation")
        template: Any = cloudformation.get_template(StackName=STACK)["TemplateBody"]
        body = template if isinstance(template, dict) else json.loads(template)
        body["Outputs"]["RequestUrl"] = {"Value": REQUESTS}
        cloudformation.update_stack(StackName=STACK, TemplateBody=json.dumps(body))

    def _page(self, request: httpx.Request) -> httpx.Response:
        """The approval page, asked as a function URL asks it; or what takes signed requests."""
        if str(request.url).startswith(REQUESTS):
            return self._signed(request)
        if request.method == "POST":
            self.posts.append(request)
        event = {
            "requestContext": {"http": {"method": request.method}, "domainName": request.url.host},
            "headers": dict(request.headers),
            "queryStringParameters": dict(request.url.params),
            "body": request.content.decode(),
        }
        said: Any = approval_views.answer(approvals.respond(event, self.table, LinkSigner(SECRET), lambda: self.now), self.table)
        headers = [*said["headers"].items(), *(("Set-Cookie", cookie) for cookie in said.get("cookies", ()))]
        return httpx.Response(said["statusCode"], headers=headers, text=said["body"])

    def _signed(self, request: httpx.Request) -> httpx.Response:
        """What accept_request answers; whoever signs is who the desk says."""
        assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
        context = {"http": {"method": request.method}, "authorizer": {"iam": {"userArn": self.principal}}, "requestId": "r1"}
        event = {"requestContext": {**context, "timeEpoch": int(self.now.timestamp() * 1000)}, "body": request.content.decode()}
        said = signed_requests.respond(event, self._intake(), lambda: self.now, [self.break_glass]).as_function_url()
        return httpx.Response(int(str(said["statusCode"])), text=str(said["body"]))

    # --- what is on the bus ---

    def open_the_way_in(self) -> None:
        """The bus, and the rule that brings requests into the queue of start_execution."""
        events, sqs = boto3.client("events"), boto3.client("sqs")
        self.queue = sqs.create_queue(QueueName="requests")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.create_event_bus(Name=BUS)
        pattern = {"source": ["dr.operator"], "detail-type": ["Execution Requested", "Command Requested"]}
        events.put_rule(Name="requested", EventBusName=BUS, EventPattern=json.dumps(pattern))
        events.put_targets(Rule="requested", EventBusName=BUS, Targets=[{"Id": "queue", "Arn": arn}])
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})

    def publish(self, key: str, manifest: object) -> None:
        """Put a manifest into the bucket."""
        boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(manifest).encode())

    def received(self) -> list[dict[str, Any]]:
        """The events that came to the queue of start_execution."""
        messages = boto3.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]

    def take_requests(self) -> None:
        """What start_execution and control_execution do with what they receive."""
        for event in self.received():
            incoming = Incoming.model_validate(event)
            if incoming.detail_type == "Command Requested":
                Control(self.table, lambda: self.now).take(incoming)
            else:
                self._intake().take(incoming, self.now)

    def _intake(self) -> Intake:
        return Intake(self.table, TargetAccess("the-role", "the-external-id"), boto3.client("s3"), BUCKET, HOME, ACCOUNT, 3600)

    # --- an execution ---

    def request(
        self,
        *layers: list[tuple[str, str]],
        reason: str = "Region down",
        execution_id: str = ID,
        application: str = "storefront",
        dry_run: bool = False,
        client_token: str | None = None,
        sent: tuple[str, ...] = (),
        rto_seconds: int | None = None,
        ask_before: tuple[int, ...] = (),
        mode: Mode = Mode.UNPLANNED,
        **approving: Any,
    ) -> str:
        """Store an execution whose layers have resources of the given names and modules. It waits for approval, a dry run for preflight.

        `ask_before`: the numbers of the layers that wait for an approval; `approving`: further fields of the execution's own.
        """
        self.execution_id = execution_id
        execution = Execution(
            id=execution_id,
            application=application,
            phase=Phase.ACTIVATE,
            mode=mode,
            source_region=OTHER,
            target_region=HOME,
            home_region=HOME,
            status=ExecutionStatus.PLANNING if dry_run else ExecutionStatus.PENDING_APPROVAL,
            current_layer=0,
            layers_total=len(layers),
            fence=1,
            manifest_sha256=SHA,
            manifest_version_id="v1",
            requested_by="olga",
            reason=reason,
            requested_at=self.now,
            dry_run=dry_run,
            client_token=client_token,
            rto_seconds=rto_seconds,
        )
        stored = [
            Layer(number, LayerStatus.PENDING, 0, len(names), approval_seconds=3600 if number in ask_before else None)
            for number, names in enumerate(layers, 1)
        ]
        resources = [_resource(number, index, *one) for number, names in enumerate(layers, 1) for index, one in enumerate(names, 1)]
        expires_at = self.now + timedelta(hours=1)
        approval = None if dry_run else Approval(ApprovalStatus.PENDING, expires_at, SHA, "olga", opened_at=self.now, **approving)
        assert self.table.create(execution, stored, resources, approval, self.now)
        if not dry_run:
            self.preflight(application)
            self.move(TokenHeld("the-token"))
            self.move(Asked(sent))
        return execution.id

    def preflight(self, application: str = "storefront") -> None:
        """Preflight looks at what waits for it: it finds what is `reported` of each resource, and of the others nothing."""
        for execution_id, _, phase, _ in self.table.executions(application):
            state = self.table.load(execution_id) if phase else None
            if state is None or state.execution.preflight_at is not None:
                continue
            resources = self.table.resources(execution_id)
            reports = {resource: self.reported.get(resource.name, report()) for resource in resources}
            documents = {resource.id: document(resource, one) for resource, one in reports.items()}
            self.table.keep_preflight(execution_id, documents, self.now)
            self.move(summary(reports.values()), execution_id)

    def move(self, trigger: Trigger, execution_id: str = "") -> None:
        """Something happens to the execution, by default the one that was requested last, and all that follows by itself."""
        for each in (trigger, Wake()):
            while (state := self.table.load(execution_id or self.execution_id)) and (found := decide(state, each, self.now)):
                assert self.table.commit(state.execution, found, self.now)
                if not isinstance(each, Wake):
                    break

    def move_on(self, execution_id: str = "") -> None:
        """What the sweep does: everything that follows by itself."""
        self.move(Wake(), execution_id)

    def sweep(self, execution_id: str = "") -> None:
        """What the sweep does: everything that follows by itself, and a note of what takes too long."""
        self.move_on(execution_id)
        state = self.table.load(execution_id or self.execution_id)
        assert state
        for found in watch(state, self.now):
            assert self.table.commit(state.execution, found, self.now)

    def command(self, name: str, reason: str, *resource_ids: str, token: str = "") -> None:
        """Olga gives a command, and control_execution takes it."""
        detail = {
            "executionId": self.execution_id,
            "command": name,
            "resourceIds": list(resource_ids),
            "clientToken": token or f"{name}-{self.now:%H%M%S}",
            "requestedBy": "olga",
            "reason": reason,
        }
        Control(self.table, lambda: self.now).take(Incoming.model_validate({"detail-type": "Command Requested", "detail": detail}))

    def lose_home(self) -> None:
        """The execution turns out to be at home in the other Region: what is here is a replica."""
        key = {"pk": {"S": f"EXEC#{self.execution_id}"}, "sk": {"S": "META"}}
        values = {":home": {"S": OTHER}, ":due": {"S": f"DUE#{OTHER}"}}
        update = "SET home_region = :home, due_pk = :due"
        boto3.client("dynamodb").update_item(TableName=TABLE_NAME, Key=key, UpdateExpression=update, ExpressionAttributeValues=values)

    def approve(self, yes: bool = True) -> None:
        """Ann decides."""
        self.move(Vote(yes, "ann", "seen", SHA))

    def begin(self, resource_id: str, outcome: Outcome, lag_seconds: float | None = None) -> None:
        """An executor measures the lag, claims a resource that was requested and acts: `outcome` is what it then observes."""
        attempt = self._resource(resource_id).attempt
        self.move(Claim(resource_id, attempt, "executor", "[]", lag_seconds))
        self.move(Started(resource_id, attempt, "executor", outcome, None, 5, 0.5))

    def check(self, resource_id: str, outcome: Outcome) -> None:
        """A resource that is waited for is observed again."""
        resource = self._resource(resource_id)
        self.move(Checked(resource_id, resource.attempt, resource.check_no, outcome, 5, 0.5))

    def _resource(self, resource_id: str) -> Resource:
        return next(resource for resource in self.table.resources(self.execution_id) if resource.id == resource_id)


def _resource(layer: int, index: int, name: str, module: str) -> Resource:
    identity = f"{layer:04d}-{index:03d}"
    return Resource(identity, layer, name, module, ACCOUNT, '{"Secret": "x"}', ResourceStatus.PENDING, 0, 0, 0, 1, 600, 120)
