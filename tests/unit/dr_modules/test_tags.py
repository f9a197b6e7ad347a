"""Tags, as manifests write them: an object, or an array of Key and Value."""

from typing import Any

import pytest
from pydantic import Field, ValidationError

from dr_core.findings import explain
from dr_modules.base import ModuleParameters, Tags

FORM = '{"Owner": "shop"} or [{"Key": "Owner", "Value": "shop"}], all values strings'


class BoxParameters(ModuleParameters):
    tags: Tags = Field(alias="Tags", default={})


@pytest.mark.parametrize(
    ("raw", "tags"),
    [
        ({}, {}),
        ({"Owner": "shop", "Tier": 1, "Note": ""}, {"Owner": "shop", "Tier": "1", "Note": ""}),
        ([], {}),
        ([{"Key": " Owner ", "Value": "shop"}, {"Value": 1, "Key": "Tier"}], {"Owner": "shop", "Tier": "1"}),
        ({"Key": "k"}, {"Key": "k"}),
        ({str(number): "v" for number in range(50)}, {str(number): "v" for number in range(50)}),
    ],
)
def test_either_form_gives_the_tags_by_key(raw: object, tags: dict[str, str]) -> None:
    assert BoxParameters.model_validate({"Tags": raw}).tags == tags


def test_no_tags_need_not_be_said() -> None:
    assert BoxParameters.model_validate({}).tags == {}


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("Owner=shop", [((), "must be an object or an array of tags", 'write {"Owner": "shop"} or [{"Key": "Owner", "Value": "shop"}]')]),
        ({"Key": "Owner", "Value": "shop"}, [((), "this is one tag", 'put it into an array: [{"Key": ..., "Value": ...}]')]),
        ([{"Key": "a", "Value": ""}, {"Key": " a", "Value": "x"}], [((), "a Key stands twice", "keep one tag for each Key")]),
        ([{"key": "a", "Value": "x"}], [((0, "key"), "unknown key", "did you mean Key?")]),
        (
            [{"Key": "a", "Valeu": "x"}, {"Key": "", "Value": True}],
            [
                ((0, "Valeu"), "unknown key", "did you mean Value?"),
                ((1, "Key"), "must have at least 1 character", "a string of 1 to 128 characters"),
                ((1, "Value"), "must be a string", 'a string of at most 256 characters; may be "", true in quotes'),
            ],
        ),
        (["Owner"], [((0,), "must be an object", FORM)]),
        ({"Backup": True}, [(("Backup",), "must be a string", FORM)]),
        ({"k" * 129: "v"}, [(("k" * 129,), "must have at most 128 characters", FORM)]),
        ({"k": "v" * 257}, [(("k",), "must have at most 256 characters", FORM)]),
        ({str(number): "" for number in range(51)}, [((), "has more than 50 of them", FORM)]),
        ({"AWS:x": "y"}, [((), 'a key begins with "aws:"', "only AWS itself makes such tags: choose another key")]),
        ([{"Key": "aws:x", "Value": "y"}], [((), 'a key begins with "aws:"', "only AWS itself makes such tags: choose another key")]),
    ],
)
def test_what_is_neither_is_refused_at_its_place_with_its_remedy(raw: Any, found: list[tuple[tuple[str | int, ...], str, str]]) -> None:
    document = {"Tags": raw}
    with pytest.raises(ValidationError) as caught:
        BoxParameters.model_validate(document)
    explained = explain(caught.value, document, BoxParameters)
    assert [(each.path, each.message, each.remedy) for each in explained] == [(("Tags", *path), *rest) for path, *rest in found]
