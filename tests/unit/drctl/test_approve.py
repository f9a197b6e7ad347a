"""`drctl approve` and `drctl reject`, against the real page: only its POST decides."""

from datetime import timedelta
from typing import Any

import boto3
import httpx
import pytest
from typer.testing import CliRunner

from dr_core.approvals import link_for
from dr_core.links import LinkSigner
from dr_core.records import Approval, ApprovalStatus, Approver
from dr_core.state import Refusal
from drctl.app import app
from drctl.cloud import Cloud
from tests.support.desk import ID, PAGE, SECRET, STACK, Desk

EVIL = "[red]it's <b>down</b>"


def requested(desk: Desk) -> str:
    """An execution that waits; the link that its approvers get."""
    desk.request([("database-tier", "AuroraMySQL")], reason=EVIL)
    state = desk.table.load(ID)
    assert state and state.approval
    return link_for(state.execution, state.approval, LinkSigner(SECRET), PAGE)


def approval(desk: Desk) -> Approval:
    found = desk.table.approval(ID)
    assert found
    return found


def test_approves_by_link(desk: Desk) -> None:
    link = requested(desk)
    result = desk.run("approve", link, "--approver", "ann", "--reason", "seen & agreed")
    assert result.exit_code == 0, result.output
    assert f"Reason        {EVIL}\n" in result.stdout
    assert "Preflight     nothing found in the way\n" in result.stdout
    assert result.stdout.splitlines()[-1] == "You approved it: ACTIVATE of storefront is approved."
    assert (approval(desk).status, approval(desk).approver, approval(desk).reason) == (ApprovalStatus.APPROVED, "ann", "seen & agreed")
    (post,) = desk.posts
    assert str(post.url) == link


def test_rejects_by_id_in_the_callers_name(desk: Desk) -> None:
    requested(desk)
    result = desk.run("reject", ID, "--reason", "not now")
    assert result.exit_code == 0, result.output
    assert "You rejected it" in result.stdout
    assert (approval(desk).status, approval(desk).approver, approval(desk).reason) == (ApprovalStatus.REJECTED, "moto", "not now")


def test_a_second_decision_is_not_accepted(desk: Desk) -> None:
    link = requested(desk)
    desk.run("approve", link, "--approver", "ann")
    result = desk.run("reject", link, "--approver", "bob")
    assert result.exit_code == 1
    assert "This request is already APPROVED by ann." in result.stderr
    assert approval(desk).approver == "ann" and len(desk.posts) == 1


def test_the_page_says_why_it_does_not_accept_a_link(desk: Desk) -> None:
    link = requested(desk)
    altered = desk.run("approve", link[:-4] + "AAAA", "--approver", "ann")
    desk.now += timedelta(hours=2)
    late = desk.run("approve", ID, "--approver", "ann")
    assert (altered.exit_code, late.exit_code) == (1, 1)
    assert altered.stderr.startswith("drctl: This link is not valid: this link was not made by the orchestrator")
    assert late.stderr.startswith("drctl: This link is not valid: this link expired at 2031-03-01 13:00:00Z")
    assert approval(desk).status is ApprovalStatus.PENDING


def test_without_the_right_to_the_secret_an_id_is_not_enough(desk: Desk) -> None:
    requested(desk)
    boto3.client("secretsmanager").delete_secret(SecretId="signing", ForceDeleteWithoutRecovery=True)
    result = desk.run("approve", ID, "--approver", "ann")
    assert result.exit_code == 2
    assert "AWS refused GetSecretValue: ResourceNotFoundException" in result.stderr
    assert desk.posts == []


def test_what_is_unknown_or_refused_cannot_be_decided(desk: Desk) -> None:
    desk.table.refuse(Refusal("01REFUSED", "storefront", desk.now, ["wrong"], {}), "us-west-2", None, [], desk.now)
    unknown, refused = desk.run("approve", "01NOBODY"), desk.run("approve", "01REFUSED")
    assert (unknown.exit_code, refused.exit_code) == (2, 2)
    assert "request 01REFUSED was refused: there is nothing to decide" in refused.stderr


def test_a_link_needs_no_aws_but_a_name(desk: Desk, request: pytest.FixtureRequest) -> None:
    link = requested(desk)
    request.getfixturevalue("no_credentials")
    result = desk.run("approve", link)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "drctl: no AWS credentials to take your name from",
        "       log in to AWS, or give your name with --approver",
    ]


def test_a_page_that_does_not_answer_is_a_failure(desk: Desk) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    cloud = Cloud(STACK, transport=httpx.MockTransport(refuse))
    result = CliRunner().invoke(app, ["approve", f"{PAGE}?token=x", "--approver", "ann"], obj=cloud)
    assert result.exit_code == 1
    assert result.stderr == "drctl: the approval page at page.example does not answer: Connection refused\n"


# --- signed ---

OLGA, ANN = "arn:aws:sts::123456789012:assumed-role/operator/olga", "arn:aws:sts::123456789012:assumed-role/operator/ann"
TWO: dict[str, Any] = {"quorum": 2, "approvers": (Approver("olga", principal=OLGA), Approver("ann", principal=ANN))}


def test_a_signed_vote_is_who_signed_it(desk: Desk) -> None:
    requested(desk)
    desk.take_signed(ANN)
    result = desk.run("approve", ID, "--reason", "seen")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"approved as {ANN}" and "Undoing " in result.stdout
    assert [(one.approver, one.channel, one.break_glass) for one in approval(desk).votes] == [(ANN, "iam", False)]


def test_break_glass_needs_nobody_else_and_says_loudly_what_it_is(desk: Desk) -> None:
    desk.request([("database-tier", "AuroraMySQL")], **TWO)
    desk.take_signed(OLGA, break_glass=OLGA)
    refused = desk.run("approve", ID, "--reason", "nobody answers")
    assert refused.exit_code == 1 and "olga asked for this, and may reject it but not approve it" in refused.stderr
    result = desk.run("approve", ID, "--reason", "nobody answers", "--break-glass")
    assert result.exit_code == 0, result.output
    assert "Quorum and four eyes were bypassed. The event Approval Bypassed and an alarm tell so, with your name." in result.stdout
    assert approval(desk).status is ApprovalStatus.APPROVED
    assert [(one.approver, one.reason, one.break_glass) for one in approval(desk).votes] == [("olga", "nobody answers", True)]
    assert [one.detail_type for one in desk.table.timeline(ID)][-3:] == ["Vote Recorded", "Approval Bypassed", "Approval Granted"]


def test_break_glass_of_who_is_not_listed_decides_nothing_and_takes_no_other_way(desk: Desk) -> None:
    desk.request([("database-tier", "AuroraMySQL")], **TWO)
    desk.take_signed(ANN, break_glass=OLGA)
    result = desk.run("approve", ID, "--reason", "nobody answers", "--break-glass")
    assert result.exit_code == 2
    assert "nothing was decided: its RequestUrl answers 403" in result.stderr and "BreakGlassPrincipals" in result.stderr
    assert approval(desk).votes == () and desk.posts == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--break-glass",), "break-glass needs a reason"),
        (("--break-glass", "--reason", " "), "break-glass needs a reason"),
        (("--break-glass", "--reason", "x", "--approver", "ann"), "signed with your own credentials"),
    ],
)
def test_break_glass_needs_a_reason_and_ones_own_credentials(desk: Desk, options: tuple[str, ...], why: str) -> None:
    requested(desk)
    desk.take_signed(OLGA, break_glass=OLGA)
    result = desk.run("approve", ID, *options)
    assert result.exit_code == 2 and why in result.stderr
    assert approval(desk).votes == ()


def test_break_glass_is_not_by_link_and_not_to_reject(desk: Desk) -> None:
    link = requested(desk)
    assert desk.run("approve", link, "--break-glass", "--reason", "x").exit_code == 2
    assert desk.run("reject", ID, "--break-glass", "--reason", "x").exit_code == 2
    assert approval(desk).votes == () and desk.posts == []
