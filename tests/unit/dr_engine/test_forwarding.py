"""What accounts forward: the events that modules listen to, to the orchestrator's buses, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto.events.models import EventPattern

from dr_engine import forwarding
from dr_modules.base import NativeEvent, modules
from tests.support import state_table

DEPLOYED = Path(__file__).resolve().parents[3] / "deploy" / "ForwardEvents.yaml"
SAMPLES = sorted((Path(__file__).resolve().parents[2] / "samples" / "native").glob("*.json"))
BUSES = ("First", "Second", "Third")


def resources() -> dict[str, Any]:
    """The template's resources."""
    return dict(yaml.load(DEPLOYED.read_text(), state_table._Loader)["Resources"])


def matches(event: Any) -> bool:
    """Whether the rule takes the event."""
    return bool(EventPattern.load(json.dumps(resources()["ForwardToFirstRule"]["Properties"]["EventPattern"])).matches_event(event))


def test_the_file_is_what_the_modules_listen_to() -> None:
    assert DEPLOYED.read_text() == forwarding.render(), "run python -m dr_engine.forwarding > deploy/ForwardEvents.yaml"


def test_every_event_of_every_module_is_forwarded_once_and_none_besides() -> None:
    declared = {(event.source, event.detail_type) for module in modules().values() for event in module.native_events}
    for name in BUSES:
        branches = resources()[f"ForwardTo{name}Rule"]["Properties"]["EventPattern"]["$or"]
        asked = [(source, kind) for one in branches for source in one["source"] for kind in one["detail-type"]]
        assert sorted(asked) == sorted(declared) and all(branch.keys() <= {"source", "detail-type", "detail"} for branch in branches)


def test_the_pattern_is_not_longer_than_eventbridge_takes() -> None:
    assert len(json.dumps(forwarding.pattern(forwarding.native_events()))) <= forwarding.LONGEST_PATTERN


@pytest.mark.parametrize("path", SAMPLES, ids=[path.stem for path in SAMPLES])
def test_what_aws_sends_matches(path: Path) -> None:
    event = json.loads(path.read_text())
    assert matches(event), "a rule would not forward it"
    assert not matches({**event, "detail-type": "Another Event"}) and not matches({**event, "source": "aws.another"})


@pytest.mark.parametrize(
    ("sample", "detail"),
    [
        ("EC2InstanceStatechangeNotification", {"state": "pending"}),
        ("ECSServiceAction", {"eventName": "SERVICE_TASK_PLACEMENT_FAILURE"}),
        ("ECSDeploymentStateChange", {"eventName": "SERVICE_DEPLOYMENT_IN_PROGRESS"}),
    ],
)
def test_what_tells_nothing_new_is_not_forwarded(sample: str, detail: dict[str, str]) -> None:
    event = json.loads((SAMPLES[0].parent / f"{sample}.json").read_text())
    assert not matches({**event, "detail": {**event["detail"], **detail}})


def test_a_pattern_that_two_modules_share_is_there_once() -> None:
    shared = [event for module in modules().values() for event in module.native_events if event.detail_type == "RDS DB Instance Event"]
    assert len(shared) == 2
    assert [event.detail_type for event in forwarding.native_events()].count("RDS DB Instance Event") == 1


def test_an_undelivered_event_is_kept_and_the_role_can_do_nothing_else() -> None:
    for name in BUSES:
        rule = resources()[f"ForwardTo{name}Rule"]
        (aim,) = rule["Properties"]["Targets"]
        assert aim["Arn"] == f"{name}BusArn" and aim["RoleArn"] == "ForwardingRole.Arn" and "EventBusName" not in rule["Properties"]
        assert aim["DeadLetterConfig"] == {"Arn": "UndeliveredQueue.Arn"} and aim["RetryPolicy"]["MaximumRetryAttempts"] == 185
        assert rule.get("Condition") == (None if name == "First" else f"To{name}")
    role = resources()["ForwardingRole"]["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "events.amazonaws.com"}
    (policy,) = role["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Resource"][0]) == ("events:PutEvents", "FirstBusArn") and "*" not in str(statement["Resource"])
    queue = resources()["UndeliveredQueue"]["Properties"]
    assert queue == {"MessageRetentionPeriod": 14 * 86400, "SqsManagedSseEnabled": True}
    let, refuse = resources()["UndeliveredQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert let["Principal"] == {"Service": "events.amazonaws.com"} and "rule/" in str(let["Condition"])
    assert refuse["Effect"] == "Deny" and refuse["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_a_pattern_of_the_detail_narrows_its_own_event_alone() -> None:
    one, other = NativeEvent("aws.a", "A", {"state": ["on"]}), NativeEvent("aws.b", "B")
    found = forwarding.pattern([one, other])
    wanted = [{"source": ["aws.a"], "detail-type": ["A"], "detail": {"state": ["on"]}}, {"source": ["aws.b"], "detail-type": ["B"]}]
    assert found == {"$or": wanted}
