"""What operators send, what the bus carries, what comes out of a queue."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dr_core import events
from dr_core.commands import Command
from dr_core.errors import ErrorClass, InvalidInputError
from dr_core.events import MAX_EVENT_BYTES, Incoming, WakeUp
from dr_core.phases import Mode, Phase
from dr_core.records import DetailType, Event
from dr_core.requests import ExecutionRequested
from tests.support.control_plane import T0, an_execution
from tests.support.memory_table import LayerPlan, ResourcePlan
from tests.support.story import Story, broken

REQUEST: dict[str, Any] = {
    "application": "shop",
    "phase": "ACTIVATE",
    "sourceRegion": "us-east-1",
    "targetRegion": "us-west-2",
    "mode": "unplanned",
    "requestedBy": "olga",
    "reason": "Region down",
}
FAST = settings(deadline=None, derandomize=True, database=None)


def problems(**changed: object) -> list[str]:
    with pytest.raises(InvalidInputError) as refused:
        ExecutionRequested.parse({name: value for name, value in {**REQUEST, **changed}.items() if value is not None})
    return [str(problem) for problem in refused.value.problems]


def test_a_request_is_taken_as_it_is_written() -> None:
    request = ExecutionRequested.parse({**REQUEST, "reason": "  Region down ", "clientToken": "t-1", "dryRun": False})
    assert (request.phase, request.mode, request.reason, request.client_token) == (Phase.ACTIVATE, Mode.UNPLANNED, "Region down", "t-1")
    assert request.manifest_key == "shop/Activate.json"
    assert ExecutionRequested.parse({**REQUEST, "manifest": "shop/drills/one.json"}).manifest_key == "shop/drills/one.json"


def test_only_activate_needs_a_mode() -> None:
    (problem,) = problems(mode=None)
    assert 'ACTIVATE needs a mode: "planned" (no data loss) or "unplanned" (data loss accepted)' in problem
    for phase in ("INSTANTIATE", "CLEANUP", "REPLICATE"):
        assert ExecutionRequested.parse({**REQUEST, "phase": phase, "mode": None}).mode is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"colour": "red"},
            "key colour: Extra inputs are not permitted (known are application, clientToken, dryRun, manifest,",
        ),
        ({"reason": None}, "key reason: Field required (add it)"),
        ({"reason": "  "}, "key reason: String should have at least 1 character"),
        ({"phase": "activate"}, "key phase: Input should be 'INSTANTIATE', 'ACTIVATE', 'CLEANUP' or 'REPLICATE'"),
        ({"mode": "graceful"}, "key mode: Input should be 'planned', 'unplanned' or 'drill'"),
        ({"application": "../shop"}, "key application: String should match pattern"),
        ({"application": "s" * 65}, "key application: String should match pattern"),
        ({"clientToken": "a b"}, "key clientToken: String should match pattern"),
        ({"targetRegion": "Oregon"}, "key targetRegion: String should match pattern"),
        ({"targetRegion": "us-east-1"}, "sourceRegion and targetRegion are the same"),
        ({"manifest": "blog/Activate.json"}, "manifest blog/Activate.json is not one of shop: its key begins with shop/"),
        ({"dryRun": "true"}, "key dryRun: Input should be a valid boolean (write true or false, without quotes)"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(changed: dict[str, object], said: str) -> None:
    (problem,) = problems(**changed)
    assert said in problem


def test_everything_wrong_is_said_at_once() -> None:
    found = problems(phase="X", mode="Y", reason=None, colour="red")
    assert [problem.split(":")[0].split()[-1] for problem in found] == ["phase", "mode", "reason", "colour"]


def test_a_problem_is_never_longer_than_its_cause_deserves() -> None:
    (problem,) = problems(**{"x\n" * 50_000: 1})
    assert len(problem) < 500 and problem.isprintable()


@FAST
@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner))
)
def test_any_detail_is_a_request_or_a_list_of_problems(detail: object) -> None:
    with pytest.raises(InvalidInputError) as refused:
        ExecutionRequested.parse(detail)
    assert refused.value.problems


# --- the envelope ---


def test_the_envelope_names_and_the_event_adds() -> None:
    event = Event(DetailType.LAYER_STARTED, {"layer": 1, "epoch": 0, "resources": 2})
    detail = json.loads(events.detail(an_execution(), event, "01E", T0 + timedelta(microseconds=1500)))
    assert detail == {
        "schemaVersion": "1",
        "eventId": "01E",
        "executionId": an_execution().id,
        "application": "shop",
        "phase": "ACTIVATE",
        "homeRegion": "us-west-2",
        "targetRegion": "us-west-2",
        "fence": 1,
        "occurredAt": "2031-03-01T12:00:00.001Z",
        "layer": 1,
        "epoch": 0,
        "resources": 2,
    }


@pytest.mark.parametrize("detail_type", DetailType)
def test_an_event_says_where_it_comes_from(detail_type: DetailType) -> None:
    about = {"Vote": "approval", "RTO": "execution", "Stuck": "system"}
    word = detail_type.split(" ", maxsplit=1)[0]
    assert detail_type.source == f"dr.{about.get(word, word.lower())}"
    assert detail_type.source in {"dr.execution", "dr.preflight", "dr.approval", "dr.command", "dr.layer", "dr.resource", "dr.system"}


def test_the_largest_layer_that_fails_still_fits_into_an_event() -> None:
    name = '"🜁' * 64
    plan = LayerPlan(1, tuple(ResourcePlan(f"{index:03d}{name[:125]}", max_attempts=1) for index in range(100)))
    story = Story(plan).approve()
    for index in range(100):
        story.begun(1, index).checked(1, index, broken(ErrorClass.TERMINAL))
    story.wake()
    assert story.execution.status == "FAILED" and "000" in story.execution.outcome_detail
    for event in story.table.timeline("e1"):
        assert len(events.detail(story.execution, event, "0" * 26, T0).encode()) <= MAX_EVENT_BYTES
    assert story.decide(Command("cancel", "olga", "x" * 512))


# --- ids ---


def test_the_same_event_is_always_the_same_execution() -> None:
    first = events.execution_id("event-1", T0)
    assert first == events.execution_id("event-1", T0) and len(first) == 26
    others = {events.execution_id("event-2", T0), events.execution_id("event-1", T0 + timedelta(seconds=1))}
    assert first not in others and len(others) == 2
    assert first < events.execution_id("event-0", T0 + timedelta(milliseconds=1)), "executions sort by when they were requested"


@FAST
@given(st.datetimes(T0.replace(tzinfo=None)), st.datetimes(T0.replace(tzinfo=None)))
def test_the_first_id_of_a_moment_divides_earlier_from_later(one: Any, other: Any) -> None:
    early, late = sorted((one.replace(tzinfo=T0.tzinfo), other.replace(tzinfo=T0.tzinfo)))
    assert events.first_event_id(late) <= events.new_event_id(late)
    if late - early >= timedelta(milliseconds=1):
        assert events.new_event_id(early) < events.first_event_id(late)


# --- out of a queue ---


def test_a_wake_up_is_what_was_sent() -> None:
    body = events.wake_up("01X", Event(DetailType.RESOURCE_WAITING, {"resourceId": "0001-001", "attempt": 2, "checkNo": 3, "new": "?"}))
    assert WakeUp.from_queue(body) == WakeUp(executionId="01X", resourceId="0001-001", attempt=2, checkNo=3)
    assert WakeUp.from_queue('{"detail-type": "x", "detail": {"executionId": "01X", "later": 1}}') == WakeUp(executionId="01X")


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"detail-type": "x", "detail": {}}', '{"detail-type": "x", "detail": 1}'])
def test_what_is_no_event_is_an_error(body: str) -> None:
    with pytest.raises(ValidationError):
        WakeUp.from_queue(body)


def test_an_event_of_the_bus_keeps_its_identity() -> None:
    body = {"id": "e-1", "detail-type": "Execution Requested", "time": "2031-03-01T12:00:00Z", "detail": REQUEST, "account": "1"}
    incoming = Incoming.model_validate_json(json.dumps(body))
    assert (incoming.id, incoming.time, incoming.detail) == ("e-1", T0, REQUEST)


@FAST
@given(st.text(), st.integers(1, 50))
def test_printable_is_one_line_of_ascii(text: str, limit: int) -> None:
    shown = events.printable(text, limit)
    assert len(shown) <= limit and shown.isascii() and shown.isprintable()
