"""A seed stands for one plan; its manifests are sound, and its faults are of every kind."""

import json

import pytest

from dr_engine.plan import check_manifest
from dr_modules.base import modules
from localcloud.faults import Effect, Fault, When
from tests.chaos.mutants import MUTANTS, Patch, PatchError, source_of
from tests.chaos.plan import MOST_LAYERS, MOST_RESOURCES, network, request, strikes


def test_a_seed_stands_for_one_plan() -> None:
    assert [request(7, "app-0", number, "Z1") for number in range(20)] == [request(7, "app-0", number, "Z1") for number in range(20)]
    assert (strikes(7, 120), network(7)) == (strikes(7, 120), network(7))


def test_another_seed_application_or_number_is_another_plan() -> None:
    manifests = [request(seed, app, number, "Z1").manifest for seed in (1, 2) for app in ("app-0", "app-1") for number in (0, 1)]
    assert len({json.dumps(manifest) for manifest in manifests}) == len(manifests)
    assert strikes(1, 60) != strikes(2, 60)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    assert strikes(3, 600)[: len(strikes(3, 60))] == strikes(3, 60)


@pytest.mark.parametrize("seed", range(3))
def test_every_manifest_is_accepted(seed: int) -> None:
    for number in range(60):
        planned = request(seed, "app-0", number, "Z1")
        body = json.dumps(planned.manifest).encode()
        check_manifest(body, planned.phase.file_name, planned.application, planned.phase, modules())


def test_manifests_reach_the_largest_size_and_not_beyond() -> None:
    sizes = [
        (len(manifest["layers"]), max(len(layer["resources"]) for layer in manifest["layers"]))
        for manifest in (request(1, "app-0", number, "Z1").manifest for number in range(600))
    ]
    assert max(sizes)[0] == MOST_LAYERS
    assert max(size for _, size in sizes) == MOST_RESOURCES


def test_every_kind_of_fault_is_in_a_run_of_a_minute() -> None:
    faults = [strike.fault for strike in strikes(5, 60)]
    assert {fault.effect for fault in faults} == {*Effect}
    assert len({fault.name for fault in faults}) == len(faults)
    assert {fault.when for fault in (strike.fault for strike in strikes(5, 600)) if fault.effect is Effect.CRASH} == {*When}


def test_faults_strike_functions_and_never_the_one_who_looks_on() -> None:
    faults: list[Fault] = [strike.fault for strike in strikes(5, 600)]
    faults += [fault for mutant in MUTANTS.values() for fault in mutant.faults]
    assert all(fault.function.startswith("dr-orchestrator-") or fault.effect is Effect.FAIL_LATER for fault in faults)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mutant_fits_the_source(mutant: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp(mutant)
    template = source_of(mutant, root / "source")
    for patch in MUTANTS[mutant].patches:
        text = (template.parent / patch.file).read_text()
        assert patch.new in text
        compile(text, patch.file, "exec")


def test_a_patch_that_does_not_fit_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("patch")
    (root / "a.py").write_text("x = 1\n")
    with pytest.raises(PatchError, match=r"a\.py has 0 times, not 1: 'y = 1'"):
        Patch("a.py", "y = 1", "").apply(root)
