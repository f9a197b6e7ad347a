"""When a waiting resource is looked at next: rarely before it can be done, often when it should be, and never too seldom."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dr_core.checks import check_delay, known_times, least_delay, taken, with_known_times
from dr_core.records import Resource, ResourceStatus
from tests.support.control_plane import T0

FIRST = 5.0
caps = st.integers(1, 60)
chances = st.floats(0, 1, exclude_max=True)
lengths = st.floats(0.5, 3600)


def looks(length: float, known: Sequence[float], cap: float, jitter: float = 0.5, least: float = 0.0) -> Iterator[float]:
    """The moments of all looks, in seconds after the beginning, up to the first at which an operation of that length is over."""
    passed, check_no = 0.0, 0
    while passed < length:
        passed += check_delay(check_no, FIRST, cap, jitter, passed=passed, known=known, least=least)
        check_no += 1
        yield passed


@pytest.mark.parametrize(
    ("check_no", "jitter", "seconds"), [(0, 0.5, 5.0), (1, 0.5, 7.5), (1, 0.0, 6.0), (9, 1.0, 36.0), (10_000, 0.5, 30.0)]
)
def test_checks_become_rarer_up_to_the_cap(check_no: int, jitter: float, seconds: float) -> None:
    """1.5 times each, spread by a fifth either way."""
    assert check_delay(check_no, 5, 30, jitter) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("passed", "seconds"),
    [
        (100, 30),  # long before: twice the cap
        (476, 10),  # the next look is when it begins to be likely
        (486, 2.7),  # a twentieth of the time in which it is
        (540, 2.7),
        (590, 10),  # a fifth of what is over
        (900, 15),  # the cap
    ],
)
def test_what_took_nine_minutes_is_looked_at_often_after_eight(passed: float, seconds: float) -> None:
    assert check_delay(30, FIRST, 15, 0.5, passed=passed, known=[540]) == pytest.approx(seconds)


@given(known=lengths, cap=caps, jitters=st.tuples(chances, chances))
def test_all_that_know_the_same_begin_to_look_together(known: float, cap: int, jitters: tuple[float, float]) -> None:
    """Whatever the jitter, the first look in the likely time is where that begins."""
    just_before = 0.9 * known - min(1.5, cap)
    delays = {round(check_delay(30, FIRST, cap, one, passed=just_before, known=[known]), 6) for one in jitters}
    assert delays == {round(0.9 * known - just_before, 6)} or cap == 1


@example(length=800, known=[200], cap=60, jitter=0.0)
@given(length=lengths, known=st.lists(lengths, min_size=1, max_size=5), cap=caps, jitter=chances)
def test_wrong_times_cost_little(length: float, known: list[float], cap: int, jitter: float) -> None:
    """Noticed at most 1.2 caps later than the longest that it takes without them, and with at most 60 more looks."""
    with_them, without = list(looks(length, known, cap, jitter)), list(looks(length, (), cap, jitter))
    assert with_them[-1] - length <= 2.4 * cap + 1e-6
    assert len(with_them) <= len(without) + 60


@given(known=st.floats(20, 3600), share=st.floats(0.9, 1.0), cap=st.integers(5, 60), jitter=chances)
def test_right_times_are_noticed_soon(known: float, share: float, cap: int, jitter: float) -> None:
    """What ends as it did before, or up to a tenth sooner, is noticed within a second, or two hundredths of its time where that is more."""
    assert list(looks(share * known, [known], cap, jitter))[-1] - share * known <= 1.2 * max(1.0, known / 200) + 1e-6


def test_one_odd_run_of_four_does_not_count() -> None:
    assert check_delay(30, FIRST, 15, 0.5, passed=400, known=[540, 540, 10, 540]) == pytest.approx(30)
    assert check_delay(30, FIRST, 15, 0.5, passed=486, known=[540, 540, 3000, 540]) == pytest.approx(2.7)
    assert check_delay(30, FIRST, 15, 0.5, passed=400, known=[540, 10, 540]) == 15, "of three each counts"


@given(length=lengths, known=st.lists(lengths, max_size=5), cap=caps, peers=st.integers(1, 500), reads=st.integers(1, 3), jitter=chances)
def test_all_together_stay_within_the_limit(length: float, known: list[float], cap: int, peers: int, reads: int, jitter: float) -> None:
    """Ten reading calls a second for all of a layer, module and account; but for the jitter, which evens out."""
    least = least_delay(replace(done(), peers=peers), reads)
    moments = list(looks(length, known, cap, jitter, least))
    gaps = [later - earlier for earlier, later in zip([0.0, *moments], moments, strict=False)]
    assert all(peers * reads / gap <= 10 / (0.8 + 0.4 * jitter) * (1 + 1e-9) for gap in gaps)


def done(**values: object) -> Resource:
    """A resource that was waited for for 90 s."""
    resource = Resource("0001-001", 1, "db", "AuroraMySQL", "1", "{}", ResourceStatus.SUCCEEDED, 1, 9, 0, 3, 900, 120, taken=(90.0,))
    return replace(resource, **values)  # type: ignore[arg-type]


def pending(**values: object) -> Resource:
    """The same resource in a new run."""
    return done(status=ResourceStatus.PENDING, attempt=0, check_no=0, taken=(), **values)


def learned(*earlier: Resource) -> list[float]:
    """What a new run knows after another one."""
    (resource,) = with_known_times([pending()], earlier)
    return known_times(resource)


def test_a_run_knows_the_five_runs_before_it() -> None:
    """Each hands on what it knew: only the last one is read."""
    resource = pending()
    for seconds in range(1, 8):
        (resource,) = with_known_times(
            [resource], [replace(resource, status=ResourceStatus.SUCCEEDED, check_no=1, taken=(float(seconds),))]
        )
        resource = pending(known=resource.known)
    assert known_times(resource) == [7, 6, 5, 4, 3]


def test_only_what_was_waited_for_tells_how_long_it_takes() -> None:
    """What failed, what was done already when it was looked at, and what a person called done hand on what they knew."""
    knew = ((80.0,),)
    assert learned(done(known=knew)) == [90, 80]
    for other in (done(status=ResourceStatus.FAILED), done(check_no=0), done(taken=()), done(step=1, taken=(30.0,))):
        assert learned(replace(other, known=knew)) == [80]
    assert learned() == []


@pytest.mark.parametrize("other", [{"layer": 2}, {"name": "db-2"}, {"module": "ECS"}, {"account": "2"}])
def test_another_resource_tells_nothing(other: dict[str, object]) -> None:
    assert learned(done(**other)) == []


def test_each_step_has_its_own_time() -> None:
    """A step that only some runs had is known from those."""
    resource = pending(known=((10.0, 200.0), (12.0,)))
    assert known_times(resource) == [10, 12]
    assert known_times(replace(resource, step=1)) == [200]
    assert known_times(replace(resource, step=2)) == []


def test_a_step_takes_from_its_claim_to_its_end() -> None:
    resource = pending(claimed_at=T0)
    assert taken(replace(resource, taken=(7.0,)), T0 + timedelta(seconds=90.04)) == (7.0, 90.0)
