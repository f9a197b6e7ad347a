"""Mail and Slack as they are deployed: the request goes to both, a click in Slack decides, and the message says so."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dr_core.records import ApprovalStatus, ExecutionStatus
from localcloud import mails
from localcloud.cloud import REPOSITORY
from tests.integration.stack.operator import Operator, drctl
from tests.support.slack_workspace import Workspace, form, signed

REGISTRATION = json.loads((REPOSITORY / "manifests" / "storefront" / "application.json").read_text())
ANN = {"name": "ann", "email": "ann@example.com", "slackUserId": "U0ANN"}
EVE = {"name": "eve", "email": "eve@example.com"}
CID = {"name": "cid", "slackUserId": "U0CID"}  # no mail reaches Cid


@pytest.fixture
def _approvers(operator: Operator) -> Iterator[None]:
    """Ann or Cid decides on the storefront while the test lasts, and Eve when they do not."""
    people = {"approvers": [ANN, EVE, CID], "approval": {"INSTANTIATE": {"escalate": ["eve"]}}}
    operator.publish("storefront", "application.json", json.dumps({**REGISTRATION, **people}).encode())
    yield
    operator.publish("storefront", "application.json", json.dumps(REGISTRATION).encode())


def sent_by_slack(operator: Operator, payload: object, secret: str | None = None) -> httpx.Response:
    """What Slack sends, signed with the secret that the stack has."""
    stored = operator.cloud.client("secretsmanager").get_secret_value(SecretId=operator.outputs["SlackSecretArn"])["SecretString"]
    body = form(payload)
    headers = signed(body, int(time.time()), secret or json.loads(stored)["signingSecret"])
    sent = {**headers, "content-type": "application/x-www-form-urlencoded"}
    return httpx.post(operator.outputs["SlackInteractionsUrl"], content=body, headers=sent, timeout=60)


def button(message: dict[str, Any], action: str) -> dict[str, Any]:
    """A button of the message."""
    elements = [one for block in message["blocks"] if block["type"] == "actions" for one in block["elements"]]
    return next(one for one in elements if one["action_id"] == action)


@pytest.mark.usefixtures("_approvers")
def test_the_request_goes_out_by_mail_and_slack_and_a_click_decides(operator: Operator, workspace: Workspace) -> None:
    execution_id = operator.request()

    def asked() -> dict[str, Any] | None:
        found = [one for one in workspace.messages.values() if execution_id in json.dumps(one) and "actions" in json.dumps(one)]
        return found[0] if found else None

    message = operator.wait(asked, "the request in Slack")
    told = operator.wait(lambda: sent_event(operator, execution_id), "Approval Sent")
    assert told == ["mail: ann", "topic", "slack"]
    (mail,) = [one for one in mails.sent(operator.cloud) if execution_id in one.text]
    assert mail.recipients == ("ann@example.com",) and "INSTANTIATE of storefront" in mail.subject
    assert re.search(r"https?://\S+\?token=\S+", mail.text)
    shown = drctl("local", "mails", "--state-dir", str(operator.cloud.state_dir))
    assert shown.returncode == 0 and mail.subject in shown.stdout and execution_id in shown.stdout

    click = workspace.click("U0ANN", "approve", button(message, "approve"))
    assert sent_by_slack(operator, click, "another secret").status_code == 401
    assert workspace.dialogs == []
    assert sent_by_slack(operator, click).status_code == 200
    submitted = sent_by_slack(operator, workspace.submit("U0ANN", workspace.dialogs[-1], reason="seen in Slack"))
    assert submitted.status_code == 200 and "is approved" in submitted.text

    approval = operator.table.approval(execution_id)
    assert approval is not None
    (vote,) = approval.votes
    assert (approval.status, vote.approver, vote.channel, vote.reason) == (ApprovalStatus.APPROVED, "ann", "slack", "seen in Slack")

    def updated() -> bool | None:
        said = [json.dumps(one) for one in workspace.messages.values() if execution_id in json.dumps(one)]
        return True if any("is already APPROVED by ann" in one and "actions" not in one for one in said) else None

    operator.wait(updated, "the outcome in the message")
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED

    assert approval.task_token
    left = [*operator.all_that_left(execution_id), ("Slack", json.dumps([workspace.messages, workspace.dialogs, workspace.whispers]))]
    spoken = {where for where, text in left if execution_id in text}
    assert {"events", "mails", "Slack", "drctl status", "drctl approvals show", "drctl report"} <= spoken
    assert sum(execution_id in text for where, text in left if where.startswith("/aws/lambda/")) >= 5
    assert [where for where, text in left if approval.task_token in text] == [], "the state machine's token never leaves the backend"


@pytest.mark.usefixtures("_approvers")
def test_who_does_not_decide_is_reminded_on_every_channel_and_half_way_the_escalation_list_is_asked(
    operator: Operator, workspace: Workspace
) -> None:
    execution_id = operator.request()

    def mailed(number: int) -> list[tuple[str, str]] | None:
        found = [(one.recipients[0], one.subject.partition(":")[0]) for one in mails.sent(operator.cloud) if execution_id in one.text]
        return found if len(found) >= number else None

    operator.wait(lambda: sent_event(operator, execution_id), "Approval Sent")
    assert mailed(1) == [("ann@example.com", "Approval needed")]
    operator.waits_since(execution_id, 250)  # of 850 s
    assert operator.wait(lambda: mailed(2), "the first reminder")[1:] == [("ann@example.com", "Reminder")]

    def mentioned() -> bool | None:
        said = [one["text"] for one in workspace.messages.values() if execution_id in one["text"]]
        return True if any(text.endswith("<@U0ANN> <@U0CID>") for text in said) else None

    operator.wait(mentioned, "Ann and Cid to be mentioned in Slack")
    operator.waits_since(execution_id, 700)  # of 1300 s
    again = operator.wait(lambda: mailed(4), "the second reminder, and the escalation")[2:]
    assert sorted(again) == [("ann@example.com", "Reminder"), ("eve@example.com", "Escalated to you")]

    (last,) = [one for one in mails.sent(operator.cloud) if execution_id in one.text and "eve@example.com" in one.recipients]
    found = re.search(r"https?://\S+\?token=\S+", last.text)
    assert found and operator.approver.decide(found[0], "approve", "Ann does not answer").status_code == 200
    approval = operator.table.approval(execution_id)
    assert approval and [(vote.approver, vote.channel) for vote in approval.votes] == [("eve", "page")]
    told = [json.loads(one.detail) for one in operator.table.timeline(execution_id) if one.detail_type == "Approval Sent"]
    reached = [(one.get("share"), one["channels"]) for one in told]
    assert reached[1:] == [(25, ["mail: ann", "topic"]), (50, ["mail: ann", "mail: eve", "topic"])]
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED


def sent_event(operator: Operator, execution_id: str) -> list[str] | None:
    """The channels that took the request, by the timeline; None before it went out."""
    found = [one for one in operator.table.timeline(execution_id) if one.detail_type == "Approval Sent"]
    return list(json.loads(found[0].detail)["channels"]) if found else None
