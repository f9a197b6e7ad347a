"""Operators steer: a halted execution is mended and goes on, a paused one waits, a cancelled one ends; each by drctl over the bus."""

import json

from dr_core.records import ApprovalStatus, ExecutionStatus, ResourceStatus
from localcloud.cloud import STANDBY_REGION, WORKLOAD_ACCOUNT
from tests.integration.stack.operator import Operator, drctl

RULE = "steered-rule"


def manifest(*rules: str) -> bytes:
    """A layer that enables the first rule, and one that enables the others."""
    resources = [
        {"action": "EventBridge", "resourceName": rule, "AccountId": WORKLOAD_ACCOUNT, "parameters": {"EventRuleName": rule}}
        for rule in rules
    ]
    layers = [{"layer": 1, "resources": resources[:1]}, {"layer": 2, "resources": resources[1:]}]
    return json.dumps([layer for layer in layers if layer["resources"]]).encode()


def test_a_halted_execution_is_mended_and_goes_on(operator: Operator) -> None:
    events = operator.cloud.client("events", STANDBY_REGION, WORKLOAD_ACCOUNT)
    operator.publish("storefront", "Steered.json", manifest(RULE, "storefront-daily-report"))
    execution_id = operator.request(phase="ACTIVATE", mode="planned", manifest="storefront/Steered.json")
    operator.decide(execution_id, "approve")
    halted = operator.finished(execution_id)
    assert halted.status is ExecutionStatus.FAILED and RULE in halted.outcome_detail

    refused = drctl("resume", execution_id, "--reason", "go on")
    assert refused.returncode == 1 and "resume refused: resume needs an execution that is PAUSED" in refused.stderr

    events.put_rule(Name=RULE, ScheduleExpression="rate(1 day)", State="DISABLED")
    accepted = drctl("retry", execution_id, RULE, "--reason", "the rule is there now")
    assert accepted.returncode == 0, accepted.stderr
    operator.wait(lambda: True if operator.execution(execution_id).status.is_terminal else None, "the end of the retried execution")
    assert operator.execution(execution_id).status is ExecutionStatus.SUCCEEDED
    assert events.describe_rule(Name=RULE)["State"] == "ENABLED"
    told = [detail_type for detail_type, _ in operator.events(execution_id)]
    assert [one for one in told if one.startswith("Command")] == ["Command Refused", "Command Accepted"]


def test_a_paused_execution_waits_and_a_cancelled_one_ends(operator: Operator) -> None:
    operator.publish("storefront", "Steered.json", manifest("storefront-daily-report", "storefront-daily-report"))
    execution_id = operator.request(phase="ACTIVATE", mode="planned", manifest="storefront/Steered.json")
    assert drctl("pause", execution_id, "--reason", "too early").returncode == 1, "nothing runs yet"
    assert drctl("cancel", execution_id, "--reason", "the Region is back").returncode == 0
    assert operator.execution(execution_id).status is ExecutionStatus.CANCELLED
    assert {resource.status for resource in operator.table.resources(execution_id)} == {ResourceStatus.PENDING}, "nothing was touched"
    approval = operator.table.approval(execution_id)
    assert approval and approval.status is ApprovalStatus.EXPIRED, "who still votes is too late"
    assert operator.table.locked_by("storefront", ("us-east-1", "us-west-2")) == {}
