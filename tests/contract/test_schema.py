"""The JSON Schema of manifests: up to date, a proper schema, and of one mind with the code on what is a manifest."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from dr_core.errors import InvalidInputError
from dr_core.phases import Phase
from dr_engine.plan import check_manifest
from dr_engine.schema import schema
from dr_modules.base import modules

MANIFESTS = Path(__file__).parents[2] / "manifests"

# The specification's complete manifests and the example of its references, word for word but for spaces.
INSTANTIATE = json.loads("""
[
  {"layer": 1, "resources": [
    {"action": "AuroraMySQL", "resourceName": "database-tier", "parameters": {
      "DBClusterIdentifier": "aurora-prod", "DBInstanceIdentifier": ["aurora-prod-reader-1"],
      "GlobalClusterIdentifier": "global-aurora", "AccountId": "123456789012"}}]},
  {"layer": 2, "resources": [
    {"action": "ECS", "resourceName": "application-tier", "parameters": [
      {"EcsClusterName": "prod-cluster", "EcsServiceName": "api-service", "EcsDesiredSize": 4},
      {"EcsClusterName": "prod-cluster", "EcsServiceName": "web-service", "EcsDesiredSize": 2}], "AccountId": "123456789012"},
    {"action": "AutoScaling", "resourceName": "worker-tier", "parameters": {
      "Autoscalinggroupnames": ["worker-asg"], "DesiredCount": 3}, "AccountId": "123456789012"}]}
]
""")
ACTIVATE = json.loads("""
[
  {"layer": 1, "resources": [
    {"action": "AuroraMySQL", "resourceName": "database-failover", "parameters": {
      "DBClusterIdentifier": "aurora-prod", "GlobalClusterIdentifier": "global-aurora", "AccountId": "123456789012"}}]},
  {"layer": 2, "resources": [
    {"action": "R53Record", "resourceName": "dns-update", "parameters": [
      {"HostedZoneId": "/hostedzone/Z123", "R53RecordName": "api.example.com", "RecordType": "A", "Alias": "Yes",
       "RecordValue": "dr-alb"}], "AccountId": "123456789012"},
    {"action": "EventBridge", "resourceName": "enable-jobs", "parameters": [
      {"EventRuleName": "daily-report", "BusName": "default"}], "AccountId": "123456789012"}]}
]
""")
REFERENCES = json.loads("""
[{"layer": 1, "resources": [
  {"action": "ECS", "resourceName": "api-service", "parameters": {
    "EcsClusterName": "!Import ProductionClusterName", "EcsServiceName": "resolve:ssm:/prod/api-service-name", "EcsDesiredSize": 4}}]}]
""")

VALIDATOR = Draft202012Validator(schema(modules()))


def is_manifest(document: object, phase: Phase) -> bool:
    """What the code says."""
    try:
        check_manifest(json.dumps(document), "f", None, phase, modules())
    except InvalidInputError:
        return False
    return True


def test_the_file_is_up_to_date() -> None:
    assert json.loads((MANIFESTS / "schema.json").read_text()) == schema(modules()), "make schema"


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize(
    ("document", "phase"), [(INSTANTIATE, Phase.INSTANTIATE), (ACTIVATE, Phase.ACTIVATE), (REFERENCES, Phase.INSTANTIATE)]
)
def test_the_specifications_manifests_are_manifests(document: object, phase: Phase) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    assert is_manifest(document, phase)


@pytest.mark.parametrize("file", sorted(one for phase in Phase for one in MANIFESTS.glob(f"*/{phase.file_name}")), ids=str)
def test_the_sample_manifests_are_manifests(file: Path) -> None:
    document = json.loads(file.read_text())
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    assert is_manifest(document, Phase(file.stem.upper()))


def changed(document: list[Any], path: tuple[str | int, ...], value: object) -> object:
    made = copy.deepcopy(document)
    at: Any = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return made


AURORA = (0, "resources", 0)
ECS = (1, "resources", 0)


@pytest.mark.parametrize(
    ("path", "value", "verdict"),
    [
        ((*ECS, "parameters", 0, "EcsDesiredSize"), "4", True),
        ((*ECS, "parameters", 0, "EcsDesiredSize"), "!Import Size", True),
        ((*ECS, "AccountId"), 123456789012, True),
        ((*ECS, "bestEffort"), True, True),
        ((*ECS, "timeout"), 60, True),
        ((*AURORA, "parameters", "DBInstanceIdentifier"), "aurora-prod-reader-1", True),
        ((*AURORA, "parameters", "DBInstanceIdentifier"), ["!Import Reader"], True),
        ((*AURORA, "parameters", "Force"), "Yes", True),
        ((1, "policy"), {"onFailure": "continue", "maxFailures": 1}, True),
        ((*ECS, "parameters", 0, "EcsDesiredSiz"), 4, False),
        ((*ECS, "parameters", 0, "EcsDesiredSize"), [4], False),
        ((*ECS, "parameters"), [], False),
        ((*ECS, "parameters"), "x", False),
        ((*ECS, "action"), "EcsService", False),
        ((*ECS, "resourceType"), "ECS", False),
        ((*ECS, "AccountId"), "12", False),
        ((*ECS, "timeout"), 0, False),
        ((*ECS, "maxAttempts"), 11, False),
        ((0, "layer"), 0, False),
        ((0, "policy"), "drain", False),
        ((1, "resources"), [], False),
    ],
)
def test_schema_and_code_agree(path: tuple[str | int, ...], value: object, verdict: bool) -> None:
    document = changed(INSTANTIATE, path, value)
    assert VALIDATOR.is_valid(document) is verdict
    assert is_manifest(document, Phase.INSTANTIATE) is verdict
    around = {"$schema": "../schema.json", "application": "shop", "phase": "INSTANTIATE", "layers": document}
    assert VALIDATOR.is_valid(around) is verdict
    assert is_manifest(around, Phase.INSTANTIATE) is verdict
