"""Asking: a mail of his own to each approver, the topic for whom none reaches, Slack beside them. One channel may fail without another."""

import email
import email.policy
from typing import Any

import pytest
from slack_sdk import WebClient

from dr_core.phases import Phase
from dr_core.records import Approver, Ballot, ExecutionStatus
from dr_people.approval_context import load_context
from dr_people.asking import NobodyAskedError, ask
from dr_people.past_runs import completed_seconds
from dr_people.slack import Slack
from tests.support.approval_scene import approval_of, ran, request
from tests.support.control_plane import ID, T0, Cloud, error

ANN, BOB, EVE = Approver("Ann", "ann@example.com"), Approver("Bob", "bob@example.com"), Approver("Eve", slack_user_id="U0EVE")
LAST = Approver("Last", "last@example.com", escalation=True)


class Unreachable(WebClient):
    """Slack is not there."""

    def chat_postMessage(self, **_: Any) -> Any:
        raise ConnectionRefusedError


NO_SLACK = Slack(Unreachable("xoxb-x"), "C1")


@pytest.fixture(autouse=True)
def _stack(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> None:
    monkeypatch.setenv("MAIL_SENDER", "dr@example.com")
    monkeypatch.setenv("APPROVAL_TOPIC_ARN", "arn:aws:sns:us-west-2:123456789012:approvals")
    cloud.answer("ses", "SendEmail", *[{"MessageId": "1"}] * 5, status=200)
    cloud.answer("sns", "Publish", *[{"MessageId": "1"}] * 5, status=200)


def asked(cloud: Cloud, *approvers: Approver, **more: Any) -> list[str]:
    """Who was asked, of these."""
    request(cloud, approvers=approvers, asked_at=T0 if more else None, votes=more.pop("votes", ()))
    context = load_context(cloud.table, ID)
    assert context
    return ask(
        cloud.table, context, approval_of(cloud), lambda one: f"https://page.example/?token={one.name if one else 'all'}", None, **more
    )


def test_each_approver_gets_a_mail_of_his_own(cloud: Cloud) -> None:
    assert asked(cloud, ANN, BOB) == ["mail: Ann", "mail: Bob"]
    assert cloud.made("Publish") == []
    for call, one in zip(cloud.made("SendEmail"), (ANN, BOB), strict=True):
        message = email.message_from_bytes(call.parameters["Content"]["Raw"]["Data"], policy=email.policy.default)
        assert call.parameters["Destination"] == {"ToAddresses": [one.email]} and call.parameters["FromEmailAddress"] == "dr@example.com"
        assert (message["To"], message["From"]) == (one.email, "DR Orchestrator <dr@example.com>")
        for kind in ("plain", "html"):
            part = message.get_body((kind,))
            assert part and f"token={one.name}" in part.get_content()
        other = BOB if one is ANN else ANN
        assert f"token={other.name}" not in str(message)


@pytest.mark.parametrize("failure", ["MessageRejected", "MailFromDomainNotVerifiedException", "TooManyRequestsException"])
def test_whom_ses_does_not_reach_the_topic_tells(cloud: Cloud, failure: str) -> None:
    cloud._answers["ses", "SendEmail"] = [({"MessageId": "1"}, 200), *[(error(failure), 400)] * 9]
    assert asked(cloud, ANN, BOB) == ["mail: Ann", "topic"]


def test_who_has_no_address_is_told_by_the_topic(cloud: Cloud) -> None:
    assert asked(cloud, ANN, EVE) == ["mail: Ann", "topic"]


def test_without_an_identity_and_without_approvers_the_topic_tells(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_SENDER", "-")
    assert asked(cloud, ANN) == ["topic"] and cloud.made("SendEmail") == []
    (call,) = cloud.made("Publish")
    assert "token=all" in call.parameters["Message"] and len(call.parameters["Subject"]) < 100


def said(cloud: Cloud) -> list[tuple[str, str]]:
    """Subject and text of each mail that went out."""
    mails = [
        email.message_from_bytes(call.parameters["Content"]["Raw"]["Data"], policy=email.policy.default) for call in cloud.made("SendEmail")
    ]
    bodies = [mail.get_body(("plain",)) for mail in mails]
    return [(str(mail["Subject"]).strip(), body.get_content()) for mail, body in zip(mails, bodies, strict=True) if body]


def test_at_first_nobody_of_the_escalation_list_is_asked(cloud: Cloud) -> None:
    assert asked(cloud, ANN, LAST) == ["mail: Ann"]


def test_a_reminder_says_so_and_the_escalation_list_is_not_asked_before_half_of_the_time(cloud: Cloud) -> None:
    assert asked(cloud, ANN, LAST, share=25) == ["mail: Ann"]
    ((subject, text),) = said(cloud)
    assert subject.startswith("Reminder: approval needed: ACTIVATE of storefront") and "25 % of the time to decide are over.\r\n" in text


@pytest.mark.parametrize("share", [50, 75])
def test_from_half_of_the_time_on_the_escalation_list_is_asked_and_told_why(cloud: Cloud, share: int) -> None:
    assert asked(cloud, ANN, LAST, share=share) == ["mail: Ann", "mail: Last"]
    (to_ann, _), (to_last, text) = said(cloud)
    assert to_ann.startswith("Reminder: ") and to_last.startswith("Escalated to you: approval needed: ACTIVATE")
    assert f"{share} % of the time to decide are over, and those who were asked first have not decided." in text and "token=Last" in text
    html = [str(call.parameters["Content"]["Raw"]["Data"]) for call in cloud.made("SendEmail")][1]
    assert "those who were asked first" in html.partition("text/html")[2].replace("=\\r\\n", "")


def test_who_has_voted_is_not_reminded(cloud: Cloud) -> None:
    voted = (Ballot(True, "Ann", "page", "Ann", "", T0),)
    assert asked(cloud, ANN, BOB, share=25, votes=voted) == ["mail: Bob"]


def test_with_nobody_left_to_remind_nothing_is_sent(cloud: Cloud) -> None:
    voted = (Ballot(True, "Ann", "page", "Ann", "", T0),)
    assert asked(cloud, ANN, LAST, share=25, votes=voted) == [] and cloud.made("SendEmail", "Publish") == []


def test_where_nobody_is_configured_the_topic_is_told_again(cloud: Cloud) -> None:
    assert asked(cloud, share=75) == ["topic"]
    (call,) = cloud.made("Publish")
    assert call.parameters["Subject"].startswith("Reminder: ") and "75 % of the time" in call.parameters["Message"]


def test_a_request_that_goes_out_late_is_no_reminder_and_reaches_all_whose_turn_it_is(cloud: Cloud) -> None:
    request(cloud, approvers=(ANN, LAST))
    context = load_context(cloud.table, ID)
    assert context and ask(cloud.table, context, approval_of(cloud), lambda _: "https://x/", None, 50) == ["mail: Ann", "mail: Last"]
    assert [subject.partition(":")[0] for subject, _ in said(cloud)] == ["Approval needed"] * 2


def test_when_nothing_reaches_anybody_it_is_a_failure(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_SENDER", "-")
    cloud.answer("sns", "Publish", error("InternalError"))
    with pytest.raises(NobodyAskedError, match=ID):
        asked(cloud)


def test_slack_that_does_not_answer_holds_up_nobody(cloud: Cloud) -> None:
    request(cloud, approvers=(ANN,))
    context = load_context(cloud.table, ID)
    assert context and ask(cloud.table, context, approval_of(cloud), lambda _: "https://x/", NO_SLACK) == ["mail: Ann"]


def test_a_name_cannot_break_a_header(cloud: Cloud) -> None:
    assert asked(cloud, Approver("Zoë, <Q>", "zoe@example.com")) == ["mail: Zoë, <Q>"]
    (call,) = cloud.made("SendEmail")
    raw: bytes = call.parameters["Content"]["Raw"]["Data"]
    assert max(len(line) for line in raw.splitlines()) < 998 and raw.isascii()


def test_how_long_it_took_before(cloud: Cloud) -> None:
    request(cloud)
    ran(cloud, 4, 9999.0, phase=Phase.CLEANUP)
    ran(cloud, 5, 9999.0, status=ExecutionStatus.FAILED)
    ran(cloud, 6, 9999.0, started_at=None)
    ran(cloud, 7, 9999.0, application="other")
    cloud.calls.clear()
    assert completed_seconds(cloud.table, "storefront", Phase.ACTIVATE) == [505.0, 431.0, 1260.0]
    assert [call.operation for call in cloud.calls] == ["Query"], "the index holds all that is needed"
    context = load_context(cloud.table, ID)
    assert context and context.duration == "about 8 min, at worst 21 min (3 completed runs)"
    for number in range(20, 40):
        ran(cloud, number, 1.0)
    assert completed_seconds(cloud.table, "storefront", Phase.ACTIVATE) == [505.0, 431.0, 1260.0, *[1.0] * 7], "the newest ten"
