"""Manifests as people write them: what is accepted in which spelling, and what is refused with which remedy."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_core.errors import InvalidInputError, Problem
from dr_core.findings import did_you_mean
from dr_core.manifest import Manifest, parse_manifest
from dr_core.phases import Phase

FILE = "shop/Instantiate.json"


def service(name: str = "api", **changes: Any) -> dict[str, Any]:
    """A resource as the specification writes one; a change to None leaves the key out."""
    made = {"action": "ECS", "resourceName": name, "parameters": {"EcsClusterName": "prod", "EcsServiceName": name}} | changes
    return {key: value for key, value in made.items() if value is not None}


def layer(number: object, *resources: object, **changes: Any) -> dict[str, Any]:
    return {"layer": number, "resources": list(resources) or [service()]} | changes


def parse(document: object, application: str | None = "shop", phase: Phase | None = Phase.INSTANTIATE) -> Manifest:
    text = document if isinstance(document, bytes | str) else json.dumps(document)
    return parse_manifest(text, FILE, application, phase)


def problems(document: object, application: str | None = "shop", phase: Phase | None = Phase.INSTANTIATE) -> list[Problem]:
    with pytest.raises(InvalidInputError) as caught:
        parse(document, application, phase)
    return caught.value.problems


def the_problem(document: object) -> Problem:
    """The only problem of the document."""
    (problem,) = problems(document)
    assert problem.file == FILE
    return problem


# --- What is accepted


def test_the_bare_array_and_the_object_are_the_same_manifest() -> None:
    layers = [layer(1), layer(5)]
    bare = parse(layers)
    assert [one.number for one in bare.layers] == [1, 5]
    assert parse({"$schema": "../schema.json", "application": "shop", "phase": "Instantiate", "layers": layers}).layers == bare.layers


def test_the_manifests_policy_is_the_default_of_the_layers() -> None:
    own = {"onFailure": "continue", "maxFailures": 2}
    manifest = parse({"policy": {"onFailure": "failFast"}, "layers": [layer(1), layer(2, policy=own)]})
    assert manifest.policy.on_failure == "failFast"
    assert manifest.layers[0].policy is None
    assert manifest.layers[1].policy is not None
    assert (manifest.layers[1].policy.on_failure, manifest.layers[1].policy.max_failures) == ("continue", 2)


def test_what_a_resource_may_say_beside_its_parameters() -> None:
    (made,) = parse([layer(1, service(timeout=60, maxAttempts="2", bestEffort="yes", maxLagSeconds="0"))]).layers[0].resources
    assert (made.timeout, made.max_attempts, made.best_effort, made.max_lag_seconds) == (60, 2, True, 0)


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", "\ufeff"], ids=["bytes", "text"])
def test_a_byte_order_mark_is_tolerated(prefix: bytes | str) -> None:
    text = json.dumps([layer(1)])
    assert parse(prefix + text.encode() if isinstance(prefix, bytes) else prefix + text).layers


# --- AccountId


INSIDE = {"EcsClusterName": "c", "EcsServiceName": "s", "AccountId": "123456789012"}
OUTSIDE = {"EcsClusterName": "c", "EcsServiceName": "s"}


@pytest.mark.parametrize(
    ("parameters", "beside"),
    [
        (INSIDE, None),
        (OUTSIDE, "123456789012"),
        (OUTSIDE, 123456789012),
        (INSIDE, 123456789012),
        ({**OUTSIDE, "AccountId": 123456789012}, "123456789012"),
        ([INSIDE, {**INSIDE, "EcsServiceName": "t"}], None),
        ([INSIDE, {**OUTSIDE, "EcsServiceName": "t"}], "123456789012"),
    ],
    ids=["inside", "beside", "number", "both", "both, a number inside", "in each of a list", "in some and beside"],
)
def test_the_account_may_stand_inside_or_beside(parameters: object, beside: object) -> None:
    (made,) = parse([layer(1, service(parameters=parameters, AccountId=beside))]).layers[0].resources
    assert made.account == "123456789012"
    assert made.parameters == ([OUTSIDE, {**OUTSIDE, "EcsServiceName": "t"}] if isinstance(parameters, list) else OUTSIDE)


def test_the_account_may_stand_nowhere() -> None:
    assert parse([layer(1)]).layers[0].resources[0].account is None


OTHER = {**OUTSIDE, "AccountId": "210987654321"}


@pytest.mark.parametrize(
    ("parameters", "beside", "key", "message", "remedy"),
    [
        (INSIDE, "210987654321", "AccountId", "differs from the AccountId 123456789012 inside", "keep the right one"),
        ([INSIDE, OTHER], None, "parameters", "several accounts: 123456789012, 210987654321", "split into several resources"),
        ([INSIDE, OUTSIDE], None, "parameters", "only some of the targets", "beside parameters"),
        (OUTSIDE, 12345678901, "AccountId", "must be 12 digits", "leading zeros"),
        (OUTSIDE, True, "AccountId", "must be 12 digits", "in quotes"),
        ([OUTSIDE, {**OUTSIDE, "AccountId": "12"}], "123456789012", "parameters.1.AccountId", "must be 12 digits", "in quotes"),
        ({**OUTSIDE, "AccountId": "!Import Account"}, None, "parameters.AccountId", "must be 12 digits", "no reference"),
    ],
)
def test_an_account_that_is_not_clear_is_refused(parameters: object, beside: object, key: str, message: str, remedy: str) -> None:
    problem = the_problem([layer(1, service(parameters=parameters, AccountId=beside))])
    assert (problem.layer, problem.resource, problem.key) == ("1", "api", key)
    assert message in problem.message
    assert remedy in problem.remedy


# --- Parts in place of a whole


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (service(), "these are resources"),
        ([service(), service("web")], "these are resources"),
        ({"resourceType": "ECS", "resourceName": "api", "parameters": {}}, "these are resources"),
        (layer(1), "this is one layer"),
        ("5", "a manifest is an array of layers"),
        ("null", "a manifest is an array of layers"),
    ],
)
def test_a_part_of_a_manifest_is_refused_with_the_whole_as_remedy(document: object, message: str) -> None:
    problem = the_problem(document)
    assert message in problem.message
    assert '[{"layer": 1' in problem.remedy


@pytest.mark.parametrize("document", [[], {"layers": []}, [layer(1) | {"resources": []}]])
def test_nothing_to_do_is_refused(document: object) -> None:
    assert the_problem(document).message == "needs at least 1 of them"


# --- Keys and values


BESIDE = (
    'put what the module needs into "parameters"; known here: action, resourceName, parameters, AccountId, timeout, maxAttempts, '
    "maxLagSeconds, bestEffort"
)


@pytest.mark.parametrize(
    ("document", "layer_number", "resource", "key", "remedy"),
    [
        ([layer(1, service(action=None, resourceType="ECS"))], "1", "api", "resourceType", "did you mean action?"),
        ([layer(1, service(resourceName=None) | {"name": "api"})], "1", "", "resources.0.name", "did you mean resourceName?"),
        ([layer(1, service(parameters=None, Parameter={}))], "1", "api", "Parameter", "did you mean parameters?"),
        ([layer(1, service(maxattempts=1))], "1", "api", "maxattempts", "did you mean maxAttempts?"),
        ([layer(1, accountid=1)], "1", "", "accountid", "put AccountId into each resource that it is meant for"),
        ([layer(1, failfast=True)], "1", "", "failfast", "known here: layer, resources, policy, approval"),
        ([layer(1, maxfailures=2)], "1", "", "maxfailures", 'put maxFailures into "policy": {...}'),
        ([layer(1, onFailure="drain")], "1", "", "onFailure", 'put onFailure into "policy": {...}'),
        ([layer(1, service(EcsDesiredSize=4))], "1", "api", "EcsDesiredSize", BESIDE),
        ([layer(1, approve=True)], "1", "", "approve", "did you mean approval?"),
        ({"layers": [layer(1)], "polcy": {}}, "", "", "polcy", "did you mean policy?"),
        ([{"Layer": 1, "resources": [service()]}], "", "", "0.Layer", "did you mean layer?"),
    ],
)
def test_a_misspelt_key_is_one_problem_that_names_the_right_key(
    document: object, layer_number: str, resource: str, key: str, remedy: str
) -> None:
    problem = the_problem(document)
    assert (problem.layer, problem.resource, problem.key) == (layer_number, resource, key)
    assert (problem.message, problem.remedy) == ("unknown key", remedy)


@pytest.mark.parametrize(
    ("document", "key", "message"),
    [
        ([layer("x")], "0.layer", "must be a whole number"),
        ([layer(True)], "0.layer", "must be a whole number"),
        ([layer(0)], "0.layer", "must be greater than or equal to 1"),
        ([layer(1.5)], "0.layer", "must be a whole number"),
        ([5], "0", "must be an object"),
        ([layer(1, 5)], "resources.0", "must be an object"),
        ([{"layer": 1, "resources": service()}], "resources", "must be an array"),
        ([layer(1, service(parameters="x"))], "parameters", "must be an object"),
        ([layer(1, service(parameters=[]))], "parameters", "needs at least 1 of them"),
        ([layer(1, service(parameters=[{}, 5]))], "parameters.1", "must be an object"),
        ([layer(1, service(action=""))], "action", "must have at least 1 character"),
        ([layer(1, service(timeout=0))], "timeout", "must be greater than or equal to 1"),
        ([layer(1, service(timeout=86401))], "timeout", "must be less than or equal to 86400"),
        ([layer(1, service(maxAttempts=11))], "maxAttempts", "must be less than or equal to 10"),
        ([layer(1, service(maxLagSeconds=-1))], "maxLagSeconds", "must be greater than or equal to 0"),
        ([layer(1, service(maxLagSeconds=86401))], "maxLagSeconds", "must be less than or equal to 86400"),
        ([layer(1, service(maxLagSeconds=True))], "maxLagSeconds", "must be a whole number"),
        ([layer(1, service(maxLagSeconds="a while"))], "maxLagSeconds", "must be a whole number"),
        ([layer(1, service(bestEffort="perhaps"))], "bestEffort", "must be true or false"),
        ([layer(1, service("a\nb"))], "resourceName", "must match pattern"),
        ([layer(1, policy="drain")], "policy", "must be an object"),
        ([layer(1, policy={"onFailure": "stop"})], "policy.onFailure", "must be 'drain', 'failFast' or 'continue'"),
        ([layer(1, policy={"onFailure": "continue"})], "policy", "belong together"),
        ([layer(1, policy={"maxFailures": 2})], "policy", "belong together"),
        ({"layers": [layer(1)], "phase": "Failover"}, "phase", "must be 'INSTANTIATE', 'ACTIVATE', 'CLEANUP' or 'REPLICATE'"),
        ({"layers": {}}, "layers", "must be an array"),
        ({}, "layers", "this key is missing"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_at_its_key(document: object, key: str, message: str) -> None:
    problem = the_problem(document)
    assert problem.key == key
    assert message in problem.message
    assert problem.remedy


def test_values_are_never_shown() -> None:
    text = str(problems([layer(1, service(timeout="hunter2", bestEffort="hunter2", AccountId="hunter2", parameters="hunter2"))]))
    assert "hunter2" not in text


def test_all_problems_of_a_file_are_reported_at_once() -> None:
    document = {
        "application": "other",
        "phase": "ACTIVATE",
        "layers": [
            layer(2, service(timeout=0), service(), {"resourceName": "x"}),
            layer(1, service(parameters=OTHER, AccountId="123456789012"), colour="red"),
            layer(2, service("a"), service("b")),
        ],
    }
    found = {(problem.layer, problem.resource, problem.key) for problem in problems(document)}
    assert found == {
        ("", "", "application"),
        ("", "", "phase"),
        ("2", "api", "timeout"),
        ("2", "api", "resourceName"),
        ("2", "x", "action"),
        ("2", "x", "parameters"),
        ("1", "", "layer"),
        ("1", "api", "AccountId"),
        ("1", "", "colour"),
        ("2", "", "layer"),
    }


# --- Order, names, limits


@pytest.mark.parametrize(
    ("numbers", "message"), [((1, 1), "there are two layers 1"), ((5, 3), "layer 3 stands after layer 5"), ((1, 2, "1"), "two layers 1")]
)
def test_layer_numbers_are_unique_and_ascend(numbers: tuple[object, ...], message: str) -> None:
    assert message in the_problem([layer(number) for number in numbers]).message


def test_names_are_unique_within_a_layer_only() -> None:
    assert "two resources of this layer are called api" in the_problem([layer(1, service("api"), service(" api "))]).message
    assert parse([layer(1), layer(2)])


def test_the_limits() -> None:
    full = [service(str(number)) for number in range(500)]
    assert parse([layer(1, *full), layer(2, *full)])
    assert "1001 resources" in the_problem([layer(1, *full), layer(2, *full), layer(3)]).message
    assert the_problem([layer(number) for number in range(1, 22)]).message == "has more than 20 of them"
    assert the_problem([layer(1, *full, service())]).message == "has more than 500 of them"
    assert "more than 32768 bytes" in the_problem([layer(1, service(parameters={"x": "ä" * 17_000}))]).message


# --- The file itself


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        (b"", "the file is empty", "write at least"),
        (b" \n", "the file is empty", "write at least"),
        (b'[\n  {"layer" 1}\n]', "line 2, column 12", "without comments and trailing commas"),
        (b"layers:\n  - layer: 1\n", "line 1, column 1", "looks like YAML"),
        (b"---\n- layer: 1\n", "line 1, column 1", "looks like YAML"),
        (b"- layer: 1\n", "line 1", "looks like YAML"),
        ("[]".encode("utf-16"), "not UTF-8", "save it as UTF-8"),
        (b"[" * 100_000, "levels deep", "flatten"),
        (b"[" * 40 + b"]" * 40, "levels deep", "flatten"),
        (b"[" + b"1" * 5_000 + b"]", "too many digits", "write it as a string"),
        (b'["' + b"x" * 1_000_000 + b'"]', "more than 1000000", "split"),
        (b'[{"layer": "\\ud800"}]', "not valid Unicode", "escapes"),
        ("\ud800", "not UTF-8", "save it as UTF-8"),
    ],
)
def test_what_is_not_a_json_document_is_one_problem(text: bytes | str, message: str, remedy: str) -> None:
    problem = the_problem(text)
    assert message in problem.message
    assert remedy in problem.remedy


def test_duplicate_keys_are_found_where_they_stand() -> None:
    text = (
        '[{"layer": 1, "layer": 1, "resources": [{"action": "ECS", "resourceName": "api", "parameters":'
        ' [{}, {"EcsServiceName": "a", "EcsServiceName": "b"}]}]}]'
    )
    found = [(problem.layer, problem.resource, problem.key, problem.message) for problem in problems(text)]
    twice = "this key stands twice in the same object"
    assert found == [("1", "", "layer", twice), ("1", "api", "parameters.1.EcsServiceName", twice)]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_refused(number: str) -> None:
    problem = the_problem(f'[{{"layer": 1, "resources": [{{"action": "ECS", "resourceName": "a", "parameters": {{"n": {number}}}}}]}}]')
    assert problem.key == "parameters.n"


def test_a_hopeless_file_gives_a_readable_number_of_problems_with_printable_keys() -> None:
    many = {f"key{number}": 1 for number in range(5_000)}
    found = problems({"layers": [layer(1, service(parameters={"n": 1}) | many)], "\x1b[2J" + "x" * 500: 1})
    assert len(found) == 201
    assert "problems more" in found[-1].message
    assert all(problem.key.isprintable() and len(problem.key) < 100 for problem in found)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text",
    [
        "[" + ",".join(["{}"] * 300_000) + "]",
        '[{"layer": 1, "resources": [' + ",".join(["{}"] * 300_000) + "]}]",
        '[{"' + "x" * 900_000 + '": 1}]',
        "[" + ",".join(["NaN"] * 100_000) + "]",
    ],
    ids=["layers", "resources", "a key", "numbers"],
)
def test_a_hopeless_file_is_refused_in_no_time(text: str) -> None:
    assert len(problems(text)) <= 501


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("EcsService", "ECS"),
        ("ecs", "ECS"),
        ("OpenSearch", "OpenSearchService"),
        ("Aurora", "AuroraMySQL"),
        ("R53Recrod", "R53Record"),
        ("X", None),
    ],
)
def test_did_you_mean(word: str, meant: str | None) -> None:
    assert did_you_mean(word, ["AuroraMySQL", "ECS", "OpenSearchService", "R53Record"]) == meant


# --- Anything at all


def survives(text: bytes | str) -> None:
    try:
        parse(text)
    except InvalidInputError as error:
        assert error.problems


@pytest.mark.failure("A manifest that is wrong")
@given(st.binary() | st.text())
def test_any_bytes_are_parsed_or_refused(text: bytes | str) -> None:
    survives(text)


KEYS = st.sampled_from(
    ["layer", "layers", "resources", "action", "resourceName", "parameters", "AccountId", "policy", "onFailure", "maxFailures", "phase"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["ECS", "drain", "123456789012"]),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), children, max_size=5),
    max_leaves=30,
)


@pytest.mark.failure("A manifest that is wrong")
@given(JSON | st.lists(st.fixed_dictionaries({"layer": JSON, "resources": st.lists(st.dictionaries(KEYS, JSON), max_size=3)}), max_size=3))
def test_any_json_is_parsed_or_refused(document: object) -> None:
    survives(json.dumps(document))
