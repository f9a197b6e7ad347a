"""The sample applications: each is complete, its requests are good ones, and the ERP system leaves no module out."""

import json

import pytest

from dr_core.manifest import parse_manifest
from dr_core.phases import Phase
from dr_core.requests import ExecutionRequested
from dr_modules import base
from localcloud import applications
from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, REPOSITORY, STANDBY_REGION, WORKLOAD_ACCOUNT

MANIFESTS = REPOSITORY / "manifests"


def actions(application: str, phase: Phase) -> set[str]:
    """The modules that a manifest of the application uses."""
    file = MANIFESTS / application / f"{phase.capitalize()}.json"
    manifest = parse_manifest(file.read_bytes(), str(file), application, phase)
    return {resource.action for layer in manifest.layers for resource in layer.resources}


def test_the_applications_are_those_with_manifests() -> None:
    assert applications.names() == ["erp", "storefront"]
    assert [applications.load(name).NAME for name in applications.names()] == applications.names()


@pytest.mark.parametrize("name", applications.names())
def test_each_step_requests_a_phase_that_the_application_has(name: str) -> None:
    steps = applications.load(name).steps()
    assert [step.phase for step in steps] == [Phase.INSTANTIATE, Phase.ACTIVATE, Phase.CLEANUP, Phase.REPLICATE]
    for step in steps:
        (entry,) = step.entries
        assert (entry["EventBusName"], entry["Source"], entry["DetailType"]) == ("dr-orchestrator", "dr.operator", "Execution Requested")
        request = ExecutionRequested.parse(json.loads(entry["Detail"]))
        assert (request.application, request.phase, request.client_token) == (name, step.phase, None)
        ahead = (PRIMARY_REGION, STANDBY_REGION)
        behind = (STANDBY_REGION, PRIMARY_REGION)
        expected = ahead if step.phase in (Phase.INSTANTIATE, Phase.ACTIVATE) else behind
        assert (request.source_region, request.target_region) == expected
        assert (MANIFESTS / request.manifest_key).is_file()
        assert step.expected


@pytest.mark.parametrize("phase", Phase)
def test_the_erp_system_leaves_no_module_out(phase: Phase) -> None:
    assert actions("erp", phase) == {name for name, module in base.modules().items() if phase in module.phases()}


def test_the_erp_system_is_in_two_accounts_and_refers_to_what_is_kept_elsewhere() -> None:
    texts = {phase: (MANIFESTS / "erp" / f"{phase.capitalize()}.json").read_text() for phase in Phase}
    everything = "".join(texts.values())
    assert {CONTROL_ACCOUNT, WORKLOAD_ACCOUNT} == {word for word in (CONTROL_ACCOUNT, WORKLOAD_ACCOUNT) if word in everything}
    assert all(word in everything for word in ("!Import ", "resolve:ssm:", "OrchestrationSolution", "bestEffort", "maxLagSeconds"))
    forms = {type(json.loads(text)) for text in texts.values()}
    assert forms == {list, dict}
