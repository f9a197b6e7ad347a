"""A manifest against its modules, and the plan that an execution stores. The modules are stand-ins, not the registry's."""

import json
from typing import Annotated, Any, ClassVar, Literal

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dr_core.errors import InvalidInputError, Problem
from dr_core.phases import Phase
from dr_core.records import LayerStatus, ResourceStatus
from dr_core.references import Resolver
from dr_engine.plan import Plan, check_manifest, plan, validate
from dr_modules.base import DRModule, Handle, ModuleParameters, Names

FILE = "shop/Instantiate.json"
OWN = "999999999999"


class Tag(BaseModel):
    model_config = ConfigDict(extra="forbid")
    key: str = Field(alias="Key")
    value: str = Field(alias="Value")


class ServiceParameters(ModuleParameters):
    cluster: str = Field(alias="ClusterName", pattern="^[a-z]+$")
    size: int | None = Field(alias="DesiredSize", default=None, ge=0, description="how many shall run")
    tags: list[Tag] = Field(alias="Tags", default=[])


class Service(DRModule[ServiceParameters]):
    lease_seconds = 99
    timeout_seconds = 600
    timeouts: ClassVar = {Phase.CLEANUP: 700}
    irreversible = frozenset({Phase.CLEANUP})

    @classmethod
    def check_parameters(cls, phase: Phase, parameters: ServiceParameters) -> list[tuple[str, str, str]]:
        missing = phase is Phase.INSTANTIATE and parameters.size is None
        return [("DesiredSize", "INSTANTIATE needs DesiredSize", "give it")] if missing else []

    def instantiate(self, parameters: ServiceParameters) -> Handle | None:
        raise AssertionError

    def cleanup(self, parameters: ServiceParameters) -> Handle | None:
        raise AssertionError


ZoneId = Annotated[str, AfterValidator(lambda value: value.removeprefix("/hostedzone/"))]


class RecordParameters(ModuleParameters):
    zone: ZoneId = Field(alias="HostedZoneId")
    alias: bool = Field(alias="Alias", default=False)
    values: Names = Field(alias="RecordValue", min_length=1)
    kind: Literal["A", "CNAME"] = Field(alias="RecordType", default="A")
    choice: list[Tag] | int = Field(alias="Choice", default=0)

    @model_validator(mode="after")
    def _fits(self) -> "RecordParameters":
        if self.alias and self.kind != "A":
            raise ValueError("an Alias is of type A")
        return self


class Record(DRModule[RecordParameters]):
    def activate(self, parameters: RecordParameters) -> Handle | None:
        raise AssertionError

    @classmethod
    def check_parameters(cls, phase: Phase, parameters: RecordParameters) -> list[tuple[str, str, str]]:
        return [("HostedZoneId", "no zone", "an id begins with Z")] if not parameters.zone.startswith("Z") else []


MODULES: dict[str, type[DRModule[Any]]] = {"ECS": Service, "R53Record": Record}


def service(name: str = "api", **changes: Any) -> dict[str, Any]:
    return {"action": "ECS", "resourceName": name, "parameters": {"ClusterName": "prod", "DesiredSize": 4}} | changes


def sized(size: int) -> dict[str, Any]:
    return service(str(size), parameters={"ClusterName": "prod", "DesiredSize": size})


def record(**parameters: Any) -> dict[str, Any]:
    given = {"HostedZoneId": "/hostedzone/Z1", "RecordValue": "alb"} | parameters
    return {"action": "R53Record", "resourceName": "dns", "parameters": given}


def check(*resources: dict[str, Any], phase: Phase | None = Phase.INSTANTIATE) -> Any:
    return check_manifest(json.dumps([{"layer": 1, "resources": list(resources)}]), FILE, "shop", phase, MODULES)


def problems(*resources: dict[str, Any], phase: Phase | None = Phase.INSTANTIATE) -> list[Problem]:
    with pytest.raises(InvalidInputError) as caught:
        check(*resources, phase=phase)
    return caught.value.problems


def found(*resources: dict[str, Any], phase: Phase = Phase.INSTANTIATE) -> list[tuple[str, str, str]]:
    """Key, message and remedy of each problem."""
    return [(problem.key, problem.message, problem.remedy) for problem in problems(*resources, phase=phase)]


# --- Modules and phases


def test_an_unknown_action_is_refused_with_the_one_that_was_meant() -> None:
    assert found(service(action="EcsService")) == [("action", "there is no module EcsService", "did you mean ECS?")]
    assert found(service(action="Kafka")) == [("action", "there is no module Kafka", "known here: ECS, R53Record")]


def test_a_module_without_the_phase_is_refused_with_the_phases_that_it_has() -> None:
    assert found(service(), phase=Phase.ACTIVATE) == [("action", "ECS does nothing in ACTIVATE", "it has INSTANTIATE, CLEANUP")]


def test_the_phase_is_the_manifests_own_where_none_is_asked_for() -> None:
    document = {"phase": "cleanup", "layers": [{"layer": 1, "resources": [service()]}]}
    assert check_manifest(json.dumps(document), FILE, "shop", None, MODULES).phase is Phase.CLEANUP
    (problem,) = problems(service(), phase=None)
    assert "not known which phase" in problem.message


# --- Parameters


@pytest.mark.parametrize(
    "resource",
    [
        service(parameters={"ClusterName": "prod", "DesiredSize": "4"}),
        service(parameters={"ClusterName": " prod ", "DesiredSize": 4, "Tags": [{"Key": "a", "Value": "b"}], "AccountId": "123456789012"}),
        service(parameters=[{"ClusterName": "a", "DesiredSize": 1}, {"ClusterName": "b", "DesiredSize": 2}]),
    ],
)
def test_numbers_may_be_strings_and_targets_a_list(resource: dict[str, Any]) -> None:
    assert check(resource)


@pytest.mark.parametrize("alias", ["Yes", "yes", "True", "true", True, 1, "No", "false", False])
@pytest.mark.parametrize("zone", ["Z1", "/hostedzone/Z1"])
@pytest.mark.parametrize("value", ["alb", ["alb"], ["a", "b"]])
def test_booleans_ids_and_lists_in_every_spelling(alias: object, zone: str, value: object) -> None:
    assert check(record(Alias=alias, HostedZoneId=zone, RecordValue=value), phase=Phase.ACTIVATE)


def test_a_misspelt_key_is_one_problem_that_names_the_right_key() -> None:
    assert found(record(Aias="Yes"), phase=Phase.ACTIVATE) == [("parameters.Aias", "unknown key", "did you mean Alias?")]
    misspelt = service(parameters=[{"ClusterName": "a", "DesiredSize": 1}, {"clustername": "b", "DesiredSize": 2}])
    assert found(misspelt) == [("parameters.1.clustername", "unknown key", "did you mean ClusterName?")]
    nested = service(parameters={"ClusterName": "a", "DesiredSize": 1, "Tags": [{"Key": "a", "Valeu": "b"}]})
    assert found(nested) == [("parameters.Tags.0.Valeu", "unknown key", "did you mean Value?")]
    account = service(parameters={"ClusterName": "a", "DesiredSize": 1, "accountID": "123456789012"})
    assert found(account) == [("parameters.accountID", "unknown key", "did you mean AccountId?")]


@pytest.mark.parametrize(
    ("resource", "phase", "expected"),
    [
        (
            service(parameters={"ClusterName": "prod", "DesiredSize": "many"}),
            Phase.INSTANTIATE,
            [("parameters.DesiredSize", "must be a whole number", "how many shall run")],
        ),
        (
            service(parameters=[{"ClusterName": "PROD", "DesiredSize": -1}, {"DesiredSize": 1}]),
            Phase.INSTANTIATE,
            [
                ("parameters.0.ClusterName", "must match pattern '^[a-z]+$'", ""),
                ("parameters.0.DesiredSize", "must be greater than or equal to 0", "how many shall run"),
                ("parameters.1.ClusterName", "this key is missing", "add it"),
            ],
        ),
        (
            service(parameters={"ClusterName": "prod"}),
            Phase.INSTANTIATE,
            [("parameters.DesiredSize", "INSTANTIATE needs DesiredSize", "give it")],
        ),
        (record(Alias="perhaps"), Phase.ACTIVATE, [("parameters.Alias", "must be true or false", "write true or false")]),
        (record(Alias="Yes", RecordType="CNAME"), Phase.ACTIVATE, [("parameters", "an Alias is of type A", "")]),
        (
            record(Choice="x"),
            Phase.ACTIVATE,
            [("parameters.Choice", "must be an array or a whole number", "write it in digits, such as 4")],
        ),
        (record(Choice=[{"Key": "a"}]), Phase.ACTIVATE, [("parameters.Choice.0.Value", "this key is missing", "add it")]),
        (record(RecordValue=[]), Phase.ACTIVATE, [("parameters.RecordValue", "needs at least 1 of them", "write at least one")]),
    ],
)
def test_parameters_that_do_not_fit_are_found_at_their_keys(
    resource: dict[str, Any], phase: Phase, expected: list[tuple[str, str, str]]
) -> None:
    assert found(resource, phase=phase) == expected


def test_problems_of_the_shape_and_of_the_modules_are_reported_at_once() -> None:
    other = service("web", parameters={"ClusterName": "other", "DesiredSize": 1})
    reported = problems(service(timeout=0), service("web", action="EC2"), service("jobs", parameters={"ClusterNam": "x"}), other)
    assert {(problem.resource, problem.key) for problem in reported} == {
        ("api", "timeout"),
        ("web", "resourceName"),
        ("web", "action"),
        ("jobs", "parameters.ClusterNam"),
    }


ONE_STRING = 'write one string; for several targets make "parameters" an array of objects'


# --- References before they are resolved


def test_a_reference_passes_for_any_value() -> None:
    assert check(service(parameters={"ClusterName": "!Import Cluster", "DesiredSize": "resolve:ssm:/size:2"}))
    everywhere = record(
        HostedZoneId="!Import Zone", Alias="!Import A", RecordType="!Import T", RecordValue=["!Import V"], Choice="!Import C"
    )
    assert check(everywhere, phase=Phase.ACTIVATE)


def test_what_does_not_depend_on_a_reference_is_judged_all_the_same() -> None:
    resource = service(parameters={"ClusterNam": "!Import Cluster", "DesiredSize": -1, "Tags": "!Import T"})
    assert {key for key, _, _ in found(resource)} == {"parameters.ClusterNam", "parameters.DesiredSize"}
    incomplete = {"ClusterName": "prod", "Tags": [{"Key": "a", "Value": "!Import V"}]}
    assert [key for key, _, _ in found(service(parameters=incomplete))] == ["parameters.DesiredSize"]


def test_a_misspelt_reference_is_one_problem() -> None:
    ((key, message, remedy),) = found(service(parameters={"ClusterName": "prod", "DesiredSize": "{{resolve:ssm:/size}}"}))
    assert key == "parameters.DesiredSize"
    assert "is not a reference" in message
    assert "!Import Name" in remedy


def test_validate_says_what_check_manifest_says_of_the_modules() -> None:
    manifest = check(service())
    assert validate(manifest, FILE, Phase.INSTANTIATE, MODULES) == []
    assert [problem.key for problem in validate(manifest, FILE, Phase.ACTIVATE, MODULES)] == ["action"]


# --- The plan


class Ssm:
    """Parameters of every account: name to (type, value)."""

    def __init__(self, **parameters: tuple[str, str]) -> None:
        self._parameters = {f"/{name}": value for name, value in parameters.items()}

    def get_parameter(self, Name: str) -> dict[str, Any]:
        kind, value = self._parameters[Name]
        return {"Parameter": {"Type": kind, "Value": value}}


def planned(*layers: dict[str, Any], phase: Phase = Phase.INSTANTIATE, ssm: object = None, policy: object = None) -> Plan:
    document = {"layers": list(layers)} | ({"policy": policy} if policy else {})
    manifest = check_manifest(json.dumps(document), FILE, "shop", phase, MODULES)
    return plan(manifest, FILE, phase, MODULES, Resolver(lambda account, name: ssm, "us-west-2"), OWN, 3600)


def test_layers_and_resources_are_ready_to_be_stored() -> None:
    own_policy = {"onFailure": "continue", "maxFailures": 3}
    made = planned(
        {"layer": 2, "resources": [service("b"), service("a", AccountId=123456789012, maxLagSeconds=5)]},
        {"layer": 117, "resources": [service("c", maxLagSeconds=0, timeout=5, maxAttempts=7, bestEffort=True)], "policy": own_policy},
        policy={"onFailure": "failFast"},
    )
    assert [(one.number, one.status, one.epoch, one.total, one.policy, one.max_failures) for one in made.layers] == [
        (2, LayerStatus.PENDING, 0, 2, "failFast", 0),
        (117, LayerStatus.PENDING, 0, 1, "continue", 3),
    ]
    assert [(one.id, one.layer, one.name, one.account) for one in made.resources] == [
        ("0002-001", 2, "b", OWN),
        ("0002-002", 2, "a", "123456789012"),
        ("0117-001", 117, "c", OWN),
    ]
    assert [one.max_lag_seconds for one in made.resources] == [60, 5, 0]
    first, _, last = made.resources
    assert (first.module, first.status, first.attempt, first.check_no, first.spent) == ("ECS", ResourceStatus.PENDING, 0, 0, 0)
    assert (first.timeout_seconds, first.max_attempts, first.lease_seconds, first.best_effort) == (600, 3, 99, False)
    assert (last.timeout_seconds, last.max_attempts, last.best_effort) == (5, 7, True)
    assert first.parameters == '{"ClusterName":"prod","DesiredSize":4}'


def test_the_module_says_how_long_and_how_often_in_each_phase() -> None:
    (made,) = planned({"layer": 1, "resources": [service()]}, phase=Phase.CLEANUP).resources
    assert (made.timeout_seconds, made.max_attempts) == (700, 1)


def test_each_resource_knows_how_many_are_looked_at_beside_it() -> None:
    """Those of its layer, module and account."""
    there = {**sized(3), "AccountId": "123456789012"}
    made = planned({"layer": 1, "resources": [sized(1), sized(2), there]}, {"layer": 2, "resources": [sized(1)]})
    assert [one.peers for one in made.resources] == [2, 2, 1, 1]


@given(st.lists(st.tuples(st.integers(1, 9999), st.integers(1, 12)), min_size=1, max_size=4, unique_by=lambda pair: pair[0]))
def test_ids_sort_as_the_layers_run(shape: list[tuple[int, int]]) -> None:
    layers = [{"layer": number, "resources": [sized(at) for at in range(total)]} for number, total in sorted(shape)]
    ids = [one.id for one in planned(*layers).resources]
    assert ids == sorted(set(ids))


def test_references_are_resolved_and_secure_strings_stay() -> None:
    tags = [{"Key": "a", "Value": "resolve:ssm:/secret"}]
    resource = service(parameters={"ClusterName": "resolve:ssm:/cluster", "DesiredSize": "resolve:ssm:/size", "Tags": tags})
    ssm = Ssm(cluster=("String", "prod"), size=("String", "4"), secret=("SecureString", "ciphertext"))
    (made,) = planned({"layer": 1, "resources": [resource]}, ssm=ssm).resources
    assert json.loads(made.parameters) == {"ClusterName": "prod", "DesiredSize": "4", "Tags": tags}


def test_what_references_stand_for_is_validated_strictly_and_not_shown() -> None:
    resources = [
        service(parameters={"ClusterName": "prod", "DesiredSize": "resolve:ssm:/size"}),
        service("web", parameters=[{"ClusterName": "resolve:ssm:/list", "DesiredSize": 1}]),
        service("ok", parameters={"ClusterName": "resolve:ssm:/secret", "DesiredSize": "resolve:ssm:/secret"}),
    ]
    ssm = Ssm(size=("String", "hunter2"), list=("StringList", "a,b"), secret=("SecureString", "ciphertext"))
    with pytest.raises(InvalidInputError) as caught:
        planned({"layer": 3, "resources": resources}, ssm=ssm)
    assert [(one.layer, one.resource, one.key, one.message, one.remedy) for one in caught.value.problems] == [
        ("3", "api", "parameters.DesiredSize", "must be a whole number", "how many shall run; the value comes from resolve:ssm:/size"),
        ("3", "web", "parameters.0.ClusterName", "must be a string", f"{ONE_STRING}; the value comes from resolve:ssm:/list"),
    ]
    assert "hunter2" not in str(caught.value)


def test_several_values_come_from_a_string_list_and_not_from_a_string() -> None:
    ssm = Ssm(list=("StringList", "a,b"), text=("String", "a,b"))
    layer = {"layer": 1, "resources": [record(RecordValue="resolve:ssm:/list")]}
    (made,) = planned(layer, phase=Phase.ACTIVATE, ssm=ssm).resources
    assert json.loads(made.parameters)["RecordValue"] == ["a", "b"]
    layer = {"layer": 1, "resources": [record(RecordValue="resolve:ssm:/text")]}
    with pytest.raises(InvalidInputError, match=r"several values in one string .*; the value comes from resolve:ssm:/text"):
        planned(layer, phase=Phase.ACTIVATE, ssm=ssm)
    layer = {"layer": 1, "resources": [record(RecordValue=["resolve:ssm:/text"])]}
    assert planned(layer, phase=Phase.ACTIVATE, ssm=ssm).resources


def test_parameters_may_become_too_large() -> None:
    resource = service(
        parameters={"ClusterName": "prod", "DesiredSize": 1, "Tags": [{"Key": str(n), "Value": "resolve:ssm:/x"} for n in range(10)]}
    )
    with pytest.raises(InvalidInputError, match="too large once the references are resolved"):
        planned({"layer": 1, "resources": [resource]}, ssm=Ssm(x=("String", "x" * 4096)))


def test_references_that_do_not_resolve_are_reported_with_all_else() -> None:
    class Empty:
        def get_parameter(self, Name: str) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "ParameterNotFound"}}, "GetParameter")

    bad = {"ClusterName": "resolve:ssm:/a", "DesiredSize": "resolve:ssm:/b"}
    with pytest.raises(InvalidInputError) as caught:
        planned({"layer": 1, "resources": [service(parameters=bad), service("web", parameters=[{**bad, "Tags": []}])]}, ssm=Empty())
    assert [(one.resource, one.key) for one in caught.value.problems] == [
        ("api", "parameters.ClusterName"),
        ("api", "parameters.DesiredSize"),
        ("web", "parameters.0.ClusterName"),
        ("web", "parameters.0.DesiredSize"),
    ]
    assert all(f"in account {OWN} and us-west-2" in one.message for one in caught.value.problems)


# --- Anything at all

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | st.sampled_from(["!Import A", "Yes"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(["Key", "Value", "x"]), children, max_size=3),
    max_leaves=8,
)
PARAMETERS = st.dictionaries(
    st.sampled_from([*(f.alias or "" for model in (ServiceParameters, RecordParameters) for f in model.model_fields.values()), "Aias"]),
    VALUES,
)


@given(st.sampled_from([*MODULES, "Kafka"]), PARAMETERS | st.lists(PARAMETERS, max_size=2), st.sampled_from(Phase))
def test_any_parameters_are_accepted_or_refused(action: str, parameters: object, phase: Phase) -> None:
    try:
        check({"action": action, "resourceName": "x", "parameters": parameters}, phase=phase)
    except InvalidInputError as error:
        assert error.problems
