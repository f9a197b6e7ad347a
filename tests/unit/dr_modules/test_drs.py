"""DRS: from whatever state servers are found in, to running recovery instances; and nothing that serves is replaced."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules import _drs
from dr_modules.base import Progress
from dr_modules.drs import Drs
from localcloud.extension import drs_responses
from localcloud.extension.drs import LAUNCH_FAILS_TAG
from tests.support import drs_scenes as scenes
from tests.support.aws import STANDBY, World, error

ACTIVATE = Phase.ACTIVATE
SERVERS = scenes.SERVERS
FAILBACK = {**SERVERS, "Tags": {"RecoveryType": "Failback"}}


def started(world: World, raw: object = SERVERS, mode: Mode = Mode.PLANNED) -> list[dict[str, str]]:
    """Act once; the handles."""
    module = world.module(Drs, ACTIVATE, mode)
    module.start(raw, again=True)
    return module.handles


def refused(world: World, raw: object = SERVERS, mode: Mode = Mode.PLANNED) -> ModuleError:
    """What the act raises, without having changed anything."""
    with pytest.raises(ModuleError) as raised:
        world.module(Drs, ACTIVATE, mode).start(raw, again=True)
    assert world.changes == []
    return raised.value


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_servers_are_recovered_in_one_job_and_a_second_run_changes_nothing(world: World, mode: Mode) -> None:
    ids = scenes.servers(world)

    assert world.drive(Drs, ACTIVATE, SERVERS, mode).progress is Progress.DONE
    (job,) = scenes.jobs(world)
    assert job["initiatedBy"] == "START_RECOVERY"
    assert job["tags"] == {"dr:execution": "01EXECUTION", "dr:application": "shop", "dr:resource": "1#1"}
    assert {one["ec2InstanceState"] for one in scenes.instances(world).values()} == {"RUNNING"}
    assert set(scenes.instances(world)) == set(ids.values())
    assert {call.region for call in world.calls} == {STANDBY}
    world.calls.clear()
    assert world.drive(Drs, ACTIVATE, SERVERS, mode).progress is Progress.DONE
    assert world.changes == []


def test_a_drill_launches_drill_instances(world: World) -> None:
    scenes.servers(world)
    assert world.drive(Drs, ACTIVATE, SERVERS, Mode.DRILL).progress is Progress.DONE
    assert [job["initiatedBy"] for job in scenes.jobs(world)] == ["START_DRILL"]
    assert all(one["isDrill"] for one in scenes.instances(world).values())
    # A recovery does not take a drill's instances for its own, and replaces them.
    assert world.drive(Drs, ACTIVATE, SERVERS).progress is Progress.DONE
    assert not any(one["isDrill"] for one in scenes.instances(world).values())


def test_a_job_under_way_is_in_progress_until_its_instances_run(world: World) -> None:
    scenes.servers(world)
    handles = started(world)
    module = world.module(Drs, ACTIVATE, handles=handles)
    seen = set()
    for _ in range(19):
        world.time.advance(5)
        seen.add(module.observe(SERVERS).progress)
    assert seen == {Progress.IN_PROGRESS, Progress.DONE}
    assert handles == [{"jobs": scenes.jobs(world)[0]["jobID"]}]


@pytest.mark.parametrize("after", [1, 60, 200], ids=["pending", "started", "completed"])
def test_a_job_whose_record_was_lost_is_found_again_by_its_tags(world: World, after: int) -> None:
    scenes.servers(world)
    started(world)
    world.time.advance(after)
    world.calls.clear()

    assert world.drive(Drs, ACTIVATE, SERVERS).progress is Progress.DONE  # without handles
    assert world.changes == []
    assert len(scenes.jobs(world)) == 1


def test_a_recovery_that_somebody_else_has_started_is_adopted_while_it_runs(world: World) -> None:
    ids = scenes.servers(world)
    world.client("drs").start_recovery(sourceServers=[{"sourceServerID": one} for one in ids.values()])
    assert world.module(Drs, ACTIVATE).observe(SERVERS).progress is Progress.IN_PROGRESS
    world.module(Drs, ACTIVATE).start(SERVERS, again=True)
    assert world.changes == []


def test_only_the_servers_that_are_missing_are_started(world: World) -> None:
    ids = scenes.servers(world)
    tags = {"dr:execution": "01EXECUTION", "dr:resource": "1#1"}
    scenes.recover(world, ids["web-1"], tags=tags)
    assert world.drive(Drs, ACTIVATE, SERVERS).progress is Progress.DONE
    assert [[part["sourceServerID"] for part in job["participatingServers"]] for job in scenes.jobs(world)] == [
        [ids["app-1"]],
        [ids["web-1"]],
    ]


def test_a_running_drill_is_waited_for(world: World) -> None:
    ids = scenes.servers(world)
    world.client("drs").start_recovery(sourceServers=[{"sourceServerID": ids["web-1"]}], isDrill=True)
    status = world.module(Drs, ACTIVATE).observe({"HostNames": "web-1"})
    assert status.progress is Progress.IN_PROGRESS
    assert "START_DRILL) must end first" in status.detail
    assert world.drive(Drs, ACTIVATE, SERVERS).progress is Progress.DONE


def test_a_completed_job_with_a_failed_server_is_failed_and_names_it_and_why(world: World) -> None:
    ids = scenes.servers(world)
    scenes.misbehave(world, ids["app-1"], {LAUNCH_FAILS_TAG: "InsufficientInstanceCapacity"})

    status = world.drive(Drs, ACTIVATE, SERVERS)

    assert (status.progress, status.code) == (Progress.FAILED, "LaunchFailed")
    assert "app-1" in status.detail and "InsufficientInstanceCapacity" in status.detail
    assert "web-1" not in status.detail
    # A fresh attempt launches that one only.
    scenes.behave(world, ids["app-1"], LAUNCH_FAILS_TAG)
    world.time.advance(60)
    web = scenes.instances(world)[ids["web-1"]]["ec2InstanceID"]
    module = world.module(Drs, ACTIVATE, attempt=2)
    module.start(SERVERS, again=True)
    assert len(module.handles[0]["jobs"].split(",")) == 1
    world.time.advance(200)
    assert module.observe(SERVERS).progress is Progress.DONE
    assert scenes.instances(world)[ids["web-1"]]["ec2InstanceID"] == web


def job_answer(launch: str, status: str = "COMPLETED", **more: Any) -> dict[str, Any]:
    """A DescribeJobs answer with one job of this resource for web-1."""
    tags = {"dr:execution": "01EXECUTION", "dr:resource": "1#1"}
    part = {"sourceServerID": scenes.SERVER_ID, "launchStatus": launch}
    job = {"jobID": "drsjob-0123456789abcdef0", "type": "LAUNCH", "initiatedBy": "START_RECOVERY", "status": status, "tags": tags}
    return {"items": [{**job, "participatingServers": [part], **more}]}


def instance_answer(state: str, **more: Any) -> dict[str, Any]:
    """A DescribeRecoveryInstances answer for web-1."""
    instance = {
        "recoveryInstanceID": "i-0123456789abcdef0",
        "sourceServerID": scenes.SERVER_ID,
        "ec2InstanceState": state,
        "isDrill": False,
    }
    return {"items": [{**instance, **more}]}


@pytest.mark.parametrize(
    ("job", "instance", "expected"),
    [
        (job_answer("LAUNCHED"), instance_answer("RUNNING"), Progress.DONE),
        (job_answer("LAUNCHED", "STARTED"), instance_answer("RUNNING"), Progress.DONE),
        (job_answer("LAUNCHED"), instance_answer("STOPPED"), Progress.DONE),
        (job_answer("LAUNCHED"), instance_answer("PENDING"), Progress.IN_PROGRESS),
        (job_answer("LAUNCHED"), instance_answer("A_STATE_TO_COME"), Progress.IN_PROGRESS),
        (job_answer("LAUNCHED"), {"items": []}, Progress.IN_PROGRESS),
        (job_answer("LAUNCHED"), instance_answer("RUNNING", isDrill=True), Progress.IN_PROGRESS),
        (job_answer("LAUNCHED"), instance_answer("TERMINATED"), Progress.FAILED),
        (job_answer("TERMINATED"), {"items": []}, Progress.FAILED),
        (job_answer("FAILED", "STARTED"), {"items": []}, Progress.FAILED),
        (job_answer("PENDING"), {"items": []}, Progress.FAILED),  # the job has ended, and never came to this server
        (job_answer("PENDING", "PENDING"), {"items": []}, Progress.IN_PROGRESS),
        (job_answer("A_STATE_TO_COME", "STARTED"), {"items": []}, Progress.IN_PROGRESS),
        (job_answer("IN_PROGRESS", "A_STATE_TO_COME"), {"items": []}, Progress.IN_PROGRESS),
        (job_answer("IN_PROGRESS", "STARTED", type="A_TYPE_TO_COME"), {"items": []}, Progress.IN_PROGRESS),
        ({"items": []}, {"items": []}, Progress.NOT_STARTED),
        (job_answer("LAUNCHED", tags={}), instance_answer("RUNNING"), Progress.NOT_STARTED),  # not known to be of this application
        (job_answer("LAUNCHED", tags={"dr:application": "shop"}), instance_answer("RUNNING"), Progress.DONE),
        (job_answer("LAUNCHED", tags={"dr:application": "other"}), instance_answer("RUNNING"), Progress.NOT_STARTED),
        (job_answer("FAILED", tags={"dr:application": "shop"}), instance_answer("RUNNING"), Progress.NOT_STARTED),
        (job_answer("LAUNCHED", tags={"dr:application": "shop"}), instance_answer("TERMINATED"), Progress.NOT_STARTED),
        (
            job_answer("LAUNCHED", tags={"dr:application": "shop"}),
            instance_answer("RUNNING", failback={"state": "FAILBACK_IN_PROGRESS"}),
            Progress.NOT_STARTED,
        ),
    ],
)
def test_what_counts_as_done(world: World, job: dict[str, Any], instance: dict[str, Any], expected: Progress) -> None:
    world.answer("drs", "DescribeSourceServers", scenes.server_answer())
    world.answer("drs", "DescribeRecoveryInstances", instance)
    world.answer("drs", "DescribeJobs", job)
    world.answer("drs", "DescribeJobLogItems", {"items": []})
    assert world.module(Drs, ACTIVATE).observe({"HostNames": "web-1"}).progress is expected


def test_a_launch_of_the_day_before_is_not_taken_for_this_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = scenes.servers(world)
    scenes.recover(world, *ids.values(), tags={"dr:application": "shop"})
    assert world.module(Drs, ACTIVATE).observe(SERVERS).progress is Progress.DONE
    monkeypatch.setattr(_drs, "utc_now", lambda: datetime.now(UTC) + timedelta(days=2))
    assert world.module(Drs, ACTIVATE).observe(SERVERS).progress is Progress.NOT_STARTED
    assert refused(world).code == "RecoveryInstanceExists"


@pytest.mark.parametrize("mode", list(Mode))
def test_a_recovery_instance_that_may_serve_is_not_replaced_unless_forced(world: World, mode: Mode) -> None:
    scenes.failed_over(world)
    raised = refused(world, mode=mode)
    assert (raised.code, raised.error_class) == ("RecoveryInstanceExists", ErrorClass.TERMINAL)
    assert "web-1 has recovery instance i-" in raised.message
    forced = {**SERVERS, "Force": "true"}
    if mode is Mode.DRILL:
        assert refused(world, forced, mode=mode).code == "RecoveryInstanceExists", (
            "what may serve is left alone, whatever the manifest says"
        )
    else:
        assert world.drive(Drs, ACTIVATE, forced, mode).progress is Progress.DONE


@pytest.mark.parametrize(
    ("tags", "code", "words"),
    [
        ({"Environment": "DR"}, "AmbiguousHostName", "web-1 fits 2 source servers"),
        ({"Environment": "other"}, "SourceServerNotFound", "with these Tags"),
    ],
)
def test_each_name_must_match_exactly_one_server(world: World, tags: dict[str, str], code: str, words: str) -> None:
    scenes.servers(world, "web-1", tags={"Environment": "DR", "Site": "one"})
    scenes.servers(world, "web-1", tags={"Environment": "DR", "Site": "two"})
    scenes.servers(world, "web-10")
    raised = refused(world, {"HostNames": "web-1", "Tags": tags})
    assert (raised.code, raised.error_class) == (code, ErrorClass.TERMINAL)
    assert words in raised.message
    both = {"HostNames": "WEB-1", "Tags": [{"Key": "Site", "Value": "two"}, {"Key": "RecoveryType", "Value": "Failover"}]}
    assert world.drive(Drs, ACTIVATE, both).progress is Progress.DONE


def test_servers_are_looked_for_on_every_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drs_responses, "PAGE_SIZE", 2)
    names = [f"host-{number}" for number in range(7)]
    scenes.servers(world, *names)
    assert world.drive(Drs, ACTIVATE, {"HostNames": names}).progress is Progress.DONE
    assert len(scenes.jobs(world)) == 1


def test_a_region_without_drs_has_no_server(world: World) -> None:
    assert refused(world).code == "SourceServerNotFound"


def test_jobs_have_a_hundred_servers_and_the_first_is_kept_when_the_second_is_refused(world: World) -> None:
    names = [f"host-{number}" for number in range(101)]
    scenes.servers(world, *names)
    module = world.module(Drs, ACTIVATE)
    real, seen = module.drs.start_recovery, []  # type: ignore[attr-defined]

    def second_is_refused(**parameters: Any) -> Any:
        seen.append(parameters)
        if len(seen) == 2:
            world.answer("drs", "StartRecovery", error("ConflictException"), status=409)
        return real(**parameters)

    module.drs.start_recovery = second_is_refused  # type: ignore[attr-defined]
    try:
        with pytest.raises(ModuleError) as raised:
            module.start({"HostNames": names}, again=True)
    finally:
        module.drs.start_recovery = real  # type: ignore[attr-defined]  # the client is shared
    assert raised.value.error_class is ErrorClass.RETRYABLE
    assert [len(one["sourceServers"]) for one in seen] == [100, 1]
    assert module.handles == [{"jobs": scenes.jobs(world)[0]["jobID"]}]
    world.forget_answers()
    assert world.drive(Drs, ACTIVATE, {"HostNames": names}, handles=module.handles).progress is Progress.DONE
    assert sorted(len(job["participatingServers"]) for job in scenes.jobs(world)) == [1, 100]
