"""`drctl approvals`: what waits and all of it; a new key for links, and the former one is still good for those that are out."""

import json
from datetime import timedelta

import boto3
import pytest

from dr_core.links import BadLinkError, LinkSigner, LinkToken
from dr_core.records import Approver
from dr_core.state import Refusal
from dr_core.triggers import Vote
from tests.support.desk import ID, SHA, T0, Desk
from tests.support.reports import obstacle, planned, report

KEY = json.dumps({"id": "1", "key": "k" * 40})


@pytest.fixture(autouse=True)
def _made_by_the_stack(desk: Desk) -> None:
    put(KEY)


def put(text: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="signing", SecretString=text)


def kept() -> str:
    return boto3.client("secretsmanager").get_secret_value(SecretId="signing")["SecretString"]


def stored() -> LinkSigner:
    return LinkSigner(kept())


def test_a_new_key_signs_and_the_former_one_is_good_once_more(desk: Desk) -> None:
    token = LinkToken("01X", SHA, T0 + timedelta(hours=1), id="j")
    first = stored().sign(token)
    result = desk.run("approvals", "rotate-key")
    assert result.exit_code == 0, result.output
    assert stored().read(first, T0) == token
    second = stored().sign(token)
    with pytest.raises(BadLinkError):
        LinkSigner(KEY).read(second, T0)
    assert desk.run("approvals", "rotate-key").exit_code == 0
    assert stored().read(second, T0) == token
    with pytest.raises(BadLinkError):
        stored().read(first, T0)


def test_the_keys_are_not_shown(desk: Desk) -> None:
    result = desk.run("approvals", "rotate-key")
    keys = json.loads(kept())
    assert keys["previous"]["key"] == "k" * 40
    assert not any(key in result.output for key in (keys["key"], "k" * 40))


@pytest.mark.parametrize(("secret", "where"), [('{"id": "1"}', "look at key"), ("too short", "look at previous.key")])
def test_a_secret_that_would_not_be_good_is_left_alone(desk: Desk, secret: str, where: str) -> None:
    put(secret)
    result = desk.run("approvals", "rotate-key")
    assert result.exit_code == 2 and where in result.stderr
    assert kept() == secret


# --- list ---

OTHER_ID = "01JZZZZZZZZZZZZZZZZZZZZZZ0"
PEOPLE = (Approver("ann", "ann@example.com"), Approver("bob", "bob@example.com"))


@pytest.fixture
def both(desk: Desk) -> Desk:
    """Two executions wait; ann has approved the second one, of which the time is over first."""
    desk.now += timedelta(minutes=10)
    desk.request([("records", "R53Record")], execution_id=OTHER_ID, application="blog")
    desk.now -= timedelta(minutes=10)
    desk.request([("database-tier", "AuroraMySQL")], reason="[red]down", quorum=2, approvers=PEOPLE)
    state = desk.table.load(ID)
    assert state and state.approval
    desk.move(Vote(True, "ann", "seen", SHA, state.approval.plan_sha256 or ""))
    return desk


def test_what_waits_is_listed_what_ends_first_at_the_top(both: Desk) -> None:
    result = both.run("approvals", "list")
    assert result.exit_code == 0, result.output
    first, second, *_, last = result.stdout.splitlines()
    assert first.startswith(
        f"{ID}  ACTIVATE of storefront  unplanned, in us-west-2  by olga (not verified)  1 of 2 approvals  1 h 0 min left"
    )
    assert second.startswith(f"{OTHER_ID}  ACTIVATE of blog") and "0 of 1 approvals" in second and "1 h 10 min left" in second
    assert last == "drctl approvals show EXECUTION"
    assert both.run("approvals", "list", "--application", "blog").stdout.count("ACTIVATE") == 1


def test_the_list_for_programs(both: Desk) -> None:
    found = json.loads(both.run("approvals", "list", "-o", "json").stdout)
    assert [one["execution"]["id"] for one in found] == [ID, OTHER_ID]
    approval = found[0]["approval"]
    assert (approval["quorum"], approval["layer"], approval["status"]) == (2, 0, "PENDING")
    assert approval["approvers"] == [{"name": "ann", "escalation": False}, {"name": "bob", "escalation": False}]
    (vote,) = approval["votes"]
    assert (vote["approver"], vote["channel"], vote["decision"], vote["breakGlass"]) == ("ann", "page", "approve", False)


def test_what_is_decided_waits_no_more(both: Desk) -> None:
    both.execution_id = ID
    both.move(Vote(False, "bob", "no", SHA, (both.table.approval(ID) or pytest.fail()).plan_sha256 or ""))
    assert [one["execution"]["id"] for one in json.loads(both.run("approvals", "list", "-o", "json").stdout)] == [OTHER_ID]
    both.move(Vote(False, "bob", "no", SHA), OTHER_ID)
    assert both.run("approvals", "list").stdout == "Nothing waits for a decision.\n"


# --- show ---


def shown(desk: Desk, calls: int = 30) -> None:
    """An execution with more in its plan than a mail has room for."""
    many = [planned("rds:CreateDBInstance", DBInstanceIdentifier=f"storefront-{number}") for number in range(calls)]
    findings = tuple(obstacle(f"Missing{number}", f"database-tier (AuroraMySQL): no {number}") for number in range(20))
    desk.reported = {"database-tier": report(calls=tuple(many), irreversible=True, lag_seconds=4.2, findings=findings)}
    desk.request([("database-tier", "AuroraMySQL")], reason="[red]us-east-1 is down", quorum=2, approvers=PEOPLE)


def test_all_that_an_approver_is_told_is_shown(desk: Desk) -> None:
    shown(desk)
    result = desk.run("approvals", "show", ID)
    assert result.exit_code == 0, result.output
    facts = dict(line.split(":", 1) for line in result.stdout.split("\n\n")[1].splitlines())
    told = {name: value.strip() for name, value in facts.items()}
    assert told["Requested by"] == "olga (as stated in the request, not verified)"
    assert (told["Application"], told["Phase"], told["Mode"], told["Acts on"]) == ("storefront", "ACTIVATE", "unplanned", "us-west-2")
    assert told["Reason"] == "[red]us-east-1 is down" and told["Votes"] == "2 approvals needed; none so far"
    assert told["Data loss"].startswith("about 4.2 s of data") and told["Undoing"].startswith("1 step cannot be undone: database-tier")
    assert told["Expires"] == "2031-03-01 13:00:00Z" and told["Takes"] == "not known: no completed run yet"
    assert "IRREVERSIBLE" in result.stdout
    assert all(f"no {number}\n" in result.stdout for number in range(20)), "nothing is cut"
    assert all(f"rds:CreateDBInstance in us-west-2 DBInstanceIdentifier=storefront-{number}\n" in result.stdout for number in range(30))
    assert result.stdout.endswith(f'drctl approve {ID} --reason "…"\ndrctl reject {ID} --reason "…"\n')


def test_the_request_for_programs(desk: Desk) -> None:
    shown(desk)
    found = json.loads(desk.run("approvals", "show", ID, "--output", "json").stdout)
    assert (found["kind"], found["irreversible"], found["pastSeconds"]) == ("approval", ["database-tier"], [])
    assert found["execution"]["reason"] == "[red]us-east-1 is down" and not found["execution"]["requesterVerified"]
    assert (found["preflight"]["errors"], found["preflight"]["calls"], found["preflight"]["lagSeconds"]) == (20, 30, 4.2)
    (seen,) = found["reports"]
    assert len(seen["calls"]) == 30 and seen["calls"][7]["parameters"] == {"DBInstanceIdentifier": "storefront-7"}
    assert found["approval"]["manifestSha256"] == SHA and found["dataLoss"].startswith("about 4.2 s")


def test_what_is_decided_is_shown_with_its_outcome_and_no_command(desk: Desk) -> None:
    shown(desk, 1)
    desk.move(Vote(False, "bob", "not during the sale", SHA, (desk.table.approval(ID) or pytest.fail()).plan_sha256 or ""))
    result = desk.run("approvals", "show", ID)
    assert result.exit_code == 0 and "is already REJECTED by bob" in result.stdout and "drctl approve" not in result.stdout


def test_what_needs_no_approval_is_not_shown(desk: Desk) -> None:
    desk.request([("database-tier", "AuroraMySQL")], dry_run=True)
    dry = desk.run("approvals", "show", ID)
    assert dry.exit_code == 2 and "needs no approval: it is a dry run" in dry.stderr
    desk.table.refuse(Refusal("01REFUSED", "storefront", desk.now, ["wrong"], {}), "us-west-2", None, [], desk.now)
    assert desk.run("approvals", "show", "01REFUSED").exit_code == 1
    assert desk.run("approvals", "show", "01NOBODY").exit_code == 2
