"""drctl pause, resume, cancel, retry, skip, force-complete, abandon."""

import json

import boto3
import pytest

from dr_core.requests import CommandRequested
from tests.support.desk import BUS, DONE, ID, Desk, desk, failed

__all__ = ["desk"]

DATABASE, WEB = ("database-tier", "AuroraMySQL"), ("web", "ECS")


def halted(desk: Desk) -> None:
    """Its first resource has failed."""
    desk.open_the_way_in()
    desk.request([DATABASE], [WEB])
    desk.approve()
    desk.begin("0001-001", failed("AccessDenied", "no"))
    desk.upcoming = [desk.take_requests]


def test_a_halted_execution_is_retried(desk: Desk) -> None:
    halted(desk)
    result = desk.run("retry", ID, "--reason", "the role is mended", "--requested-by", "olga")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["retry accepted", "ACTIVATE of storefront in us-west-2 (unplanned)  RUNNING"]
    assert desk._resource("0001-001").status == "PENDING"


def test_a_resource_is_named_by_its_name_or_its_id(desk: Desk) -> None:
    halted(desk)
    sent: list[CommandRequested] = []

    def look() -> None:
        for event in desk.received():
            sent.append(CommandRequested.parse(event["detail"]))

    for name in ("database-tier", "0001-001"):
        desk.upcoming = [look]
        assert desk.run("skip", ID, name, "--reason", "by hand", "--requested-by", "olga").exit_code == 1, "nobody takes it"
    assert [one.resource_ids for one in sent] == [("0001-001",)] * 2
    assert {(one.command, one.reason, one.requested_by) for one in sent} == {("skip", "by hand", "olga")}


def test_a_resource_that_is_not_there_is_an_error_before_anything_is_sent(desk: Desk) -> None:
    halted(desk)
    result = desk.run("retry", ID, "web", "--reason", "again", "--requested-by", "olga")
    assert result.exit_code == 2
    assert "the current layer has no resource web" in result.stderr and "it has database-tier (0001-001)" in result.stderr
    assert desk.received() == []


def test_a_refused_command_says_why(desk: Desk) -> None:
    halted(desk)
    result = desk.run("resume", ID, "--reason", "go on", "--requested-by", "olga")
    assert result.exit_code == 1
    assert "resume refused: resume needs an execution that is PAUSED, this one is FAILED" in result.stderr
    assert "drctl status" in result.stderr


def test_no_answer_says_what_to_do(desk: Desk) -> None:
    halted(desk)
    desk.upcoming = []
    result = desk.run("cancel", ID, "--reason", "enough", "--requested-by", "olga", "--client-token", "t-7")
    assert result.exit_code == 1
    assert "nothing came of it within 60 s" in result.stderr and "--client-token t-7" in result.stderr
    assert "dr-orchestrator-control-execution" in result.stderr


def test_the_same_token_is_one_command(desk: Desk) -> None:
    halted(desk)
    first = ("skip", ID, "--reason", "by hand", "--requested-by", "olga", "--client-token", "t-1")
    assert desk.run(*first).exit_code == 0
    desk.upcoming = []
    assert desk.run(*first).exit_code == 0, "it was carried out"
    assert desk.received() == [], "and is not sent again"
    other = desk.run("cancel", ID, "--reason", "enough", "--requested-by", "olga", "--client-token", "t-1")
    assert other.exit_code == 2 and "client token t-1 was used before, for skip" in other.stderr


@pytest.mark.parametrize(
    ("command", "becomes"),
    [(("pause",), "PAUSED"), (("cancel",), "CANCELLING"), (("force-complete", "database-tier"), "RUNNING")],
)
def test_what_is_under_way_is_steered(desk: Desk, command: tuple[str, ...], becomes: str) -> None:
    desk.open_the_way_in()
    desk.request([DATABASE], [WEB])
    desk.approve()
    desk.begin("0001-001", type(DONE)("IN_PROGRESS", "joining", 50))
    desk.upcoming = [desk.take_requests]
    name, *resources = command
    result = desk.run(name, ID, *resources, "--reason", "because", "--requested-by", "olga")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].endswith(becomes)


def test_a_paused_execution_is_resumed_or_abandoned(desk: Desk) -> None:
    desk.open_the_way_in()
    desk.request([DATABASE])
    desk.approve()
    for command, becomes in (("pause", "PAUSED"), ("resume", "RUNNING"), ("pause", "PAUSED"), ("abandon", "ABANDONED")):
        desk.upcoming = [desk.take_requests]
        result = desk.run(command, ID, "--reason", "because", "--requested-by", "olga")
        assert result.stdout.splitlines()[-1].endswith(becomes), result.output


def test_a_refused_request_has_nothing_to_steer(desk: Desk) -> None:
    desk.open_the_way_in()
    detail = {"application": "storefront", "phase": "NO", "clientToken": "t"}
    entry = {"EventBusName": BUS, "Source": "dr.operator", "DetailType": "Execution Requested", "Detail": json.dumps(detail)}
    boto3.client("events").put_events(Entries=[entry])  # type: ignore[list-item]
    desk.take_requests()
    execution_id = desk.table.by_token("storefront", "t")
    assert execution_id
    result = desk.run("pause", execution_id, "--reason", "because", "--requested-by", "olga")
    assert result.exit_code == 2 and "was refused: there is nothing to pause" in result.stderr


def test_a_reason_must_be_given(desk: Desk) -> None:
    assert desk.run("pause", ID).exit_code == 2
