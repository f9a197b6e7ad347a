"""The comparison with nested state machines: what its figures are reckoned from."""

from statistics import mean

import pytest

from tests.bench.cases import CASES, CHECK_SECONDS, TOLD, Case, checked, realistic
from tests.bench.checks import burst, crowded, followed
from tests.bench.nested import TEMPLATE
from tests.bench.orchestrator import PAUSE
from tests.bench.price import of_nested, of_orchestrator
from tests.bench.run import Run
from tests.bench.section import section

CASE = Case("3 x 100, instant", [[1.0, 2.0], [3.0]])
CALLS = {("dynamodb", "TransactWriteItems"): 10, ("dynamodb", "GetItem"): 100, ("dynamodb", "BatchGetItem"): 1, ("s3", "GetObject"): 7}
ITEMS = {("dynamodb", "TransactWriteItems"): 30, ("dynamodb", "BatchGetItem"): 11}


def a_run(case: Case = CASE, wall: float = 7.0, steps: int = 1_000, lags: tuple[float, ...] = (0.1, 0.2, 0.3)) -> Run:
    return Run(case, wall, lags, steps, 100, 10.0, CALLS, ITEMS, {"gateway": 1.0})


def test_the_critical_path_is_the_slowest_of_each_layer() -> None:
    assert (CASE.critical_path, CASE.resources, a_run().overhead) == (5.0, 3, 2.0)
    assert realistic(0.1).critical_path == pytest.approx(69.0)


def test_no_two_resources_of_a_layer_have_the_same_target() -> None:
    for case in CASES:
        for layer in case.manifest():
            resources = layer["resources"]
            assert isinstance(resources, list)
            assert len({str(one["parameters"]) for one in resources}) == len(resources), case.name


def test_what_is_checked_ends_evenly_spread() -> None:
    (seconds,) = checked(1, 100).seconds
    assert (min(seconds), max(seconds), len(set(seconds))) == (1.0, 1.99, 100)


def test_both_look_equally_often() -> None:
    assert f"            Seconds: {CHECK_SECONDS}\n" in TEMPLATE.read_text()
    assert f"    check_cap_seconds = {CHECK_SECONDS}\n" in PAUSE.read_text()


def test_calls_are_counted_by_service_and_operation() -> None:
    assert a_run().called("dynamodb") == 111
    assert a_run().called("dynamodb", "GetItem", "Query") == 100


def test_prices() -> None:
    functions = 100 * 0.20e-6 + 10 * 0.5 * 0.0000133334
    assert of_nested(a_run()) == pytest.approx(functions + 1_000 * 25e-6)
    assert of_orchestrator(a_run()) == pytest.approx(functions + 1_000 * (1e-6 + 3 * 0.4e-6) + 80 * 0.625e-6 + 111 * 0.125e-6)


def test_an_aim_is_met_or_not() -> None:
    met = section([(a_run(wall=6.0), a_run(wall=7.0))], 0.3)
    assert "| 3 x 100, instant: overhead at most half of nested | 0.50 | yes |" in met
    assert "load average before it began 0.3" in met
    missed = section([(a_run(wall=8.0), a_run(wall=7.0))], 0.3)
    assert "| 3 x 100, instant: overhead at most half of nested | 1.50 | **no** |" in missed
    assert "| overhead never above nested | at worst 1.50, 3 x 100, instant | **no** |" in missed


def test_the_overhead_grows_as_layers_and_resources_do() -> None:
    walls = {"10 x 20, instant": 10.0, "20 x 20, instant": 22.0, "3 x 100, instant": 15.3}
    pairs = [(a_run(Case(name, [[0.0]]), wall), a_run(Case(name, [[0.0]]))) for name, wall in walls.items()]
    found = section(pairs, 0.3)
    assert "| 20 x 20 against 10 x 20, instant: overhead as the layers, 2 (and a tenth) | 2.20 | yes |" in found
    assert "| a layer of 100 against one of 20, instant: overhead at most as the resources, 5 | 5.10 | **no** |" in found


def test_the_lag_is_that_of_the_worst_case_that_is_checked() -> None:
    late = a_run(checked(1, 1), lags=(0.5, 1.2))
    found = section([(a_run(checked(1, 1)), a_run(checked(1, 1))), (late, late)], 0.3)
    assert "| 1.20 s, 1.26 | **no** |" in found


def test_what_a_service_says_is_noticed_within_a_second_or_not() -> None:
    soon, late = a_run(TOLD, lags=(0.4, 0.9)), a_run(TOLD, lags=(0.4, 1.1))
    assert "| lag p95 where the service says when it is done: at most 1 s | 0.90 s | yes |" in section([], 0.3, soon)
    assert "| 1.10 s | **no** |" in section([], 0.3, late)
    assert "at most 1 s" not in section([], 0.3)


def test_what_is_told_is_of_the_module_that_hears_of_it() -> None:
    (layer,) = TOLD.manifest()
    resources = layer["resources"]
    assert isinstance(resources, list) and {one["action"] for one in resources} == {"Announced"}


def test_wrong_knowledge_is_noticed_later_and_right_knowledge_sooner() -> None:
    nothing, right, wrong = (mean(followed(540, 15, *how).lags) for how in ((0,), (5,), (5, 2.0)))
    assert right < 0.5 * nothing < nothing < wrong
    assert followed(540, 15, 5, peers=500).checks_per_minute * 500 / 60 == pytest.approx(10, rel=0.15), "and the first of each"


def test_what_does_not_come_at_the_same_time_shares_nothing_and_is_followed_as_one_alone() -> None:
    alone = followed(60, 15, 5)
    for share in (True, False):
        one = crowded(60, 15, 5, 1, share=share)
        assert (one.batch, one.calls_per_minute) == (1, one.found.checks_per_minute)
        assert mean(one.found.lags) == pytest.approx(mean(alone.lags), abs=0.3)


def test_many_at_once_make_no_more_calls_when_they_share_them_and_are_seen_no_later() -> None:
    shared, each = (crowded(60, 15, 5, 500, share=share) for share in (True, False))
    assert shared.calls_per_minute < each.calls_per_minute == pytest.approx(each.found.checks_per_minute)
    assert mean(shared.found.lags) < mean(each.found.lags)
    assert shared.calls_per_second < 1.5 * 10


def test_a_burst_comes_in_batches_each_of_which_makes_two_calls_at_most() -> None:
    batches, calls = burst(500)
    assert 500 / 10 <= batches <= calls <= 2 * batches < 500
