"""Whatever happens, the pieces of an execution's time follow one another without gap or overlap."""

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dr_core.records import DetailType
from dr_people.time_split import Kind, milliseconds, pieces
from dr_people.timeline import Happening
from tests.support.desk import T0

_OF_RESOURCES = [kind for kind in DetailType if kind.startswith("Resource ")]
_OTHERS = [DetailType.LAYER_REOPENED, DetailType.LAYER_COMPLETED, DetailType.EXECUTION_PAUSED, DetailType.EXECUTION_RESUMED]


def event(kind: DetailType, at: int, **fields: object) -> Happening:
    return Happening(f"{at:08d}", T0 + timedelta(milliseconds=at), kind.source, kind, "", "", {"layer": 1, **fields})


def of_resource(kind: DetailType, at: int, resource: str = "0001-001", attempt: int = 1, **fields: object) -> Happening:
    return event(kind, at, resourceId=resource, attempt=attempt, **fields)


@st.composite
def stories(draw: st.DrawFn) -> list[Happening]:
    found, at = [event(DetailType.LAYER_STARTED, 0)], 0
    for _ in range(draw(st.integers(0, 25))):
        at += draw(st.integers(0, 5000))
        if draw(st.booleans()):
            kind = draw(st.sampled_from(_OF_RESOURCES))
            resource = draw(st.sampled_from(["0001-001", "0001-002"]))
            found.append(of_resource(kind, at, resource, draw(st.integers(1, 2)), willRetry=draw(st.booleans())))
        else:
            found.append(event(draw(st.sampled_from(_OTHERS)), at))
    return found


@given(stories(), st.dictionaries(st.tuples(st.just("0001-001"), st.integers(1, 2)), st.integers(-9000, 130_000)), st.integers(0, 5000))
def test_no_gap_and_no_overlap(events: list[Happening], acts: dict[tuple[str, int], int], later: int) -> None:
    end = events[-1].at + timedelta(milliseconds=later)
    found = pieces(events, {key: T0 + timedelta(milliseconds=at) for key, at in acts.items()}, end)
    assert sum(piece.milliseconds for piece in found) == milliseconds(T0, end)
    assert all(one.end == two.start for one, two in pairwise(found))
    assert all(piece.milliseconds > 0 for piece in found)


def kinds(*events: Happening, acts: dict[int, int] | None = None) -> list[tuple[Kind, int]]:
    """The kinds of time of a layer that opens at 0 and completes when the last event happens."""
    story = [event(DetailType.LAYER_STARTED, 0), *events]
    moments = {("0001-001", attempt): T0 + timedelta(milliseconds=at) for attempt, at in (acts or {}).items()}
    return [(piece.kind, piece.milliseconds) for piece in pieces(story, moments, story[-1].at)]


def test_awss_time_begins_with_the_first_call_and_ends_when_it_is_seen_done() -> None:
    started, waiting = of_resource(DetailType.RESOURCE_STARTED, 100), of_resource(DetailType.RESOURCE_WAITING, 400)
    done, completed = of_resource(DetailType.RESOURCE_SUCCEEDED, 900), event(DetailType.LAYER_COMPLETED, 950)
    found = kinds(started, waiting, done, completed, acts={1: 300})
    merged = [(Kind.ORCHESTRATION, 100), (Kind.ORCHESTRATION, 200), (Kind.AWS, 100), (Kind.AWS, 500), (Kind.ORCHESTRATION, 50)]
    assert found == merged


def test_after_the_lag_was_measured_the_act_of_the_same_attempt_begins_awss_time() -> None:
    story = of_resource(DetailType.RESOURCE_STARTED, 100), of_resource(DetailType.RESOURCE_MEASURED, 200)
    found = kinds(*story, of_resource(DetailType.RESOURCE_SUCCEEDED, 900), acts={1: 300})
    assert found == [(Kind.ORCHESTRATION, 100), (Kind.ORCHESTRATION, 100), (Kind.ORCHESTRATION, 100), (Kind.AWS, 600)]


def test_what_was_found_under_way_is_awss_from_then_on() -> None:
    story = of_resource(DetailType.RESOURCE_STARTED, 100), of_resource(DetailType.RESOURCE_WAITING, 400)
    assert kinds(*story, of_resource(DetailType.RESOURCE_SUCCEEDED, 900))[-1] == (Kind.AWS, 500)
    assert kinds(*story, of_resource(DetailType.RESOURCE_SUCCEEDED, 900))[:2] == [(Kind.ORCHESTRATION, 100), (Kind.ORCHESTRATION, 300)]


def test_a_clock_that_is_ahead_or_behind_takes_no_time_from_others() -> None:
    story = of_resource(DetailType.RESOURCE_STARTED, 100), of_resource(DetailType.RESOURCE_SUCCEEDED, 900)
    assert kinds(*story, acts={1: -5000}) == [(Kind.ORCHESTRATION, 100), (Kind.AWS, 800)]
    assert kinds(*story, acts={1: 5000}) == [(Kind.ORCHESTRATION, 100), (Kind.ORCHESTRATION, 800)]


def test_between_two_attempts_nobody_works() -> None:
    failed = of_resource(DetailType.RESOURCE_FAILED, 500, willRetry=True)
    again = of_resource(DetailType.RESOURCE_REQUESTED, 800, attempt=2)
    assert (Kind.RETRY, 300) in kinds(of_resource(DetailType.RESOURCE_STARTED, 100), failed, again, event(DetailType.LAYER_COMPLETED, 1000))


def test_the_critical_resource_is_the_one_that_ended_last() -> None:
    story = [
        event(DetailType.LAYER_STARTED, 0),
        of_resource(DetailType.RESOURCE_STARTED, 10, "0001-001"),
        of_resource(DetailType.RESOURCE_STARTED, 20, "0001-002"),
        of_resource(DetailType.RESOURCE_SUCCEEDED, 500, "0001-002"),
        of_resource(DetailType.RESOURCE_SUCCEEDED, 400, "0001-001"),
    ]
    assert {piece.resource_id for piece in pieces(story, {}, T0 + timedelta(seconds=1))} == {"0001-002"}
    story.append(of_resource(DetailType.RESOURCE_WAITING, 450, "0001-003"))
    assert {piece.resource_id for piece in pieces(story, {}, T0 + timedelta(seconds=1))} == {"0001-003"}, "one that has not ended"
