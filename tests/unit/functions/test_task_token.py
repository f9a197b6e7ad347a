"""The state machine's token never leaves the backend: one approval from the request to the report, and everything that was said of it.

Whoever has the token ends the wait without a vote. It lies in the approval's item, and goes back to Step Functions alone.
"""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from typer.testing import CliRunner

from dr_core import flow
from dr_core.approvals import link_for
from dr_core.links import LinkSigner
from dr_core.observability import logger
from dr_core.records import Approver
from dr_core.triggers import Preflown, Wake
from dr_people.notifications import ALL
from drctl.app import app
from drctl.cloud import Cloud as Stack
from tests.support import deployed
from tests.support.approval_scene import request
from tests.support.control_plane import HOME, ID, Cloud
from tests.support.deployed import BUCKET, MACHINE, PAGE, REPORTS, SECRET, SECRET_NAME, SLACK_SECRET_NAME, TOPIC, Function, announced
from tests.support.slack_workspace import CHANNEL, SIGNING_SECRET, TOKEN, Workspace, form, running, signed
from tests.support.state_table import TABLE_NAME

TASK_TOKEN = "AQCEAAAAKgAAAAMAAAAA-recognisable-task-token"
PEOPLE = (
    Approver("ann", "ann@example.com", "U0ANN"),
    Approver("bob", "bob@example.com"),
    Approver("eve", "eve@example.com", escalation=True),
)
OUTPUTS = {"StateTableName": TABLE_NAME, "SigningSecretArn": SECRET_NAME, "ApprovalPageAddress": PAGE, "ApprovalStateMachineArn": MACHINE}


@dataclass
class Said:
    """What was said of the approval, by where."""

    cloud: Cloud
    workspace: Workspace
    function: Callable[[str], Function]
    logs: io.StringIO
    texts: dict[str, str] = field(default_factory=dict)

    def keep(self, where: str, what: object) -> Any:
        """Keep what was answered."""
        self.texts[where] = self.texts.get(where, "") + (what if isinstance(what, str) else json.dumps(what, default=str))
        return what

    def happens(self, name: str, *detail_types: str) -> None:
        """The function gets the execution's events of these types."""
        bodies = announced(self.cloud, ID, *detail_types)
        assert bodies, detail_types
        for body in bodies:
            assert self.function(name).deliver(body) == []

    def drctl(self, *arguments: str) -> None:
        """Give a command."""
        result = CliRunner().invoke(app, arguments, obj=Stack("dr-orchestrator", clock=self.cloud.clock))
        assert result.stdout, result.output
        self.keep(f"drctl {' '.join(arguments)}", result.output)


@pytest.fixture
def said(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, socket_enabled: None) -> Iterator[Said]:
    """A request that waits, and people who are asked on every channel."""
    with running() as workspace:
        stands_for = {"MailSender": "dr@example.com", "SlackChannel": CHANNEL, "SlackApiUrl": workspace.url}
        for name, value in stands_for.items():
            monkeypatch.setitem(deployed._STANDS_FOR, name, value)
        secrets = {SECRET_NAME: SECRET, SLACK_SECRET_NAME: json.dumps({"botToken": TOKEN, "signingSecret": SIGNING_SECRET})}
        for name, text in secrets.items():
            boto3.client("secretsmanager").create_secret(Name=name, SecretString=text)
        for bucket in (BUCKET, REPORTS):
            boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": HOME})  # type: ignore[typeddict-item]
        for topic in (TOPIC, "the-notifications"):
            boto3.client("sns").create_topic(Name=topic.rpartition(":")[2])
        boto3.client("events").create_event_bus(Name=deployed.BUS)
        outputs = {name: {"Value": value} for name, value in OUTPUTS.items()}
        body = {"Resources": {"Any": {"Type": "AWS::SNS::Topic"}}, "Outputs": outputs}
        boto3.client("cloudformation").create_stack(StackName="dr-orchestrator", TemplateBody=json.dumps(body))
        stream = io.StringIO()
        monkeypatch.setattr(logger.registered_handler, "stream", stream)
        request(cloud, approvers=PEOPLE, quorum=2, opened_at=cloud.clock())
        move(cloud, Preflown(1, 1, 2))
        cloud.answer("ses", "SendEmail", *[{"MessageId": "1"}] * 9, status=200)
        cloud.answer("states", "SendTaskSuccess", {}, status=200)
        cloud.calls.clear()
        yield Said(cloud, workspace, lambda name: Function(name, cloud, monkeypatch), stream)


def move(cloud: Cloud, trigger: Preflown | Wake) -> None:
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, trigger, cloud.clock)


def in_slack(said: Said, payload: object) -> None:
    body = form(payload)
    headers = signed(body, int(said.cloud.clock().timestamp()))
    event = {"requestContext": {"http": {"method": "POST"}}, "headers": headers, "body": body, "isBase64Encoded": False}
    assert said.keep("Slack's answers", said.function("answer_slack").invoke(event))["statusCode"] == 200


def on_the_page(said: Said, approver: str) -> None:
    """Open the page by one's own link, and approve."""
    state = said.cloud.table.load(ID)
    assert state and state.approval
    link = link_for(state.execution, state.approval, LinkSigner(SECRET), PAGE, approver)
    token = link.partition("token=")[2]
    context = {"http": {"method": "GET"}, "domainName": "page.example"}
    shown = said.keep(
        "the page", said.function("decide_approval").invoke({"requestContext": context, "queryStringParameters": {"token": token}})
    )
    nonce = shown["body"].partition('name="nonce" value="')[2].partition('"')[0]
    sent = urlencode({"token": token, "nonce": nonce, "confirmation": "storefront", "decision": "approve", "reason": "seen"})
    post = {"requestContext": {**context, "http": {"method": "POST"}}, "headers": {"origin": "https://page.example"}, "body": sent}
    cookie = {"cookies": [shown["cookies"][0].partition(";")[0]]}
    assert "You approved it" in said.keep("the page", said.function("decide_approval").invoke({**post, **cookie}))["body"]


def test_the_state_machines_token_never_leaves_the_backend(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    cloud = said.cloud
    said.function("request_approval").invoke({"executionId": ID, "taskToken": TASK_TOKEN})
    for command in (("approvals", "list"), ("approvals", "list", "-o", "json"), ("approvals", "show", ID), ("status", ID)):
        said.drctl(*command)
    cloud.clock.advance(1800)
    move(cloud, Wake())
    said.happens("remind_approvers", "Approval Reminder")
    click = said.workspace.click("U0ANN", "approve")
    in_slack(said, click)
    in_slack(said, said.workspace.submit("U0ANN", said.workspace.dialogs[-1], confirmation="storefront", reason="seen"))
    on_the_page(said, "bob")
    flow.advance(cloud.table, ID, cloud.clock)
    said.happens("settle_approval", "Approval Granted")
    said.happens("update_slack", "Vote Recorded", "Approval Granted")
    said.happens("notify_people", *sorted(ALL & set(cloud.events())))
    said.function("store_report").deliver(*announced(cloud, ID, "Approval Granted"))
    dashboard = {"requestContext": {"http": {"method": "GET"}}, "queryStringParameters": {"execution": ID}}
    said.keep("the dashboard", said.function("show_dashboard").invoke(dashboard))
    for name in ("status", "approvals show", "timeline", "report"):
        said.drctl(*name.split(), ID)
    for name in ("status", "approvals show"):
        said.drctl(*name.split(), ID, "-o", "json")

    # Where it has to be, and may be.
    (settled,) = cloud.made("SendTaskSuccess")
    assert settled.parameters["taskToken"] == TASK_TOKEN
    assert [item["sk"]["S"] for item in cloud.items() if TASK_TOKEN in json.dumps(item)] == ["APPR"]
    # All that went anywhere else.
    for call in cloud.calls:
        if call.service != "dynamodb" and call is not settled:
            said.keep(f"{call.service} {call.operation}", repr(call.parameters))
    said.keep("the events", [entry.detail for entry in cloud.table.timeline(ID)])
    said.keep("Slack", [said.workspace.messages, said.workspace.dialogs, said.workspace.whispers])
    said.keep("the logs", said.logs.getvalue())
    said.keep("what was printed", "".join(capsys.readouterr()))
    wanted = {"ses SendEmail", "sns Publish", "the page", "Slack", "Slack's answers", "the dashboard", "the events", "the logs"}
    assert wanted <= said.texts.keys() and all(ID in said.texts[where] for where in wanted - {"Slack's answers"})
    assert [where for where, text in said.texts.items() if TASK_TOKEN in text] == []
