"""What is not accepted: each ends in a clear, stored, visible refusal; nothing has been touched; nothing hangs."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from dr_core.records import ExecutionStatus
from localcloud.cloud import WORKLOAD_ACCOUNT
from tests.integration.stack.operator import Operator

READS = ("Describe", "Get", "List", "AssumeRole")
ECS_WITHOUT_NAME = [{"layer": 1, "resources": [{"action": "ECS", "resourceName": "app", "parameters": {"EcsClusterNme": "c"}}]}]
UNKNOWN_EXPORT = [
    {
        "layer": 1,
        "resources": [
            {
                "action": "ECS",
                "resourceName": "app",
                "AccountId": WORKLOAD_ACCOUNT,
                "parameters": {"EcsClusterName": "!Import Nowhere", "EcsServiceName": "resolve:ssm:/not/there", "EcsDesiredSize": 1},
            }
        ],
    }
]


def changes_since(operator: Operator, position: int) -> list[str]:
    calls = operator.calls_since(position)
    return [call.operation for call in calls if call.account == WORKLOAD_ACCOUNT and not call.operation.startswith(READS)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "red"}, ["key colour", "known are"]),
        ({"reason": None, "targetRegion": None}, ["key reason: Field required", "key targetRegion: Field required"]),
        ({"phase": "ACTIVATE", "mode": None}, ["ACTIVATE needs a mode"]),
        ({"phase": "CLEANUP", "mode": "drill", "targetRegion": "eu-west-1"}, ["no drill of storefront in eu-west-1 has left anything"]),
        ({"application": "nobody"}, ["nobody has no manifest for INSTANTIATE", "publish it to s3://"]),
        ({"dryRun": "true"}, ["key dryRun", "write true or false, without quotes"]),
    ],
)
def test_a_request_that_is_not_right(operator: Operator, changes: Mapping[str, object], said: list[str]) -> None:
    position = operator.journal_position()

    execution_id = operator.request(**changes)

    refusal = operator.refusal(execution_id)
    assert all(any(words in problem for problem in refusal.problems) for words in said), refusal.problems
    assert operator.events(execution_id) == [("Execution Refused", "")]
    assert changes_since(operator, position) == []


@pytest.mark.failure("A manifest that is wrong")
@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (ECS_WITHOUT_NAME, ["EcsClusterNme", "did you mean EcsClusterName", "EcsServiceName"]),
        (UNKNOWN_EXPORT, ["Nowhere", "/not/there", "us-west-2"]),
    ],
)
def test_a_manifest_that_is_not_right(operator: Operator, manifest: object, said: list[str]) -> None:
    operator.publish("broken", "Instantiate.json", json.dumps(manifest).encode())
    position = operator.journal_position()

    refusal = operator.refusal(operator.request(application="broken"))

    assert all(any(words in problem for problem in refusal.problems) for words in said), refusal.problems
    assert changes_since(operator, position) == []


@pytest.mark.failure("Two Regions start the same application")
def test_a_second_execution_of_the_same_application_and_region(operator: Operator) -> None:
    first = operator.request()
    operator.wait(lambda: operator.table.load(first), "the first execution")

    second = operator.request(phase="REPLICATE")

    assert first in operator.refusal(second).problems[0]
    assert operator.execution(first).status is ExecutionStatus.PENDING_APPROVAL


@pytest.mark.failure("Two Regions start the same application")
def test_of_twenty_starts_at_once_one_is_taken_and_the_others_name_it(operator: Operator) -> None:
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda _: operator.request(), range(20)))

    (taken,) = [one for one in made if operator.table.load(one)]
    refusals = [operator.table.refusal(one) for one in made if one != taken]
    assert len(set(made)) == 20 and len(refusals) == 19
    assert all(refusal is not None and taken in refusal.problems[0] for refusal in refusals)
    assert set(operator.table.locked_by("storefront", ("us-east-1", "us-west-2")).values()) == {taken}


@pytest.mark.failure("Duplicate event, message delivered again")
def test_the_same_token_twice_is_one_execution(operator: Operator) -> None:
    first = operator.request(clientToken="one-and-the-same")
    operator.wait(lambda: operator.table.load(first), "the first execution")

    assert operator.request(clientToken="one-and-the-same") == first
    assert operator.execution(first).status is ExecutionStatus.PENDING_APPROVAL
