"""EventArchive: one replay for each attempt, adopted if it exists, done when EventBridge says COMPLETED."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress, Severity
from dr_modules.event_archive import EventArchive
from tests.support.aws import ACCOUNT, STANDBY, World, error
from tests.support.compute_scenes import ARCHIVE, BUS, archive

ACTIVATE = Phase.ACTIVATE
START = datetime(2026, 3, 1, 6, tzinfo=UTC)
REPLAY: dict[str, Any] = {"ArchiveName": ARCHIVE, "EventStartTime": START.isoformat(), "EventEndTime": "2026-03-01T07:30:00+00:00"}


def replays(world: World) -> list[dict[str, Any]]:
    events = world.client("events")
    return [events.describe_replay(ReplayName=one["ReplayName"]) for one in events.list_replays()["Replays"]]


def replay_in(state: str, reason: str = "") -> dict[str, Any]:
    said = {"ReplayName": "dr-1", "State": state, "EventStartTime": START, "EventEndTime": START + timedelta(hours=1)}
    return {**said, "StateReason": reason, "EventLastReplayedTime": START + timedelta(minutes=15)}


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
@pytest.mark.parametrize("bus", [{}, {"BusName": BUS}])
def test_the_window_of_the_archive_is_replayed_once(world: World, mode: Mode, bus: dict[str, str]) -> None:
    archive(world)
    assert world.drive(EventArchive, ACTIVATE, {**REPLAY, **bus}, mode).progress is Progress.DONE
    [replay] = replays(world)
    assert re.fullmatch(r"[._A-Za-z0-9-]{1,64}", replay["ReplayName"])
    assert (replay["EventStartTime"], replay["EventEndTime"]) == (START, START + timedelta(hours=1.5))
    assert replay["EventSourceArn"] == f"arn:aws:events:{STANDBY}:{ACCOUNT}:archive/{ARCHIVE}"
    assert replay["Destination"]["Arn"] == f"arn:aws:events:{STANDBY}:{ACCOUNT}:event-bus/{BUS}"
    assert "01EXECUTION" in replay["Description"]
    world.calls.clear()
    assert world.drive(EventArchive, ACTIVATE, REPLAY, mode).progress is Progress.DONE
    assert world.changes == []


def test_without_an_end_it_is_now(world: World) -> None:
    archive(world)
    before = datetime.now(UTC)
    world.drive(EventArchive, ACTIVATE, {"ArchiveName": ARCHIVE, "EventStartTime": START.isoformat()})
    assert before - timedelta(seconds=1) <= replays(world)[0]["EventEndTime"] <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("state", "progress"),
    [
        ("STARTING", Progress.IN_PROGRESS),
        ("RUNNING", Progress.IN_PROGRESS),
        ("CANCELLING", Progress.IN_PROGRESS),
        ("HESITATING", Progress.IN_PROGRESS),
        ("COMPLETED", Progress.DONE),
        ("FAILED", Progress.FAILED),
        ("CANCELLED", Progress.FAILED),
    ],
)
def test_only_completed_is_done(world: World, state: str, progress: Progress) -> None:
    world.answer("events", "DescribeReplay", replay_in(state, "the bus is gone"))
    status = world.module(EventArchive, ACTIVATE).observe(REPLAY)
    assert status.progress is progress
    if progress is Progress.FAILED:
        assert (status.code, "the bus is gone" in status.detail) == (f"Replay{state.title()}", True)
    if progress is Progress.IN_PROGRESS:
        assert status.percent == 25


def test_a_replay_that_exists_is_adopted(world: World) -> None:
    """The executor died between the call and its record; EventBridge lets nobody see the replay at first."""
    archive(world)
    world.module(EventArchive, ACTIVATE).start(REPLAY, again=False)
    world.answer("events", "DescribeReplay", error("ResourceNotFoundException"), 400)
    again = world.module(EventArchive, ACTIVATE)
    assert again.observe(REPLAY).progress is Progress.NOT_STARTED
    again.start(REPLAY, again=False)
    world.forget_answers()
    assert again.observe(REPLAY).progress is Progress.DONE
    assert len(replays(world)) == 1


def test_a_later_attempt_finds_the_earlier_ones_replay_and_adds_its_own_after_a_failure(world: World) -> None:
    archive(world)
    world.module(EventArchive, ACTIVATE).start(REPLAY, again=False)
    later = world.module(EventArchive, ACTIVATE, attempt=3)
    assert later.observe(REPLAY).progress is Progress.DONE
    events = world.client("events")
    events.cancel_replay(ReplayName=replays(world)[0]["ReplayName"])
    assert later.observe(REPLAY).progress is Progress.FAILED
    later.start(REPLAY, again=False)  # a takeover never repeats what has failed
    assert len(replays(world)) == 1
    later.start(REPLAY, again=True)
    names = {replay["ReplayName"] for replay in replays(world)}
    assert (len(names), {name.rpartition("-")[2] for name in names}) == (2, {"1", "3"})
    assert later.observe(REPLAY).progress is Progress.DONE
    assert EventArchive.attempts(ACTIVATE) == 1


def test_each_target_of_a_list_has_its_own_replay(world: World) -> None:
    archive(world)
    assert world.drive(EventArchive, ACTIVATE, [REPLAY, {**REPLAY, "EventEndTime": "2026-03-01T09:00:00Z"}]).progress is Progress.DONE
    assert len(replays(world)) == 2


def test_a_drill_replays_nothing(world: World) -> None:
    archive(world)
    with pytest.raises(ModuleError, match="a drill does not run"):
        world.drive(EventArchive, ACTIVATE, REPLAY, Mode.DRILL)
    assert world.changes == []


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ({"ArchiveName": "payments"}, "ArchiveNotFound", "there is no archive payments in us-west-2"),
        ({"BusName": "other"}, "EventBusNotFound", "there is no event bus other in us-west-2"),
        ({"BusName": "default"}, "OtherBus", "EventBridge replays to no other bus"),
    ],
)
def test_archive_and_bus_must_be_there_and_belong_together(world: World, wrong: dict[str, str], code: str, words: str) -> None:
    archive(world)
    raw = {**REPLAY, **wrong}
    with pytest.raises(ModuleError, match=words) as raised:
        world.drive(EventArchive, ACTIVATE, raw)
    assert (raised.value.code, raised.value.error_class, world.changes) == (code, ErrorClass.TERMINAL, [])
    assert [each.code for each in world.module(EventArchive, ACTIVATE).obstacles(raw)] == [code]


def test_an_archive_whose_bus_is_gone_is_not_replayed(world: World) -> None:
    archive(world)
    world.answer("events", "DescribeEventBus", error("ResourceNotFoundException"), 400)
    with pytest.raises(ModuleError, match=f"there is no event bus .*{BUS}"):
        world.drive(EventArchive, ACTIVATE, REPLAY)


@pytest.mark.parametrize(
    ("days", "start", "end", "created", "findings"),
    [
        (0, 40, None, 90, []),
        (30, 5, None, 90, []),
        (30, 40, None, 90, [(Severity.WARNING, "WindowNotRetained")]),
        (30, 40, 35, 90, [(Severity.ERROR, "WindowNotRetained")]),
        (0, 5, None, 2, [(Severity.WARNING, "ArchiveTooYoung")]),
        (0, -1, None, 90, [(Severity.ERROR, "WindowInTheFuture")]),
    ],
)
def test_the_archive_must_hold_the_window(
    world: World, days: int, start: int, end: int | None, created: int, findings: list[tuple[Severity, str]]
) -> None:
    events, now = archive(world, retention=days), datetime.now(UTC)
    found = {**events.describe_archive(ArchiveName=ARCHIVE), "CreationTime": now - timedelta(days=created)}
    del found["ResponseMetadata"]
    world.answer("events", "DescribeArchive", found)
    window = {"EventStartTime": (now - timedelta(days=start)).isoformat()}
    if end is not None:
        window["EventEndTime"] = (now - timedelta(days=end)).isoformat()
    obstacles = world.module(EventArchive, ACTIVATE).obstacles({"ArchiveName": ARCHIVE, **window})
    assert [(each.severity, each.code) for each in obstacles] == findings


def test_an_archive_that_is_not_enabled_is_warned_of(world: World) -> None:
    found = {**archive(world).describe_archive(ArchiveName=ARCHIVE), "State": "UPDATE_FAILED", "StateReason": "no key"}
    del found["ResponseMetadata"]
    world.answer("events", "DescribeArchive", found)
    codes = {each.code: each.message for each in world.module(EventArchive, ACTIVATE).obstacles(REPLAY)}
    assert "UPDATE_FAILED (no key)" in codes["ArchiveNotEnabled"]


@pytest.mark.parametrize(
    "wrong", [{"EventEndTime": "2026-03-01T05:00:00Z"}, {"EventStartTime": "2026-03-01T06:00:00"}, {"EventStartTime": "yesterday"}]
)
def test_a_window_has_an_order_and_time_zones(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        EventArchive.parse({**REPLAY, **wrong})
