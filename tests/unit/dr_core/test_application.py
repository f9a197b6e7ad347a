"""Registrations as people write them: what is accepted, and what is refused with which remedy."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_core.application import Application, read_application
from dr_core.errors import InvalidInputError
from dr_core.phases import Phase

FILE = "shop/application.json"
MANIFESTS = Path(__file__).parents[3] / "manifests"
SHOP: dict[str, Any] = {"application": "shop", "regions": {"primary": "us-east-1", "standby": "us-west-2"}}
PRIMARY = "a Region such as us-east-1: where the application runs"
STANDBY = "a Region such as us-west-2: where it fails over to"
PREFLIGHT = "true or false: whether the application takes part in the scheduled preflight"
REGIONS = '{"primary": "us-east-1", "standby": "us-west-2"}'


def read(document: object) -> Application:
    return read_application(FILE, document if isinstance(document, bytes) else json.dumps(document).encode(), "shop")


def found(document: object) -> list[tuple[str, str, str]]:
    """Key, message and remedy of each problem."""
    with pytest.raises(InvalidInputError) as caught:
        read(document)
    assert {(problem.file, problem.layer, problem.resource) for problem in caught.value.problems} == {(FILE, "", "")}
    return [(problem.key, problem.message, problem.remedy) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("document", "preflight"),
    [
        (SHOP, True),
        (SHOP | {"preflight": True}, True),
        (SHOP | {"preflight": False, "$schema": "../application.schema.json"}, False),
        (SHOP | {"preflight": "No"}, False),
        (b"\xef\xbb\xbf" + json.dumps(SHOP).encode(), True),
    ],
)
def test_what_a_registration_says(document: object, preflight: bool) -> None:
    made = read(document)
    assert (made.application, made.regions.primary, made.regions.standby, made.preflight) == ("shop", "us-east-1", "us-west-2", preflight)


@pytest.mark.parametrize("region", ["us-gov-west-1", "ap-southeast-7", "cn-north-1"])
def test_regions_of_every_partition(region: str) -> None:
    assert read(SHOP | {"regions": {"primary": "us-east-1", "standby": region}}).regions.standby == region


@pytest.mark.parametrize(
    ("document", "problems"),
    [
        (b"", [("", "the file is empty", 'write at least {"application": "storefront", "regions": ' + REGIONS + "}")]),
        ([SHOP], [("", "a registration is an object", '{"application": "storefront", "regions": ' + REGIONS + "}")]),
        ({"application": "shop"}, [("regions", "this key is missing", REGIONS)]),
        (
            SHOP | {"application": "store"},
            [("application", "the registration is of store, and stands with shop", "write the name of its folder")],
        ),
        (SHOP | {"preflights": True}, [("preflights", "unknown key", "did you mean preflight?")]),
        (SHOP | {"preflight": "sometimes"}, [("preflight", "must be true or false", PREFLIGHT)]),
        (SHOP | {"regions": ["us-east-1", "us-west-2"]}, [("regions", "must be an object", REGIONS)]),
        (SHOP | {"regions": {"primary": "us-east-1"}}, [("regions.standby", "this key is missing", STANDBY)]),
        (
            SHOP | {"regions": {"primary": "us-east-1", "secondary": "us-west-2"}},
            [("regions.secondary", "unknown key", "did you mean standby?")],
        ),
        (
            SHOP | {"regions": {"primary": "us-west-2", "standby": "us-west-2"}},
            [("regions", "primary and standby are the same Region", "name two Regions")],
        ),
        (
            {"aplication": "shop", "regions": {"primary": "us-east-1a", "standby": "Oregon"}, "owner": "me"},
            [
                ("regions.primary", "must match pattern '^[a-z]{2}(-[a-z]+)+-\\d$'", PRIMARY),
                ("regions.standby", "must match pattern '^[a-z]{2}(-[a-z]+)+-\\d$'", STANDBY),
                ("aplication", "unknown key", "did you mean application?"),
                (
                    "owner",
                    "unknown key",
                    "known here: $schema, application, regions, notifications, preflight, approvers, approval, "
                    "bounds, homeRegion, rtoSeconds",
                ),
            ],
        ),
    ],
)
def test_all_problems_are_told_at_once_each_with_its_remedy(document: object, problems: list[tuple[str, str, str]]) -> None:
    assert found(document) == problems


def test_what_is_not_json_is_one_problem() -> None:
    ((key, message, remedy),) = found(b'{"application": "shop",}')
    assert (key, remedy) == ("", "remove the last comma: JSON has no trailing commas")
    assert message.startswith("line 1, column ")


def test_duplicate_keys_are_refused() -> None:
    text = json.dumps(SHOP).replace('"primary"', '"primary": "eu-west-1", "primary"').encode()
    assert found(text) == [("regions.primary", "this key stands twice in the same object", "keep one")]


@given(
    st.binary()
    | st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.sampled_from([*SHOP, "x"]), inner))
    .map(json.dumps)
    .map(str.encode)
)
def test_anything_at_all_is_read_or_refused(data: bytes) -> None:
    try:
        read(data)
    except InvalidInputError as error:
        assert error.problems


@pytest.mark.parametrize("file", sorted(MANIFESTS.glob("*/application.json")), ids=str)
def test_the_sample_is_a_registration(file: Path) -> None:
    assert read_application(str(file), file.read_bytes(), file.parent.name)


def test_a_home_and_recovery_times_are_read() -> None:
    application = read(SHOP | {"homeRegion": "us-west-2", "rtoSeconds": {"ACTIVATE": 1800}})
    assert (application.home_region, application.rto_seconds) == ("us-west-2", {"ACTIVATE": 1800})


@pytest.mark.parametrize("wrong", [{"ACTIVATE": 0}, {"ACTIVATE": "1800"}, {"ACTIVATE": True}, {"ACTIVATE": 1.5}, {"ACTIVATE": 10**9}])
def test_a_recovery_time_is_a_number_of_seconds(wrong: object) -> None:
    assert [key for key, *_ in found(SHOP | {"rtoSeconds": wrong})] == ["rtoSeconds.ACTIVATE"]


@pytest.mark.parametrize(
    ("key", "value", "other_case"),
    [
        ("email", "ann@example.com", "Ann@Example.com"),
        ("slackUserId", "U0ANN1234", "U0ANN1234"),
        ("principal", "arn:aws:iam::111111111111:user/ann", "arn:aws:iam::111111111111:user/ann"),
        ("subject", "the-subject", "The-Subject"),
    ],
)
def test_two_approvers_do_not_share_an_identity(key: str, value: str, other_case: str) -> None:
    people = [{"name": "ann", key: value}, {"name": "anne", key: other_case}]
    what = f"another approver has this {key} too: one person would count twice"
    assert found(SHOP | {"approvers": people}) == [(f"approvers.1.{key}", what, "make them one approver, or correct it")]
    assert read(SHOP | {"approvers": people[:1]}).approvers[0].name == "ann"


def test_who_is_asked_at_first_and_who_only_when_half_of_the_time_is_over() -> None:
    people = [{"name": name, "email": f"{name}@example.com"} for name in ("ann", "bob", "eve")]

    def asked(**rule: object) -> dict[str, bool]:
        application = read(SHOP | {"approvers": people, "approval": {"ACTIVATE": rule}})
        return {one.name: one.escalation for one in application.who_decides(Phase.ACTIVATE)[1]}

    assert asked(escalate=["eve"]) == {"ann": False, "bob": False, "eve": True}
    assert asked(approvers=["bob"], escalate=["eve"]) == {"bob": False, "eve": True}
    assert asked(escalate=["ann", "bob", "eve"]) == dict.fromkeys(("ann", "bob", "eve"), False), "somebody has to be asked at first"
