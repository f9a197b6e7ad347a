"""What every module promises, held for each one that is registered: a new module is judged without a new test here, but for its story."""

import inspect
import json
from typing import Any

import botocore.session
import pytest
from pydantic import ValidationError

from dr_core.errors import ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import STARTABLE, DRModule, ModuleParameters, Progress, modules
from tests.support import stories
from tests.support.aws import emulated
from tests.support.deployed import note_authorisation
from tests.support.target_roles import allowing, role_of

MODULES = sorted(modules().items())
PHASES = [(name, phase) for name, module in MODULES for phase in Phase if phase in module.phases()]
_READING = ("Describe", "Get", "List")
# Actions that IAM knows by another name than the service's API.
_NOT_OPERATIONS = {"lambda:InvokeFunction": "Invoke", "s3:ListBucket": "ListObjectsV2"}
_API_NAMES = {"elasticloadbalancing": "elbv2", "es": "opensearch", "servicequotas": "service-quotas"}

every_module = pytest.mark.parametrize(("name", "module"), MODULES, ids=[name for name, _ in MODULES])
every_phase = pytest.mark.parametrize(("name", "phase"), PHASES, ids=[f"{name}-{phase}" for name, phase in PHASES])


def example(module: type[DRModule[Any]]) -> dict[str, Any]:
    """The manifest resource in the docstring of the module's file."""
    text = inspect.getdoc(inspect.getmodule(module)) or ""
    _, _, after = text.partition("Example manifest resource:")
    found: dict[str, Any] = json.JSONDecoder().raw_decode(after.strip())[0]
    return found


def models(model: type[ModuleParameters]) -> list[type[ModuleParameters]]:
    """The model and those within it."""
    inner = [field.annotation for field in model.model_fields.values() if inspect.isclass(field.annotation)]
    return [model, *(one for one in inner if issubclass(one, ModuleParameters))]


def test_the_technologies() -> None:
    present = {name for name, _ in MODULES}
    assert present >= {"AuroraMySQL", "ECS", "AutoScaling", "R53Record", "EventBridge", "LambdaFunction"}


@every_module
def test_the_parameters_are_closed(name: str, module: type[DRModule[Any]]) -> None:
    for model in models(module.parameters_model):
        assert model.model_config["extra"] == "forbid"
        assert model.model_json_schema(by_alias=True)["additionalProperties"] is False


@every_module
def test_the_example_is_valid_and_a_misspelt_key_is_not(name: str, module: type[DRModule[Any]]) -> None:
    resource = example(module)
    assert set(resource) == {"action", "resourceName", "parameters"}
    assert resource["action"] == name
    items = module.parse(resource["parameters"])
    assert any(module.check_parameters(phase, item) == [] for phase in module.phases() for item in items)
    first = resource["parameters"] if isinstance(resource["parameters"], dict) else resource["parameters"][0]
    with pytest.raises(ValidationError):
        module.parse({**first, "Misspelt": 1})


@every_module
def test_every_phase_has_a_check_and_permissions_and_no_others_do(name: str, module: type[DRModule[Any]]) -> None:
    assert module.phases()
    for phase in Phase:
        check = f"{phase.lower()}_status_check"
        overridden = getattr(module, check) is not getattr(DRModule, check)
        assert overridden is (phase in module.phases()), check
    assert set(module.permissions) == module.phases()
    assert set(module.implied_permissions) <= module.phases()
    assert set(module.timeouts) <= module.phases()
    assert module.irreversible <= module.phases()
    assert module.drills <= module.phases()


@every_phase
def test_permissions_are_actions_that_exist(name: str, phase: Phase) -> None:
    session = botocore.session.get_session()
    module = modules()[name]
    assert len(set(module.actions(phase))) == len(module.actions(phase))
    for action in module.permissions[phase]:
        service, _, operation = action.partition(":")
        assert "*" not in action
        known = session.get_service_model(_API_NAMES.get(service, service)).operation_names
        assert _NOT_OPERATIONS.get(action, operation) in known, action
    assert not any("*" in action for action in module.actions(phase))


@every_phase
def test_checks_get_no_right_to_change_anything(name: str, phase: Phase) -> None:
    module = modules()[name]
    for action in module.read_actions(phase):
        assert action.partition(":")[2].startswith(_READING) or action in module.observing.get(phase, ()), action
    assert set(module.observing.get(phase, ())) <= set(module.permissions[phase])


@every_phase
def test_limits_make_sense(name: str, phase: Phase) -> None:
    module = modules()[name]
    assert 1 <= module.check_cap_seconds <= 60
    assert module.check_cap_seconds < module.timeout(phase) <= 6 * 3600
    assert module.lease_seconds >= 120
    assert module.attempts(phase) == (1 if phase in module.irreversible else module.max_attempts)
    assert all(event.source.startswith("aws.") and event.detail_type for event in module.native_events)
    assert bool(module.native_events) == bool(module.named_in_events), "an event is known to concern a resource by a name"


@every_phase
@pytest.mark.usefixtures("socket_disabled")
def test_the_actions_declared_are_those_called(name: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stories of a phase take every path that calls something; a new module tells its own in tests/support/stories/."""
    called: set[str] = set()
    for story in stories.of(modules()[name])[phase]:
        with emulated(monkeypatch) as world:
            story(world)
            called |= world.actions
            for call in world.calls:
                sids = allowing(phase, call)
                assert len(sids) == 1, f"one statement of the phase's role allows it: {call}"
                note_authorisation(role_of(phase), call.action, sids)
    assert called == set(modules()[name].permissions[phase])


@every_phase
@pytest.mark.usefixtures("socket_disabled")
def test_checks_change_nothing(name: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Observing, recording what was before, and preflight are read-only, whatever they find."""
    for story in stories.of(modules()[name])[phase]:
        with emulated(monkeypatch) as world:
            world.only_look = True
            story(world)
            assert world.changes == []


@every_phase
@pytest.mark.usefixtures("socket_disabled")
def test_a_drill_is_refused_unless_the_module_says_otherwise(name: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is called: production is left untouched."""
    module = modules()[name]
    if phase in module.drills:
        return
    with emulated(monkeypatch) as world:
        with pytest.raises(ModuleError) as refused:
            world.module(module, phase, Mode.DRILL).start(example(module)["parameters"], again=True)
        assert refused.value.code == "RefusedInDrill" and world.calls == []


def test_every_mode_is_known() -> None:
    assert set(Mode) == {Mode.PLANNED, Mode.UNPLANNED, Mode.DRILL}
    assert set(Progress) == STARTABLE | {Progress.IN_PROGRESS, Progress.DONE, Progress.FAILED}
