"""remind_approvers: a reminder goes to whom it is due, once; when it reached nobody, it comes again; what is decided is let alone."""

import email
import email.policy
import json
from collections.abc import Callable, Iterator

import boto3
import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError

from dr_core import flow
from dr_core.links import LinkSigner
from dr_core.records import Approver
from dr_core.triggers import Asked, Vote, Wake
from tests.support import deployed
from tests.support.control_plane import ID, SHA, Cloud, a_layer, a_resource, an_approval, an_execution, error
from tests.support.deployed import PAGE, SECRET, SECRET_NAME, Function, announced

Functions = Callable[[str], Function]
ANN, EVE = Approver("ann", "ann@example.com"), Approver("eve", "eve@example.com", escalation=True)


@pytest.fixture
def asked(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Ann was asked an hour ago at most; mails go out."""
    monkeypatch.setitem(deployed._STANDS_FOR, "MailSender", "dr@example.com")
    boto3.client("secretsmanager").create_secret(Name=SECRET_NAME, SecretString=SECRET)
    approval = an_approval(approvers=(ANN, EVE), opened_at=cloud.clock())
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], approval, cloud.clock())
    move(cloud, Asked(("mail: ann",)))
    cloud.answer("ses", "SendEmail", *[{"MessageId": "1"}] * 5, status=200)
    yield cloud


def move(cloud: Cloud, trigger: Asked | Vote | Wake) -> None:
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, trigger, cloud.clock)


def reminded(cloud: Cloud, seconds: float) -> str:
    """Time passes, and the sweep reminds: the event, as it comes to the function."""
    cloud.clock.advance(seconds)
    move(cloud, Wake())
    return announced(cloud, ID, "Approval Reminder")[-1]


def recipients(cloud: Cloud) -> list[str]:
    return [call.parameters["Destination"]["ToAddresses"][0] for call in cloud.made("SendEmail")]


def sent(cloud: Cloud) -> list[dict[str, object]]:
    """What `Approval Sent` says of the reminders."""
    details = [json.loads(entry.detail) for entry in cloud.table.timeline(ID) if entry.detail_type == "Approval Sent"]
    return [{"channels": one["channels"], "share": one["share"]} for one in details if "share" in one]


def test_remind_approvers_and_from_half_of_the_time_on_the_escalation_list(function: Functions, asked: Cloud) -> None:
    assert function("remind_approvers").deliver(reminded(asked, 900)) == []
    assert recipients(asked) == ["ann@example.com"]
    assert function("remind_approvers").deliver(reminded(asked, 900)) == []
    assert recipients(asked) == ["ann@example.com", "ann@example.com", "eve@example.com"]
    assert sent(asked) == [{"channels": ["mail: ann"], "share": 25}, {"channels": ["mail: ann", "mail: eve"], "share": 50}]
    assert asked.made("Publish") == []


def test_the_link_is_a_new_one_of_their_own(function: Functions, asked: Cloud) -> None:
    for share in (25, 50):
        assert function("remind_approvers").deliver(reminded(asked, 900)) == [], share
    tokens = []
    for call in asked.made("SendEmail"):
        message = email.message_from_bytes(call.parameters["Content"]["Raw"]["Data"], policy=email.policy.default)
        body = message.get_body(("plain",))
        assert body
        (link,) = [line for line in body.get_content().splitlines() if line.startswith(PAGE)]
        tokens.append(LinkSigner(SECRET).read(link.partition("token=")[2], asked.clock()))
    assert [one.approver for one in tokens] == ["ann", "ann", "eve"] and len({one.id for one in tokens}) == 3
    approval = asked.table.approval(ID)
    assert approval and {one.expires_at for one in tokens} == {approval.expires_at}, "no longer than the approval"


def test_remind_approvers_twice(function: Functions, asked: Cloud) -> None:
    body = reminded(asked, 900)
    for _ in range(2):
        assert function("remind_approvers").deliver(body) == []
    assert recipients(asked) == ["ann@example.com"] and len(sent(asked)) == 1


def test_a_reminder_that_reached_nobody_comes_again(function: Functions, asked: Cloud) -> None:
    asked._answers["ses", "SendEmail"] = [(error("TooManyRequestsException"), 400)] * 9
    asked.answer("sns", "Publish", error("InternalError"))
    body = reminded(asked, 900)
    with pytest.raises(BatchProcessingError, match="nobody could be asked"):
        function("remind_approvers").deliver(body)
    assert sent(asked) == []
    asked._answers["ses", "SendEmail"] = [({"MessageId": "1"}, 200)]
    assert function("remind_approvers").deliver(body) == []
    assert sent(asked) == [{"channels": ["mail: ann"], "share": 25}]


def test_of_what_is_decided_nobody_is_reminded(function: Functions, asked: Cloud) -> None:
    body = reminded(asked, 900)
    move(asked, Vote(True, "ann", "", SHA))
    stored = asked.items()
    assert function("remind_approvers").deliver(body) == []
    assert recipients(asked) == [] and asked.items() == stored


def test_a_reminder_of_another_layers_approval_reminds_nobody(function: Functions, asked: Cloud) -> None:
    body = json.loads(reminded(asked, 900))
    body["detail"]["layer"] = 2
    assert function("remind_approvers").deliver(json.dumps(body)) == []
    assert recipients(asked) == [] and sent(asked) == []
