"""`drctl watch`: each event once, in the order of its coming, until the execution has ended or is halted."""

import io
from datetime import timedelta

from rich.console import Console

from dr_core.commands import Command
from dr_core.errors import ErrorClass
from dr_core.records import ExecutionStatus, Failure, Resource, ResourceStatus
from dr_core.triggers import Outcome, Vote
from drctl.view import layers
from drctl.watch import follow, remaining, usual_seconds
from tests.support.control_plane import T0, a_layer, a_resource
from tests.support.desk import DONE, ID, Desk, failed

DATABASE, WEB = ("database-tier", "AuroraMySQL"), ("[red]web[/red]", "ECS")


def played(desk: Desk) -> list[str]:
    """Two layers that succeed while drctl watches: the lines that it writes."""
    desk.request([DATABASE], [WEB])
    desk.upcoming = [
        desk.approve,
        lambda: desk.begin("0001-001", Outcome("IN_PROGRESS", "joining", 50)),
        lambda: None,
        lambda: desk.check("0001-001", DONE),
        lambda: desk.begin("0002-001", DONE),
    ]
    result = desk.run("watch", ID)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_writes_each_event_once_as_it_comes(desk: Desk) -> None:
    lines = played(desk)
    assert [line[19:].split("  ")[0] for line in lines[:-1]] == [
        "Execution Requested",
        "Preflight Completed",
        "Approval Requested",
        "Vote Recorded",
        "Approval Granted",
        "Execution Started",
        "Layer Started",
        "Resource Requested",
        "Resource Started",
        "Resource Waiting",
        "Resource Succeeded",
        "Layer Completed",
        "Layer Started",
        "Resource Requested",
        "Resource Started",
        "Resource Succeeded",
        "Layer Completed",
        "Execution Completed",
    ]
    assert lines[0] == "12:00:00     +0.0s Execution Requested  by olga (unplanned)"
    assert lines[10] == "12:00:01     +1.3s Resource Succeeded   database-tier (AuroraMySQL)  in 0.7 s"
    assert lines[15] == "12:00:01     +1.6s Resource Succeeded   [red]web[/red] (ECS)  in 0.0 s"
    assert lines[-1] == "ACTIVATE of storefront in us-west-2 (unplanned)  SUCCEEDED  1.6 s"


def test_a_halted_execution_ends_the_watching_and_is_explained(desk: Desk) -> None:
    desk.request([DATABASE])
    desk.approve()
    desk.upcoming = [lambda: desk.begin("0001-001", failed("AccessDenied", "no", "req-7"))]
    result = desk.run("watch", ID)
    assert result.exit_code == 1
    assert "Resource Failed      database-tier (AuroraMySQL)  in 0.0 s, AccessDenied: no (request id req-7)" in result.stdout
    assert "Layer 1 failed, and the execution is halted" in result.stdout
    assert f"retry {ID} [RESOURCE]... --reason TEXT\n" in result.stdout, "what goes on, at the end where it is seen"
    state = desk.table.load(ID)
    assert state and remaining(state.execution, 60, desk.now) == "", "nobody knows when a halted one ends"


def test_a_cancelled_execution_is_no_success(desk: Desk) -> None:
    desk.request([DATABASE])
    desk.upcoming = [lambda: desk.move(Command("cancel", "olga", "wrong one"))]
    result = desk.run("watch", ID)
    assert result.exit_code == 1
    assert "It ended as CANCELLED: cancelled by olga: wrong one." in result.stdout


def test_stops_when_the_time_is_up(desk: Desk) -> None:
    desk.request([DATABASE])
    result = desk.run("watch", ID, "--timeout", "3")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "PENDING_APPROVAL still, after the 3.0 s that you wanted to watch"


def test_interrupting_it_stops_only_the_watching(desk: Desk) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    desk.request([DATABASE])
    desk.upcoming = [interrupt]
    result = desk.run("watch", ID)
    assert result.exit_code == 130
    assert f"the execution goes on\n       drctl watch {ID}" in result.stderr


def test_an_event_that_is_stored_late_is_still_seen(desk: Desk) -> None:
    """Two functions store at about the same time: the later event may be there before the earlier one."""
    desk.request([DATABASE], [WEB])

    def store_late() -> None:
        now = desk.now
        desk.approve()
        desk.now = now - timedelta(seconds=5)
        desk.begin("0001-001", DONE)
        desk.now = now

    desk.upcoming = [store_late]
    result = desk.run("watch", ID, "--timeout", "2")
    assert result.stdout.count("Resource Succeeded") == 1
    assert result.stdout.count("Execution Started") == 1


def test_an_unknown_execution_is_wrong_use(desk: Desk) -> None:
    assert desk.run("watch", "01NOBODY").exit_code == 2


def followed(desk: Desk, out: Console, since: timedelta) -> ExecutionStatus:
    end = follow(desk.table, ID, out, clock=lambda: desk.now, sleep=desk.sleep, timeout_seconds=60, since=desk.now - since)
    return end.status


def test_follow_keeps_the_callers_clock(desk: Desk) -> None:
    desk.request([DATABASE])
    desk.upcoming = [lambda: desk.move(Vote(False, "ann", "no", "5ha"))]
    out = Console(file=io.StringIO(), width=40)
    assert followed(desk, out, timedelta(seconds=100)) is ExecutionStatus.REJECTED
    written = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert written[0] == "12:00:00   +100.0s Execution Requested  by olga (unplanned)"
    assert written[-1].startswith("12:00:00   +100.3s Execution Rejected   REJECTED, rejected by ann: no")


def test_on_a_terminal_a_board_shows_how_far_it_is(desk: Desk) -> None:
    desk.request([DATABASE], [WEB])
    desk.approve()
    desk.begin("0001-001", DONE)
    desk.upcoming = [
        lambda: desk.begin("0002-001", Outcome("IN_PROGRESS", "3 of 4", 75)),
        lambda: None,
        lambda: desk.check("0002-001", DONE),
    ]
    out = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    assert followed(desk, out, timedelta()) is ExecutionStatus.SUCCEEDED
    written = out.file.getvalue()  # type: ignore[attr-defined]
    assert "Layer 1  SUCCEEDED  1 resource" in written
    assert "[red]web[/red]  ECS  WAITING" in written and "75 %  3 of 4" in written
    assert written.count("Execution Completed") == 1


def shown(most_lines: int | None, **statuses: int) -> list[str]:
    """The lines of a layer with so many resources of each status, the failed ones last in the manifest."""
    resources: list[Resource] = []
    for status, number in statuses.items():
        failure = Failure("Boom", ErrorClass.TERMINAL, "it broke") if status == "FAILED" else None
        resources += [
            a_resource(1, len(resources) + index, status=ResourceStatus(status), failure=failure) for index in range(1, number + 1)
        ]
    out = Console(file=io.StringIO(), width=120, color_system=None)
    out.print(layers([a_layer(1, len(resources))], resources, T0, most_lines))
    return out.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_of_a_large_layer_the_board_shows_what_needs_a_look_and_counts_the_rest() -> None:
    lines = shown(10, SUCCEEDED=480, WAITING=10, REQUESTED=7, FAILED=3)
    assert len(lines) == 1 + 10, "its own line, nine for resources, and one for the others"
    assert [line.split()[2] for line in lines[1:7]] == ["FAILED"] * 3 + ["WAITING"] * 3
    assert [line.split()[0] for line in lines[4:7]] == ["lamp-481", "lamp-482", "lamp-483"], "as the manifest has them"
    assert [line.strip() for line in lines[7:10]] == [f"lamp-{number}: Boom: it broke [TERMINAL]" for number in (498, 499, 500)]
    assert lines[-1] == "  and 7 WAITING, 7 REQUESTED, 480 SUCCEEDED"


def test_a_layer_that_there_is_room_for_is_shown_as_it_is() -> None:
    assert shown(7, SUCCEEDED=3, FAILED=2) == shown(None, SUCCEEDED=3, FAILED=2)
    assert shown(6, SUCCEEDED=3, FAILED=2)[-1] == "  and 2 SUCCEEDED"


def test_the_board_leaves_room_on_the_terminal(desk: Desk) -> None:
    desk.request([(f"web-{number}", "ECS") for number in range(20)])
    desk.approve()
    desk.upcoming = [lambda: None, lambda: desk.move(Command("cancel", "olga", "enough"))]
    out = Console(file=io.StringIO(), width=120, height=20, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    assert followed(desk, out, timedelta()) is ExecutionStatus.CANCELLED
    assert "and 10 REQUESTED" in out.file.getvalue(), "ten have room"  # type: ignore[attr-defined]


def test_a_dry_run_ends_well(desk: Desk) -> None:
    desk.request([("web", "ECS")], dry_run=True)
    desk.upcoming = [lambda: None, desk.preflight]
    result = desk.run("watch", ID)
    assert result.exit_code == 0, result.output
    assert "Preflight Completed" in result.stdout and "(unplanned, dry run)  SUCCEEDED" in result.stdout


def test_plain_lines_also_on_a_terminal_and_how_long_it_usually_takes(desk: Desk) -> None:
    for letter, seconds in (("A", 30), ("B", 90), ("C", 60)):
        desk.request([("web", "ECS")], execution_id=f"01J{letter * 23}")
        desk.approve()
        desk.now += timedelta(seconds=seconds)
        desk.begin("0001-001", DONE)
    desk.request([("web", "ECS")])
    desk.approve()
    state = desk.table.load(ID)
    assert state and usual_seconds(desk.table, state.execution) == 60
    assert remaining(state.execution, 60, desk.now + timedelta(seconds=20)) == "about 40.0 s left"
    assert remaining(state.execution, 60, desk.now + timedelta(seconds=75)) == "15.0 s longer than usual"
    assert remaining(state.execution, None, desk.now) == ""
    desk.upcoming = [lambda: desk.begin("0001-001", DONE)]
    told = desk.run("watch", ID, "--plain").stdout.splitlines()
    assert told[0] == "usually takes 1 min 0 s from the opening of the first layer, by what past runs took"
    assert any("Execution Completed" in line for line in told)
