"""`drctl status` and `drctl executions`: what the table says, for people and for programs."""

import json
from datetime import timedelta

from dr_core.commands import Command
from dr_core.errors import Problem
from dr_core.state import Refusal
from dr_core.triggers import Outcome, Vote
from tests.support.desk import DONE, ID, Desk, failed

DATABASE = ("database-tier", "AuroraMySQL")
WEB = ("web", "ECS")
EVIL = ("[red]x[/red] \u202ey", "ECS")


def under_way(desk: Desk) -> None:
    """The first layer is done; of the second, one resource is half way, and one has just been requested."""
    desk.request([DATABASE], [WEB, EVIL])
    desk.now += timedelta(seconds=10)
    desk.approve()
    desk.now += timedelta(seconds=30)
    desk.begin("0001-001", DONE)
    desk.begin("0002-001", Outcome("IN_PROGRESS", "3 of 4 tasks run", 75))
    desk.now += timedelta(seconds=5)


def halted(desk: Desk) -> None:
    desk.request([DATABASE])
    desk.approve()
    desk.begin("0001-001", failed("AccessDenied", "User x is not\nauthorized [bold]here", "req-7"))


def test_shows_an_execution_that_is_under_way(desk: Desk) -> None:
    under_way(desk)
    result = desk.run("status", ID)
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[0] == "ACTIVATE of storefront in us-west-2 (unplanned)  RUNNING"
    assert "Requested   2031-03-01 12:00:00Z by olga (as stated, not verified)" in lines
    assert "Reason      Region down" in lines
    assert "Approval    APPROVED by ann at 2031-03-01 12:00:10Z: seen" in lines
    assert "Elapsed     45.0 s since the request, 35.0 s of them running" in lines
    assert "Layer 1  SUCCEEDED  1 resource  30.0 s" in lines
    assert "Layer 2  RUNNING  2 resources  5.0 s" in lines
    (web,) = (line for line in lines if line.startswith("  web "))
    assert " ".join(web.split()) == "web ECS WAITING attempt 1 of 1 5.0 s ###############..... 75 % 3 of 4 tasks run"
    assert "12:00:40    +40.0s Resource Succeeded   database-tier (AuroraMySQL)  in 0.0 s" in lines
    assert "web is looked at again at 2031-03-01 12:00:45Z, may take until 2031-03-01 12:10:40Z." in lines
    assert lines[-1] == f"  drctl watch {ID}"


def test_names_from_the_table_are_never_markup(desk: Desk) -> None:
    under_way(desk)
    shown = desk.run("status", ID).stdout
    assert "[red]x[/red]  y" in shown
    assert "\u202e" not in shown


def test_a_pending_execution_says_until_when_and_how_to_decide(desk: Desk) -> None:
    desk.request([DATABASE])
    result = desk.run("--region", "us-west-2", "status", ID)
    assert result.exit_code == 0
    assert "It waits for a decision until 2031-03-01 13:00:00Z (1 h 0 min from now), then it expires." in result.stdout
    assert f"drctl approve {ID} --reason TEXT" in result.stdout


def test_a_halted_execution_says_what_failed_and_the_remedy(desk: Desk) -> None:
    halted(desk)
    result = desk.run("status", ID)
    assert result.exit_code == 1
    shown = result.stdout
    assert "database-tier: AccessDenied: User x is not authorized [bold]here (request id req-7) [TERMINAL]" in shown
    assert "Layer 1 failed, and the execution is halted" in shown
    assert "mend the cause first" in shown
    assert "storefront stays locked in us-east-1 and us-west-2" in shown


def test_json_has_all_of_it_and_no_secrets(desk: Desk) -> None:
    halted(desk)
    result = desk.run("status", ID, "--output", "json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["schemaVersion"], document["kind"]) == ("1", "execution")
    assert document["execution"]["status"] == "FAILED"
    assert document["execution"]["requestedAt"] == "2031-03-01T12:00:00.000Z"
    assert document["approval"]["approver"] == "ann"
    (resource,) = document["layers"][0]["resources"]
    assert resource["failure"] == {
        "code": "AccessDenied",
        "class": "TERMINAL",
        "message": "User x is not\nauthorized [bold]here",
        "requestId": "req-7",
    }
    assert [one["detailType"] for one in document["timeline"]][-2:] == ["Layer Completed", "Execution Halted"]
    assert document["timeline"][0]["detail"]["requestedBy"] == "olga"
    assert document["next"]["sentences"][0].startswith("Layer 1 failed")
    assert "the-token" not in result.stdout and "Secret" not in result.stdout


def test_a_rejected_execution_can_be_started_again(desk: Desk) -> None:
    desk.request([DATABASE], reason="it's down; $(rm x)")
    desk.move(Vote(False, "ann", "no", "5ha"))
    result = desk.run("status", ID)
    assert result.exit_code == 1
    again = "drctl start storefront ACTIVATE --target us-west-2 --source us-east-1 --mode unplanned"
    assert f"{again} --reason 'it'\"'\"'s down; $(rm x)'" in result.stdout


def test_success_and_a_pause_are_no_failures(desk: Desk) -> None:
    desk.request([DATABASE])
    desk.approve()
    desk.move(Command("pause", "olga", "wait"))
    paused = desk.run("status", ID)
    desk.move(Command("resume", "olga", "on"))
    desk.begin("0001-001", DONE)
    succeeded = desk.run("status", ID)
    assert (paused.exit_code, succeeded.exit_code) == (0, 0)
    assert "It is paused" in paused.stdout and "database-tier is held back." in paused.stdout
    assert "Nothing is left to do." in succeeded.stdout


def test_what_should_have_moved_long_ago_is_called_stuck(desk: Desk) -> None:
    under_way(desk)
    desk.now += timedelta(minutes=5)
    assert "Stuck? web is overdue since" in desk.run("status", ID).stdout


def refuse(desk: Desk, identity: str) -> None:
    problem = Problem("storefront/Activate.json", "1", "[red]api", "action", "no such module", "use ECS")
    refusal = Refusal(identity, "storefront", desk.now, [str(problem)], {})
    assert desk.table.refuse(refusal, "us-west-2", None, [problem], desk.now)


def test_shows_a_refusal(desk: Desk) -> None:
    refuse(desk, "01REFUSED")
    text = desk.run("status", "01REFUSED")
    assert text.exit_code == 1
    assert "storefront/Activate.json, layer 1, resource [red]api, key action: no such module (use ECS)" in text.stdout
    document = json.loads(desk.run("status", "01REFUSED", "-o", "json").stdout)
    assert document["kind"] == "refusal" and len(document["problems"]) == 1


def test_an_unknown_execution_is_wrong_use(desk: Desk) -> None:
    result = desk.run("status", "01NOBODY")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "drctl: there is no execution 01NOBODY in stack dr-orchestrator",
        "       drctl executions APPLICATION lists an application's",
    ]


def test_lists_an_application_newest_first(desk: Desk) -> None:
    refuse(desk, "01EARLIER")
    desk.now += timedelta(minutes=1)
    desk.request([DATABASE])
    result = desk.run("executions", "storefront")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        [ID, "2031-03-01", "12:01:00Z", "ACTIVATE", "PENDING_APPROVAL"],
        ["01EARLIER", "2031-03-01", "12:00:00Z", "-", "REFUSED"],
    ]
    (newest,) = json.loads(desk.run("executions", "storefront", "--limit", "1", "--output", "json").stdout)
    assert newest == {"id": ID, "status": "PENDING_APPROVAL", "phase": "ACTIVATE", "requestedAt": "2031-03-01T12:01:00.000Z"}
    assert desk.run("executions", "nothing").stdout == "There is no execution of nothing.\n"
