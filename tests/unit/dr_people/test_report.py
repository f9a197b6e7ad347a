"""The recovery report: its numbers are the table's, its parts add up, and its three renderings say the same."""

import json
import re
from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError

from dr_core.calls import Call
from dr_core.moves import on_resource
from dr_core.moves import text as text_of
from dr_core.phases import Mode
from dr_core.records import ExecutionStatus, Move, ResourceStatus
from dr_core.triggers import Asked, Vote
from dr_people.report import Report, TimeSplit
from dr_people.report_building import report_of
from dr_people.report_rendering import as_html, as_json, as_markdown
from dr_people.time_split import Kind
from tests.support.desk import DONE, ID, SHA, T0, Desk
from tests.support.recovery import CACHE, DATABASE, EVIL, WEB, called, halted, recovered, wait


def made(desk: Desk, execution_id: str = ID) -> Report:
    state = desk.table.load(execution_id)
    assert state
    return report_of(desk.table, state, desk.now)


def split(time: TimeSplit) -> tuple[int, int, int, int, int]:
    return time.total_ms, time.aws_ms, time.orchestration_ms, time.retry_ms, time.people_ms


def test_its_numbers_are_the_tables(desk: Desk) -> None:
    recovered(desk)
    report = made(desk)
    state = desk.table.load(ID)
    assert state and state.execution.started_at and state.execution.ended_at
    rto = json.loads(next(e.detail for e in desk.table.timeline(ID) if e.detail_type == "Execution Completed"))["rtoSeconds"]
    assert report.recovery.measured_ms == round(rto * 1000) == report.time.total_ms
    assert report.recovery.from_request_ms == (state.execution.ended_at - T0) // timedelta(milliseconds=1)
    assert (report.recovery.target_ms, report.recovery.met) == (None, None)
    assert report.request.manifest_sha256 == state.execution.manifest_sha256
    stored = {one.id: one for one in desk.table.resources(ID)}
    shown = {one.id: one for layer in report.layers for one in layer.resources}
    assert set(shown) == set(stored) == {DATABASE, CACHE, WEB}
    for identity, one in shown.items():
        there = stored[identity]
        assert (one.started_at, one.ended_at, one.attempts) == (there.started_at, there.ended_at, there.attempt)
        assert there.started_at and there.ended_at and one.duration_ms == (there.ended_at - there.started_at) // timedelta(milliseconds=1)
    assert [(one.resource_id, one.lag_seconds, one.accepted_seconds) for one in report.data_loss] == [(DATABASE, 75.5, 60)]
    assert [(call.resource_id, call.attempt, call.action) for call in report.calls] == [
        (DATABASE, 1, "rds:FailoverGlobalCluster"),
        (DATABASE, 2, "rds:FailoverGlobalCluster"),
        (WEB, 1, "ecs:UpdateService"),
    ]
    assert len(report.timeline) == len(desk.table.timeline(ID))


def test_aws_and_overhead_add_up_to_the_total_and_the_layers_to_the_whole(desk: Desk) -> None:
    recovered(desk)
    report = made(desk)
    # Layer 1: 2 s until the claim, 90 s at AWS, halted for 300 s, 1.25 s until the claim, 60 s at AWS.
    # Layer 2: 0.75 s until the claim, 30 s at AWS, of which 10 s paused, then 5 s paused.
    assert split(report.layers[0].time) == (453_250, 150_000, 3_250, 0, 300_000)
    assert split(report.layers[1].time) == (35_750, 30_000, 750, 0, 5_000)
    assert split(report.time) == (489_000, 180_000, 4_000, 0, 305_000)
    assert report.time.overhead_ms == 309_000
    assert sum(step.duration_ms for step in report.critical_path) == report.time.total_ms
    assert {step.resource_id for step in report.critical_path} == {DATABASE, WEB}
    assert [step.kind for step in report.critical_path if step.layer == 1] == [
        Kind.ORCHESTRATION,
        Kind.AWS,
        Kind.PEOPLE,
        Kind.ORCHESTRATION,
        Kind.AWS,
    ]


def test_parts_that_do_not_add_up_are_no_report() -> None:
    with pytest.raises(ValidationError, match="add up"):
        TimeSplit(total_ms=3, aws_ms=1, overhead_ms=1, orchestration_ms=1, retry_ms=0, people_ms=0)
    with pytest.raises(ValidationError, match="add up"):
        TimeSplit(total_ms=2, aws_ms=1, overhead_ms=1, orchestration_ms=0, retry_ms=0, people_ms=0)


def test_what_an_undisturbed_run_does_not_have(desk: Desk) -> None:
    recovered(desk)
    found = [(one.kind, one.subject) for one in made(desk).deviations]
    assert sorted(found) == sorted(
        [
            ("LAG_ABOVE_LIMIT", "database-tier"),
            ("FAILURE", "database-tier (AuroraMySQL)"),
            ("HALT", "layer 1"),
            ("RETRIED_BY_HAND", "database-tier (AuroraMySQL)"),
            ("CALL_FAILED", "database-tier"),
            ("PAUSE", ""),
        ]
    )
    words = {one.kind: one.words for one in made(desk).deviations}
    assert words["HALT"].startswith("for 5 min 0 s") and words["PAUSE"].startswith("for 15.0 s")
    assert "InvalidState: no <i>way</i> (request id req-9)" in words["FAILURE"]


def test_an_undisturbed_run_has_none_and_says_so(desk: Desk) -> None:
    desk.request([("web", "ECS")])
    desk.approve()
    desk.begin("0001-001", DONE)
    report = made(desk)
    assert report.deviations == () and "None: no retry" in as_html(report)


def test_skipped_forced_and_late(desk: Desk) -> None:
    desk.request([("web", "ECS"), ("cache", "ElastiCache")])
    wait(desk, 1801)
    desk.approve()
    desk.begin("0001-001", DONE)
    called(desk, "0001-002", 1, "elasticache:FailoverGlobalReplicationGroup")
    wait(desk, 5)
    desk.command("skip", "nothing failed")
    desk.move_on()
    report = made(desk)
    assert [one.kind for one in report.deviations] == ["LATE_APPROVAL", "COMMAND_REFUSED"]
    assert report.approval and report.approval.waited_ms == 1_801_000


def test_a_halted_execution_is_reported_as_it_stands(desk: Desk) -> None:
    halted(desk)
    wait(desk, 1000)
    report = made(desk)
    assert report.status == ExecutionStatus.FAILED and report.recovery.measured_ms is None
    assert report.as_of == desk.now - timedelta(seconds=1000), "as of its last event, whenever it is made"
    assert report.time.total_ms == 92_000
    assert report.layers[0].resources[0].failure is not None
    assert "InvalidState" in as_markdown(report)


def test_an_execution_that_never_began(desk: Desk) -> None:
    desk.request([("web", "ECS")])
    desk.approve(yes=False)
    report = made(desk)
    assert report.status == ExecutionStatus.REJECTED and report.approval and report.approval.approver == "ann"
    assert split(report.time) == (0, 0, 0, 0, 0) and report.critical_path == ()
    assert "No layer was opened" in as_html(report)


def test_earlier_runs_stand_beside_it(desk: Desk) -> None:
    for identity in ("01JAAAAAAAAAAAAAAAAAAAAAAA", "01JBBBBBBBBBBBBBBBBBBBBBBB"):
        desk.request([("web", "ECS")], execution_id=identity)
        desk.approve()
        wait(desk, 30)
        desk.begin("0001-001", DONE)
        wait(desk, 3600)
    desk.request([("web", "ECS")], execution_id="01JCCCCCCCCCCCCCCCCCCCCCCC", dry_run=True)
    desk.preflight()
    wait(desk, 1)
    desk.request([("web", "ECS")], application="other", execution_id="01JDDDDDDDDDDDDDDDDDDDDDDD")
    desk.approve()
    desk.begin("0001-001", DONE)
    desk.request([("web", "ECS")])
    report = made(desk)
    assert [(run.execution_id, run.recovery_ms, run.layers_ms) for run in report.past_runs] == [
        ("01JBBBBBBBBBBBBBBBBBBBBBBB", 30_000, {1: 30_000}),
        ("01JAAAAAAAAAAAAAAAAAAAAAAA", 30_000, {1: 30_000}),
    ]
    assert made(desk, "01JAAAAAAAAAAAAAAAAAAAAAAA").past_runs == (), "only those before it"


def test_the_document_is_the_model(desk: Desk) -> None:
    recovered(desk)
    report = made(desk)
    assert Report.model_validate_json(as_json(report)) == report
    document = json.loads(as_json(report))
    assert (document["kind"], document["time"]["overheadMs"], document["request"]["manifestSha256"]) == ("report", 309_000, "5ha")
    assert datetime.fromisoformat(document["asOf"]) == report.as_of


def test_page_and_text_say_what_the_model_says_and_escape_it(desk: Desk) -> None:
    recovered(desk)
    report = made(desk)
    page, markdown = as_html(report), as_markdown(report)
    for said in (
        "8 min 9.000 s = 3 min 0.000 s AWS at work + 5 min 9.000 s overhead",
        "75.5 s",
        ID,
        "5ha",
        "req-rds:FailoverGlobalCluster-1",
    ):
        assert said in page and said in markdown
    assert EVIL not in page and "web &lt;b&gt;| x&lt;/b&gt;" in page
    assert EVIL not in markdown and r"web \<b\>\| x\</b\>" in markdown
    assert not re.search(r"(src|href)=", page), "it loads nothing"


def test_a_picture_of_ours_is_put_in_as_it_is(desk: Desk) -> None:
    recovered(desk)
    assert "<svg/>" in as_html(made(desk), "<svg/>")


@pytest.mark.parametrize(("target", "met"), [(90, True), (89, False)])
def test_the_recovery_time_is_held_against_its_target(desk: Desk, target: int, met: bool) -> None:
    desk.request([("database", "AuroraMySQL")], rto_seconds=target)
    desk.approve()
    wait(desk, 90)
    desk.begin("0001-001", DONE)
    report = made(desk)
    assert (report.recovery.measured_ms, report.recovery.target_ms, report.recovery.met) == (90_000, target * 1000, met)
    assert [one.kind for one in report.deviations] == ([] if met else ["TARGET_MISSED"])
    told = [json.loads(one.detail) for one in desk.table.timeline(ID) if one.detail_type == "RTO Missed"]
    assert [one["elapsedSeconds"] for one in told] == ([] if met else [90])


def test_it_names_every_approval_and_who_was_late(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")], [("records", "R53Record")], ask_before=(2,))
    wait(desk, 40)
    desk.approve()
    desk.begin("0001-001", DONE)
    desk.move(Asked(("topic",)))
    wait(desk, 2000)
    desk.move(Vote(True, "bob", "the database is fine", SHA))
    desk.begin("0002-001", DONE)
    report = made(desk)
    assert report.status == ExecutionStatus.SUCCEEDED and report.approval
    assert (report.approval.layer, report.approval.approver, report.approval.waited_ms) == (0, "ann", 40_000)
    (before,) = report.layer_approvals
    assert (before.layer, before.approver, before.reason, before.waited_ms) == (2, "bob", "the database is fine", 2_000_000)
    assert [(one.kind, one.words) for one in report.deviations] == [
        ("LATE_APPROVAL", "before layer 2: APPROVED after 33 min 20 s of the 1 h 0 min allowed")
    ]
    page, text = as_html(report), as_markdown(report)
    assert "<h3>Before layer 2</h3>" in page and "### Before layer 2\n\n- APPROVED by bob: the database is fine" in text
    for shown in (page, text):
        decided = shown.partition("Who decided")[2]
        assert decided.index("APPROVED by ann") < decided.index("efore layer 2") < decided.index("APPROVED by bob")


def drilled(desk: Desk) -> None:
    """A drill that leaves out the first of its two resources, and has called something for the second."""
    desk.request([("names", "R53Record"), ("api", "ECS")], mode=Mode.DRILL, rto_seconds=60)
    state = desk.table.load(ID)
    assert state
    left_out = on_resource(
        desk.table.resources(ID)[0], status=ResourceStatus.SKIPPED, detail="left out of the drill: R53Record", due_at=None
    )
    assert desk.table.commit(state.execution, Move((left_out,)), desk.now)
    desk.approve()
    wait(desk, 30)
    called(desk, "0001-002", 1, "ecs:UpdateService")
    called(desk, "0001-002", 1, "ecs:DescribeServices", "Throttling")
    desk.begin("0001-002", DONE)


def test_a_report_says_which_calls_told_of_several_resources(desk: Desk) -> None:
    drilled(desk)
    call = Call("ecs:DescribeServices", "us-west-2", {}, text_of(desk.now), error_code="ClientException", shared_by=10)
    desk.table.keep_calls(desk.execution_id, "0001-002", 1, [call], desk.now)
    report = made(desk)
    assert [(call.action, call.shared_by) for call in report.calls] == [
        ("ecs:UpdateService", None),
        ("ecs:DescribeServices", None),
        (call.action, 10),
    ]
    for shown in (as_html(report), as_markdown(report)):
        assert shown.count(", shared by") == 1 and "ecs:DescribeServices, shared by 10" in shown


def test_a_drills_report_says_so_and_that_production_was_not_touched(desk: Desk) -> None:
    drilled(desk)
    report = made(desk)
    assert report.status == ExecutionStatus.SUCCEEDED and report.drill
    assert (report.drill.production_untouched, report.drill.beyond, report.drill.functions) == (True, (), 0)
    (changed,) = report.drill.changed
    assert (changed.account, changed.region, changed.action, changed.times) == ("123456789012", "us-west-2", "ecs:UpdateService", 1)
    assert [(one.resource_name, one.why) for one in report.drill.left_out] == [("names", "left out of the drill: R53Record")]
    assert (report.recovery.measured_ms, report.recovery.met) == (30_000, True)
    page, text = as_html(report), as_markdown(report)
    assert "<h1>Drill report: ACTIVATE of storefront</h1>" in page and text.startswith("# Drill report")
    for shown in (page, text):
        assert re.search(
            r"roduction was not touched(</strong>|\*\*): each call that changed something was made in us-west-2, none in us-east-1", shown
        )
        assert "left out of the drill: R53Record" in shown and "ecs:UpdateService" in shown
    told = json.loads(as_json(report))["drill"]
    assert (told["productionUntouched"], told["changed"][0]["times"], told["leftOut"][0]["module"]) == (True, 1, "R53Record")


@pytest.mark.parametrize(
    ("action", "region", "parameters"),
    [("ecs:UpdateService", "us-east-1", {}), ("rds:FailoverGlobalCluster", "us-west-2", {"GlobalClusterIdentifier": "shop"})],
)
def test_a_drills_report_says_which_calls_went_too_far(desk: Desk, action: str, region: str, parameters: dict[str, str]) -> None:
    drilled(desk)
    called(desk, "0001-002", 1, action, region=region, **parameters)
    called(desk, "0001-002", 1, "lambda:InvokeFunction")
    report = made(desk)
    assert report.drill and not report.drill.production_untouched and report.drill.functions == 1
    assert [(one.action, one.region) for one in report.drill.beyond] == [(action, region)]
    for shown in (as_html(report), as_markdown(report)):
        assert f"{action} in {region}, account 123456789012, 1 times" in shown and "was not touched" not in shown
        assert "unctions of your own were called 1 times" in shown


def test_only_a_drill_is_reported_as_one(desk: Desk) -> None:
    recovered(desk)
    report = made(desk)
    assert report.drill is None and "drill" not in as_html(report).lower() and "drill" not in as_markdown(report).lower()
