"""What is measured and judged before an emulator is asked."""

import json
from typing import Any

import pytest

from localcloud.strict import RefusedError, check_lengths, entry_bytes, entry_problem
from localcloud.wire import Call


def entry(**changes: Any) -> dict[str, Any]:
    return {"Source": "a", "DetailType": "b", "Detail": "{}", **changes}


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (entry(), 4),
        (entry(Detail='{"x": "ü"}'), 13),  # two bytes for one letter
        (entry(Time=1.0), 18),
        (entry(Resources=["abc", "de"]), 9),
        (entry(EventBusName="not counted"), 4),
    ],
)
def test_an_entry_is_measured_as_eventbridge_measures_it(given: dict[str, Any], size: int) -> None:
    assert entry_bytes(given) == size


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (entry(), None),
        (entry(Detail='{"x": [1]}'), None),
        (entry(Detail="[1]"), "MalformedDetail"),
        (entry(Detail="{"), "MalformedDetail"),
        (entry(Detail=""), "InvalidArgument"),
        (entry(Source=""), "InvalidArgument"),
        ({"Source": "a", "Detail": "{}"}, "InvalidArgument"),
    ],
)
def test_an_entry_that_eventbridge_does_not_take(given: dict[str, Any], code: str | None) -> None:
    problem = entry_problem(given)
    assert (problem and problem[0]) == code


@pytest.mark.parametrize(
    ("operation", "parameters", "said"),
    [
        ("GetParameters", {"Names": ["/a"] * 10}, ""),
        (
            "GetParameters",
            {"Names": ["/a"] * 11},
            "at 'names' failed to satisfy constraint: Member must have length less than or equal to 10",
        ),
        ("GetParameters", {"Names": []}, "greater than or equal to 1"),
        ("GetParameters", {"Names": ["/a", ""]}, "at 'names.2.member' failed"),
        ("PutParameter", {"Name": "x" * 2049, "Value": "v"}, "at 'name' failed"),
        ("PutParameter", {"Name": "", "Description": "d" * 1025}, "2 validation errors detected"),
        ("Unknown", {"Name": ""}, ""),
    ],
)
def test_a_length_is_held_against_the_model(operation: str, parameters: dict[str, Any], said: str) -> None:
    call = Call("AKIA1", None, "us-west-2", "ssm", operation)
    if not said:
        check_lengths(call, parameters)
        return
    with pytest.raises(RefusedError) as refused:
        check_lengths(call, parameters)
    assert said in str(refused.value)
    assert refused.value.code == "ValidationException"
    assert len(str(refused.value)) < 1000, json.dumps(parameters)[:80]
