"""Manifests as they are found in the wild, against the real modules: accepted, and meaning this, or refused, with this remedy."""

import json
from typing import Any

import pytest

from dr_core.errors import InvalidInputError, Problem
from dr_core.manifest import Manifest
from dr_core.phases import Phase
from dr_engine.plan import check_manifest
from dr_modules.base import modules

FILE = "shop/Instantiate.json"
ACCOUNT = "123456789012"
OTHER = "210987654321"
SERVICE = {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 4}
WEB = {"EcsClusterName": "prod", "EcsServiceName": "web", "EcsDesiredSize": 2}
DNS = {"HostedZoneId": "Z1", "R53RecordName": "api.example.com", "RecordType": "CNAME", "RecordValue": "alb.example.com"}
GROUPS = {"Autoscalinggroupnames": ["workers"], "DesiredCount": 3}
REFERENCE = 'write "!Import Name" for an export, "resolve:ssm:/path" for an SSM parameter'
WHOLE = '[{"layer": 1, "resources": [{"action": ..., "resourceName": ..., "parameters": ...}]}]'


def ecs(parameters: object = SERVICE, **changes: Any) -> dict[str, Any]:
    """A resource; a change to None leaves the key out."""
    made = {"action": "ECS", "resourceName": "api", "parameters": parameters} | changes
    return {key: value for key, value in made.items() if value is not None}


def dns(**changes: Any) -> dict[str, Any]:
    return {
        "action": "R53Record",
        "resourceName": "dns",
        "parameters": {key: one for key, one in (DNS | changes).items() if one is not None},
    }


def groups(**changes: Any) -> dict[str, Any]:
    return {"action": "AutoScaling", "resourceName": "workers", "parameters": GROUPS | changes}


def one(*resources: object) -> list[Any]:
    """A manifest of one layer."""
    return [{"layer": 1, "resources": list(resources)}]


def check(document: object, phase: Phase | None = None) -> Manifest:
    """The manifest; bytes and text as they are, anything else as JSON. The phase is one that its first module has."""
    text = document if isinstance(document, bytes | str) else json.dumps(document)
    wanted = phase or (Phase.ACTIVATE if "R53Record" in str(document) else Phase.INSTANTIATE)
    return check_manifest(text, FILE, "shop", wanted, modules())


def problems(document: object, phase: Phase | None = None) -> list[Problem]:
    with pytest.raises(InvalidInputError) as caught:
        check(document, phase)
    assert all(problem.file == FILE and problem.remedy for problem in caught.value.problems)
    return caught.value.problems


def meaning(document: object, key: str) -> Any:
    """What the module makes of that parameter of the first target."""
    (resource,) = check(document).layers[0].resources
    module = modules()[resource.action]
    (name,) = (name for name, field in module.parameters_model.model_fields.items() if field.alias == key)
    return getattr(module.parse(resource.parameters)[0], name)


# --- Accepted: what each form means


@pytest.mark.parametrize(
    ("resource", "key", "meant"),
    [
        (ecs(SERVICE | {"EcsDesiredSize": "4"}), "EcsDesiredSize", 4),
        (ecs(SERVICE | {"EcsDesiredSize": " 4 "}), "EcsDesiredSize", 4),
        (ecs(SERVICE | {"EcsDesiredSize": 4.0}), "EcsDesiredSize", 4),
        (ecs(SERVICE | {"EcsServiceName": " api "}), "EcsServiceName", "api"),
        (ecs(SERVICE | {"EcsServiceName": 7}), "EcsServiceName", "7"),
        (ecs([SERVICE]), "EcsDesiredSize", 4),
        *((dns(Alias=word, RecordType="A"), "Alias", True) for word in ("Yes", "yes", "True", "true", "Y", "on", "1", 1, True)),
        *((dns(Alias=word), "Alias", False) for word in ("No", "no", "False", "false", "n", "off", "0", 0, False)),
        (dns(HostedZoneId="/hostedzone/Z1"), "HostedZoneId", "Z1"),
        (dns(HostedZoneId="Z1"), "HostedZoneId", "Z1"),
        (dns(RecordValue="a.example"), "RecordValue", ("a.example",)),
        (dns(RecordValue=["a.example", "b.example"]), "RecordValue", ("a.example", "b.example")),
        (dns(RecordValue=["v=DMARC1; rua=mailto:a@x,mailto:b@x"]), "RecordValue", ("v=DMARC1; rua=mailto:a@x,mailto:b@x",)),
        (dns(TTL="300"), "TTL", 300),
        (groups(Autoscalinggroupnames="workers"), "Autoscalinggroupnames", ("workers",)),
    ],
)
def test_a_value_in_any_of_its_spellings_means_the_same(resource: dict[str, Any], key: str, meant: object) -> None:
    value = meaning(one(resource), key)
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(
    ("resource", "account"),
    [
        (ecs(), None),
        (ecs(AccountId=ACCOUNT), ACCOUNT),
        (ecs(AccountId=int(ACCOUNT)), ACCOUNT),
        (ecs(SERVICE | {"AccountId": ACCOUNT}), ACCOUNT),
        (ecs(SERVICE | {"AccountId": int(ACCOUNT)}, AccountId=ACCOUNT), ACCOUNT),
        (ecs([SERVICE | {"AccountId": ACCOUNT}, WEB | {"AccountId": f" {ACCOUNT} "}]), ACCOUNT),
        (ecs([SERVICE | {"AccountId": ACCOUNT}, WEB], AccountId=ACCOUNT), ACCOUNT),
    ],
    ids=["absent", "beside", "a number beside", "inside", "both, equal", "in each of a list", "in one of a list and beside"],
)
def test_the_account_of_a_resource(resource: dict[str, Any], account: str | None) -> None:
    (made,) = check(one(resource)).layers[0].resources
    assert made.account == account
    assert "AccountId" not in str(made.parameters)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(one(ecs())),
        json.dumps({"layers": one(ecs())}),
        json.dumps({"$schema": "../schema.json", "application": " shop ", "phase": "instantiate", "layers": one(ecs())}),
        json.dumps([{"layer": "1", "resources": [ecs()]}, {"layer": " 2 ", "resources": [ecs()]}]),
        json.dumps([{"layer": 10, "resources": [ecs()]}, {"layer": 500, "resources": [ecs()]}]),
        b"\xef\xbb\xbf" + json.dumps(one(ecs())).encode(),
        json.dumps(one(ecs()), indent=2).replace("\n", "\r\n"),
        json.dumps(one(ecs(resourceName="Käse\N{EM DASH}日本"))).encode(),
    ],
    ids=["array", "object", "all keys", "numbers as strings", "gaps", "byte order mark", "CRLF", "any script"],
)
def test_a_manifest_in_any_of_its_forms(text: bytes | str) -> None:
    assert check(text).layers[0].resources[0].action == "ECS"


# --- Refused: one problem, at its place, with its remedy


@pytest.mark.parametrize(
    ("document", "key", "message", "remedy"),
    [
        # a part, or something else, in place of the whole
        (ecs(), "", "these are resources, and a manifest is an array of layers", f"put them into a layer: {WHOLE}"),
        ([ecs()], "", "these are resources, and a manifest is an array of layers", f"put them into a layer: {WHOLE}"),
        ([{"Action": "ECS"}], "", "these are resources, and a manifest is an array of layers", f"put them into a layer: {WHOLE}"),
        (one(ecs())[0], "", "this is one layer, and a manifest is an array of layers", f"put it into an array: {WHOLE}"),
        (
            {"1": one(ecs())[0]},
            "",
            "the layers stand in an object, and a manifest is an array of layers",
            f"put them into an array: {WHOLE}",
        ),
        ({"manifest": one(ecs())}, "manifest", "the manifest stands inside another object", "leave out what is around it"),
        ({"v": 1, "input": {"layers": one(ecs())}}, "input", "the manifest stands inside another object", "leave out what is around it"),
        (
            {"Instantiate": one(ecs()), "Activate": []},
            "",
            "manifests of several phases in one file",
            "a file for each: Instantiate.json, Activate.json, Cleanup.json, Replicate.json",
        ),
        (
            {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {}},
            "",
            "this is a CloudFormation template",
            f"a manifest is an array of layers: {WHOLE}",
        ),
        (
            {"Resources": {"A": {"Type": "AWS::ECS::Service"}}},
            "",
            "this is a CloudFormation template",
            f"a manifest is an array of layers: {WHOLE}",
        ),
        ({"StartAt": "A", "States": {}}, "", "this is a state machine", f"a manifest is an array of layers: {WHOLE}"),
        (
            {"application": "shop", "phase": "INSTANTIATE", "sourceRegion": "us-east-1", "targetRegion": "us-west-2"},
            "",
            "this is a request for an execution",
            f"a manifest is an array of layers: {WHOLE}",
        ),
        ({"application": "shop", "regions": {}}, "", "this is an application's registration", "call the file application.json"),
        ([], "", "needs at least 1 of them", 'objects with "layer" and "resources"'),
        ([one(ecs())], "0", "must be an object", 'objects with "layer" and "resources"'),
        ({}, "layers", "this key is missing", 'objects with "layer" and "resources"'),
        ("null", "", "a manifest is an array of layers", WHOLE),
        (json.dumps(json.dumps(one(ecs()))), "", "a manifest is an array of layers", WHOLE),
        # another phase or application
        (
            {"application": "store", "layers": one(ecs())},
            "application",
            "the manifest is of store, and is used for shop",
            "use the application's own",
        ),
        (
            {"phase": "Cleanup", "layers": one(ecs())},
            "phase",
            "the manifest is for CLEANUP, and is used for INSTANTIATE",
            "use the phase's own",
        ),
        # layers
        (one(ecs()) * 2, "layer", "there are two layers 1", "join them, or renumber one"),
        (
            [{"layer": 2, "resources": [ecs()]}, {"layer": "1", "resources": [ecs()]}],
            "layer",
            "layer 1 stands after layer 2, but would run before it",
            "put the layers in the order of their numbers, or renumber them",
        ),
        (
            [{"layer": True, "resources": [ecs()]}],
            "0.layer",
            "must be a whole number",
            "layers run in the order of their numbers, from 1 to 9999",
        ),
        (
            [{"layer": "one", "resources": [ecs()]}],
            "0.layer",
            "must be a whole number",
            "layers run in the order of their numbers, from 1 to 9999",
        ),
        ([{"layers": 1, "resources": [ecs()]}], "0.layers", "unknown key", "did you mean layer?"),
        (
            [{"layer": 1, "resources": ecs()}],
            "resources",
            "must be an array",
            'objects with "action", "resourceName" and "parameters"; they run in parallel',
        ),
        (
            [{"layer": 1, "resources": [ecs()], "AccountId": ACCOUNT}],
            "AccountId",
            "unknown key",
            "put AccountId into each resource that it is meant for",
        ),
        # the same resource twice
        (
            one(ecs(), ecs(WEB)),
            "resourceName",
            "two resources of this layer are called api",
            "rename one, or remove it if it is the same",
        ),
        (
            one(ecs(), ecs(dict(reversed(SERVICE.items())), resourceName="again")),
            "parameters",
            "the same target as in resource api, which runs at the same time",
            "keep one, or move one to a later layer",
        ),
        (one(ecs([SERVICE, WEB, SERVICE])), "parameters.2", "this target stands twice", "keep one"),
        # modules
        (one(ecs(action=None, resourceType="ECS")), "resourceType", "unknown key", "did you mean action?"),
        (one(ecs(action="EcsService")), "action", "there is no module EcsService", "did you mean ECS?"),
        (one(ecs(action="ecs")), "action", "there is no module ecs", "did you mean ECS?"),
        (one(ecs(action="Route53")), "action", "there is no module Route53", "did you mean R53Record?"),
        (one(ecs(action="Lambda")), "action", "there is no module Lambda", "did you mean LambdaFunction?"),
        (one(ecs(action="AutoScalingGroup")), "action", "there is no module AutoScalingGroup", "did you mean AutoScaling?"),
        (one(ecs(action="ASG")), "action", "there is no module ASG", "did you mean AutoScaling?"),
        (one(ecs(action="Kafka")), "action", "there is no module Kafka", f"known here: {', '.join(modules())}"),
        (one(ecs(action=["ECS"])), "action", "must be a string", "the module, such as ECS"),
        # keys
        (one(dns(Aias="Yes")), "parameters.Aias", "unknown key", "did you mean Alias?"),
        (
            one(ecs({"ecsclustername": "prod", "EcsServiceName": "api", "EcsDesiredSize": 1})),
            "parameters.ecsclustername",
            "unknown key",
            "did you mean EcsClusterName?",
        ),
        (
            one(ecs({"EcsClusterName": "prod", "Ecs_Service_Name": "api", "EcsDesiredSize": 1})),
            "parameters.Ecs_Service_Name",
            "unknown key",
            "did you mean EcsServiceName?",
        ),
        (one(ecs(Parameters=SERVICE, parameters=None)), "Parameters", "unknown key", "did you mean parameters?"),
        (one(ecs(resourceName=None) | {"resource_name": "api"}), "resources.0.resource_name", "unknown key", "did you mean resourceName?"),
        (
            one(ecs(SERVICE | {"resourceName": "api"})),
            "parameters.resourceName",
            "unknown key",
            'put resourceName beside "parameters", not into them',
        ),
        # values
        (
            one(ecs(SERVICE | {"EcsDesiredSize": True})),
            "parameters.EcsDesiredSize",
            "must be a whole number",
            "write it in digits, such as 4",
        ),
        (
            one(groups(Autoscalinggroupnames="a, b")),
            "parameters.Autoscalinggroupnames",
            "several values in one string",
            'write an array: ["...", "..."], or refer to a StringList; one value that has a comma itself stands in an array, too',
        ),
        # the account
        (
            one(ecs(AccountId=12345678901)),
            "AccountId",
            "must be 12 digits",
            "in quotes, since a number loses its leading zeros; no dashes; no reference, which is resolved in that account",
        ),
        (
            one(ecs(AccountId="1234-5678-9012")),
            "AccountId",
            "must be 12 digits",
            "in quotes, since a number loses its leading zeros; no dashes; no reference, which is resolved in that account",
        ),
        (one(ecs(SERVICE | {"accountId": ACCOUNT})), "parameters.accountId", "unknown key", "did you mean AccountId?"),
        (
            one(ecs(SERVICE | {"AccountId": ACCOUNT}, AccountId=OTHER)),
            "AccountId",
            f"differs from the AccountId {ACCOUNT} inside parameters",
            "keep the right one",
        ),
        (
            one(ecs([SERVICE | {"AccountId": ACCOUNT}, WEB | {"AccountId": OTHER}])),
            "parameters",
            f"several accounts: {ACCOUNT}, {OTHER}",
            "split into several resources, one for each account",
        ),
        (
            one(ecs([SERVICE | {"AccountId": ACCOUNT}, WEB])),
            "parameters",
            "only some of the targets have an AccountId",
            "put it beside parameters, or split into several resources, one for each account",
        ),
    ],
)
def test_an_awkward_form_is_one_problem_with_its_remedy(document: object, key: str, message: str, remedy: str) -> None:
    assert [(problem.key, problem.message, problem.remedy) for problem in problems(document)] == [(key, message, remedy)]


@pytest.mark.parametrize(
    ("parameters", "key", "remedy"),
    [
        ({"EcsClusterName": ["a", "b"]}, "EcsClusterName", 'write one string; for several targets make "parameters" an array of objects'),
        ({"EcsClusterName": {"Fn::ImportValue": "Cluster"}}, "EcsClusterName", REFERENCE),
        ({"EcsDesiredSize": {"Ref": "Size"}}, "EcsDesiredSize", REFERENCE),
    ],
)
def test_a_value_of_another_kind_is_refused_with_what_to_write(parameters: dict[str, Any], key: str, remedy: str) -> None:
    (problem,) = problems(one(ecs(SERVICE | parameters)))
    assert (problem.key, problem.remedy) == (f"parameters.{key}", remedy)


@pytest.mark.parametrize(
    ("action", "phase", "has"),
    [
        ("ECS", Phase.ACTIVATE, "INSTANTIATE, CLEANUP"),
        ("R53Record", Phase.CLEANUP, "ACTIVATE"),
        ("EventBridge", Phase.REPLICATE, "ACTIVATE, CLEANUP"),
    ],
)
def test_a_module_without_the_phase_names_those_that_it_has(action: str, phase: Phase, has: str) -> None:
    (problem,) = problems(one(ecs(action=action)), phase)
    assert (problem.key, problem.message, problem.remedy) == ("action", f"{action} does nothing in {phase}", f"it has {has}")


@pytest.mark.failure("A manifest that is wrong")
def test_all_problems_of_a_file_are_told_at_once_each_with_its_place() -> None:
    document = {
        "application": "store",
        "layers": [
            {
                "layer": 2,
                "resources": [ecs(SERVICE | {"AccountId": ACCOUNT}, AccountId=OTHER), ecs(action="EcsService", resourceName="web")],
            },
            {"layer": "1", "resources": [ecs({"EcsClustername": "prod", "EcsDesiredSize": "many"}), dns(), ecs(WEB, resourceType="ECS")]},
        ],
    }
    assert [(each.layer, each.resource, each.key) for each in problems(document, Phase.INSTANTIATE)] == [
        ("1", "", "layer"),
        ("1", "api", "resourceName"),
        ("", "", "application"),
        ("2", "api", "AccountId"),
        ("1", "api", "resourceType"),
        ("2", "web", "action"),
        ("1", "api", "parameters.EcsServiceName"),
        ("1", "api", "parameters.EcsDesiredSize"),
        ("1", "api", "parameters.EcsClustername"),
        ("1", "dns", "action"),
    ]


@pytest.mark.parametrize("action", modules())
@pytest.mark.parametrize("value", [None, True, -1, "", "x" * 5_000, [], [[]], {}, ["a", 1, None], {"Ref": "X"}], ids=repr)
def test_no_parameter_of_any_module_is_refused_without_a_remedy(action: str, value: object) -> None:
    module = modules()[action]
    for phase in module.phases():
        for field in module.parameters_model.model_fields.values():
            try:
                check(one(ecs({field.alias: value}, action=action)), phase)
            except InvalidInputError as error:
                # What is wrong with several keys together says itself what would be right.
                assert [str(each) for each in error.problems if not each.remedy and each.key != "parameters"] == []
