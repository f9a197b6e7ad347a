"""`drctl status` and `drctl executions`: what the table says, for people and for programs."""

import json
from datetime import timedelta

from dr_core.commands import Command
from dr_core.errors import Problem
from dr_core.state import Refusal
from dr_core.triggers import Outcome, Vote
from tests.support.desk import DONE, ID, Desk, failed
from tests.support.reports import obstacle, planned, report, warning

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
    assert "Requested   2031-03-01 12:00:00Z by olga (as stated in the request, not verified)" in lines
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
    assert shown.splitlines()[-3:] == [
        f"  drctl retry {ID} [RESOURCE]... --reason TEXT",
        f"  drctl skip {ID} [RESOURCE]... --reason TEXT",
        f"  drctl cancel {ID} --reason TEXT",
    ]


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


def test_what_the_sweep_called_for_in_vain_is_stuck_and_the_log_is_named(desk: Desk) -> None:
    under_way(desk)
    for _ in range(4):
        desk.now += timedelta(minutes=1)
        desk.sweep()
    said = " ".join(desk.run("status", ID).stdout.split())
    assert "Stuck: web is WAITING, and nothing has come of it since" in said and "the log of check_resource" in said
    assert "Stuck? web" not in said, "one of the two is enough"
    assert "Stuck Detected web (ECS) WAITING, and nothing has come of it since" in said
    document = json.loads(desk.run("status", ID, "-o", "json").stdout)
    stuck = {one["resourceName"]: one["stuck"] for layer in document["layers"] for one in layer["resources"]}
    assert stuck["web"] and not all(stuck.values())


def test_what_a_pause_holds_is_not_called_stuck(desk: Desk) -> None:
    desk.request([("web", "ECS")])
    desk.approve()
    desk.command("pause", "wait")
    desk.now += timedelta(minutes=9)
    assert "Stuck" not in desk.run("status", ID).stdout


def test_after_a_takeover_attempts_are_counted_from_one(desk: Desk) -> None:
    under_way(desk)
    desk.lose_home()
    desk.command("takeover", "us-east-1 does not answer")
    desk.now += timedelta(minutes=5)
    desk.move_on()
    shown = " ".join(desk.run("status", ID).stdout.split())
    assert "y ECS REQUESTED attempt 1 of 1" in shown and "of 101" not in shown


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


def test_a_pending_execution_shows_what_preflight_found(desk: Desk) -> None:
    findings = tuple(warning(f"Slow{n}", "[red]it is slow") for n in range(25))
    desk.reported = {
        "database-tier": report(lag_seconds=4.2, findings=(*findings, obstacle("NoQuota", "database-tier (AuroraMySQL): raise it")))
    }
    desk.request([DATABASE])
    lines = [line.rstrip() for line in desk.run("status", ID).stdout.splitlines()]
    first = lines.index("Preflight")
    assert lines[first + 1 : first + 5] == [
        "1 error in the way, 25 warnings",
        "Data loss: about 4.2 s of data if it failed over now (database-tier, 60 s accepted when planned)",
        "  ERROR   NoQuota: database-tier (AuroraMySQL): raise it",
        "  WARNING database-tier: Slow0: [red]it is slow",
    ]
    assert "  and 6 more, in the output for programs (--output json)" in lines
    document = json.loads(desk.run("status", ID, "-o", "json").stdout)
    assert document["preflight"]["errors"] == 1 and len(document["reports"][0]["findings"]) == 26
    assert document["execution"]["dryRun"] is False and document["execution"]["preflightAt"] == "2031-03-01T12:00:00.000Z"
    desk.approve()
    assert "Preflight" not in desk.run("status", ID).stdout.splitlines(), "once it runs, what happens counts"


def test_json_says_how_much_was_lost_and_which_step_it_is(desk: Desk) -> None:
    desk.request([DATABASE])
    desk.approve()
    desk.begin("0001-001", Outcome("IN_PROGRESS"), lag_seconds=0.5)
    desk.check("0001-001", Outcome("NEXT_STEP", "detached"))
    (resource,) = json.loads(desk.run("status", ID, "-o", "json").stdout)["layers"][0]["resources"]
    assert (resource["step"], resource["lagSeconds"], resource["maxLagSeconds"]) == (1, 0.5, 60)


def test_a_dry_run_from_its_request_to_its_end(desk: Desk) -> None:
    desk.reported = {"web": report(findings=(obstacle("NoQuota", "web (ECS): raise it"),), calls=(planned("ecs:UpdateService"),) * 2)}
    desk.request([DATABASE], [WEB], dry_run=True, client_token="t-1")
    planning = desk.run("status", ID)
    assert planning.exit_code == 0, planning.output
    assert "ACTIVATE of storefront in us-west-2 (unplanned, dry run)  PLANNING" in planning.stdout
    assert "the resources are being looked at, until 2031-03-01 12:15:00Z at the latest" in planning.stdout
    assert "It is under way." in planning.stdout and f"  drctl watch {ID}" in planning.stdout
    assert json.loads(desk.run("status", ID, "-o", "json").stdout)["preflight"] is None
    desk.preflight()
    done = desk.run("status", ID)
    assert done.exit_code == 0
    assert "Execution Requested  dry run, by olga (unplanned)" in done.stdout
    assert "  ERROR   NoQuota: web (ECS): raise it" in done.stdout
    assert "It was a dry run, and nothing was changed: 1 error in the way, 0 warnings." in done.stdout
    assert "The phase would make 2 calls on 1 of 2 resources. This shows them:" in done.stdout
    plan = "drctl plan storefront ACTIVATE --target us-west-2 --source us-east-1 --mode unplanned --client-token t-1"
    assert done.stdout.splitlines()[-1] == f"  {plan}"
    assert "Nothing is left to do." not in done.stdout


def test_a_dry_run_that_expired_can_be_planned_again(desk: Desk) -> None:
    desk.request([WEB], dry_run=True, client_token="t-1")
    desk.now += timedelta(seconds=900)
    desk.move_on()
    result = desk.run("status", ID)
    assert result.exit_code == 1 and "It ended as EXPIRED: the dry run did not end within 900 s" in result.stdout
    assert "no preflight came in time" in result.stdout
    assert result.stdout.splitlines()[-1] == "  drctl plan storefront ACTIVATE --target us-west-2 --source us-east-1 --mode unplanned"


def test_away_from_its_home_it_says_where_that_is_and_how_to_take_it_over(desk: Desk) -> None:
    desk.request([("database-tier", "AuroraMySQL")])
    desk.approve()
    desk.lose_home()
    shown = " ".join(desk.run("status", ID).stdout.split())
    assert "Its home is us-east-1" in shown and "replicated to us-west-2" in shown
    assert f"drctl --region us-east-1 status {ID}" in shown and f"drctl takeover {ID} --reason TEXT" in shown
    assert "drctl pause" not in shown, "it would be refused here"
    desk.command("takeover", "us-east-1 does not answer")
    assert "Its home is" not in desk.run("status", ID).stdout
