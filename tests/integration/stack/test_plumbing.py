"""What lies between the functions fails, or says everything again: the same outcome, at most later."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import uuid4

import pytest

from dr_core.execution import decide
from dr_core.observability import utc_now
from dr_core.records import ApprovalStatus, Execution, ExecutionStatus, ResourceStatus
from dr_core.triggers import Expire
from localcloud.applications import storefront
from localcloud.cloud import STANDBY_REGION, WORKLOAD_ACCOUNT
from localcloud.faults import Effect, Fault, When
from tests.integration.stack.operator import Operator, drctl

RULES = ("plumbing-1", "plumbing-2", "plumbing-3")


@pytest.fixture(autouse=True)
def _rules_to_enable(operator: Operator) -> Iterator[None]:
    """Two layers: one rule to be enabled, then two; no fault before and after."""
    events = operator.cloud.client("events", STANDBY_REGION, WORKLOAD_ACCOUNT)
    for rule in RULES:
        events.put_rule(Name=rule, ScheduleExpression="rate(1 day)", State="DISABLED")
    operator.publish("plumbing", "Activate.json", manifest(*RULES))
    yield
    operator.cloud.faults.clear()


def manifest(first: str, *others: str) -> bytes:
    """A layer with the first rule, and one with the others."""
    layers = [{"layer": number, "resources": [_resource(rule) for rule in rules]} for number, rules in ((1, [first]), (2, others))]
    return json.dumps(layers).encode()


def _resource(rule: str) -> dict[str, object]:
    return {"action": "EventBridge", "resourceName": rule, "AccountId": WORKLOAD_ACCOUNT, "parameters": {"EventRuleName": rule}}


def request(operator: Operator) -> str:
    return operator.request(application="plumbing", phase="ACTIVATE", mode="planned")


def enabled(operator: Operator) -> list[str]:
    events = operator.cloud.client("events", STANDBY_REGION, WORKLOAD_ACCOUNT)
    return [rule for rule in RULES if events.describe_rule(Name=rule)["State"] == "ENABLED"]


def assert_as_ever(operator: Operator, execution: Execution, position: int) -> None:
    """Everything has succeeded, and each rule was enabled by one call."""
    assert execution.status is ExecutionStatus.SUCCEEDED, execution.outcome_detail
    assert {resource.status for resource in operator.table.resources(execution.id)} == {ResourceStatus.SUCCEEDED}
    assert enabled(operator) == list(RULES)
    made = [call for call in operator.calls_since(position) if call.operation == "EnableRule" and call.status == 200]
    assert len(made) == len(RULES)


def published(operator: Operator, position: int) -> int:
    return sum(call.operation == "PutEvents" for call in operator.calls_since(position))


def swept_to_the_end(operator: Operator, execution_id: str) -> Execution:
    """Only the sweep runs, minute by minute."""

    def over() -> Execution | None:
        operator.minute_later(execution_id)
        execution = operator.execution(execution_id)
        return execution if execution.status.is_terminal else None

    return operator.wait(over, f"the end of {execution_id} by the sweep alone")


@pytest.mark.failure("Relay off, longer than the stream keeps its records", "Event lost: a rule disabled, an event dropped")
def test_with_the_relay_off_the_sweep_alone_completes_everything(operator: Operator) -> None:
    position = operator.journal_position()
    with operator.relay_off():
        execution_id = request(operator)
        operator.wait(lambda: operator.table.load(execution_id), "the execution")

        def asked() -> bool | None:
            operator.minute_later(execution_id)
            approval = operator.table.approval(execution_id)
            return True if approval and approval.asked_at else None

        operator.wait(asked, "people to be asked")
        assert operator.execution(execution_id).preflight_at, "the preflight was sent for again too"

        def decided() -> bool | None:
            answer = operator.decide(execution_id, "approve")
            if answer.status_code != 200:  # asked in haste, people are asked again: what counts is what they saw last
                assert "the plan is not the one that was shown" in answer.text
            return True if answer.status_code == 200 else None

        operator.wait(decided, "the newest request to be decided")
        assert_as_ever(operator, swept_to_the_end(operator, execution_id), position)
        assert published(operator, position) == 1, "the request itself: the relay has published nothing"
        at_rest = operator.items(execution_id)
    operator.wait(lambda: published(operator, position) > 1 or None, "the relay to go on")
    operator.quiet()
    assert operator.items(execution_id) == at_rest, "what comes hours late changes nothing"


@pytest.mark.failure("The sweep is dead")
def test_with_the_sweep_off_events_alone_complete_everything(operator: Operator) -> None:
    storefront.stand_down(operator.cloud)
    logs = operator.cloud.client("logs")
    with operator.sweep_off():
        time.sleep(1)  # one that had begun
        begun = int(time.time() * 1000)
        execution_id = operator.request(phase="INSTANTIATE", mode="unplanned")
        assert operator.decide(execution_id, "approve").status_code == 200
        execution = operator.finished(execution_id)
        try:
            swept = logs.filter_log_events(logGroupName="/aws/lambda/dr-orchestrator-sweep", startTime=begun)["events"]
        except logs.exceptions.ResourceNotFoundException:
            swept = []
    assert execution.status is ExecutionStatus.SUCCEEDED, execution.outcome_detail
    assert {resource.status for resource in operator.table.resources(execution_id)} == {ResourceStatus.SUCCEEDED}
    assert swept == []


@pytest.mark.failure("PutEvents takes only a part, or is throttled")
def test_the_bus_is_throttled(operator: Operator) -> None:
    position = operator.journal_position()
    throttle = Fault(effect=Effect.THROTTLE, service="events", operation="PutEvents", function="*-publish-changes", last=5)
    with operator.cloud.faults.during(throttle) as (name,):
        execution_id = request(operator)
        assert operator.decide(execution_id, "approve").status_code == 200
        execution = operator.finished(execution_id)
    assert_as_ever(operator, execution, position)
    assert sum(call.fault == name for call in operator.calls_since(position)) == 5


@pytest.mark.failure("A poison record on the stream")
def test_a_record_that_cannot_be_published_holds_up_nobody(operator: Operator) -> None:
    position = operator.journal_position()
    execution_id = request(operator)
    poison = {"pk": f"EXEC#{execution_id}", "sk": "EVT#00000000000000000000000000", "home": STANDBY_REGION}
    poison |= {"source": "dr.execution", "detail_type": "Execution Started", "detail": "no JSON"}
    item = {name: {"S": value} for name, value in poison.items()}
    operator.cloud.client("dynamodb").put_item(TableName=operator.outputs["StateTableName"], Item=item)

    assert operator.decide(execution_id, "approve").status_code == 200
    execution = operator.finished(execution_id)
    operator.cloud.client("dynamodb").delete_item(
        TableName=operator.outputs["StateTableName"], Key={name: item[name] for name in ("pk", "sk")}
    )
    assert_as_ever(operator, execution, position)


@pytest.mark.failure("A function dies between its transaction and the message for the next check")
def test_the_message_for_the_next_check_is_never_sent(operator: Operator) -> None:
    storefront.stand_down(operator.cloud)
    crash = Fault(effect=Effect.CRASH, when=When.BEFORE, service="sqs", operation="SendMessage", function="*-start-resource", last=1)
    with operator.cloud.faults.during(crash):
        execution_id = operator.request(phase="INSTANTIATE", mode="unplanned")
        assert operator.decide(execution_id, "approve").status_code == 200
        operator.wait(lambda: sum(armed.struck for armed in operator.cloud.faults.active()) or None, "the function to be killed")
    waiting = [resource for resource in operator.table.resources(execution_id) if resource.status is ResourceStatus.WAITING]
    assert [resource.check_no for resource in waiting] == [1], "its state is stored, and nobody will look again"
    operator.overdue(execution_id)
    assert operator.sweep()["wakeUpsSent"] == 1
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED


@pytest.mark.failure("An archive is replayed onto the bus")
def test_an_archive_is_replayed_after_the_end(operator: Operator) -> None:
    events = operator.cloud.client("events")
    bus = events.describe_event_bus(Name=operator.outputs["BusName"])["Arn"]
    name = f"archive-{uuid4().hex[:8]}"
    archive = events.create_archive(ArchiveName=name, EventSourceArn=bus)["ArchiveArn"]
    begun, position = utc_now(), operator.journal_position()
    execution_id = request(operator)
    assert operator.decide(execution_id, "approve").status_code == 200
    assert_as_ever(operator, operator.finished(execution_id), position)
    operator.quiet()
    at_rest, told = operator.items(execution_id), events.describe_archive(ArchiveName=name)["EventCount"]
    assert told >= len(operator.events(execution_id)), "all that happened is in the archive"
    after = operator.journal_position()

    replay: dict[str, Any] = {"EventSourceArn": archive, "Destination": {"Arn": bus}}
    events.start_replay(ReplayName=name, EventStartTime=begun, EventEndTime=utc_now(), **replay)
    operator.wait(lambda: events.describe_replay(ReplayName=name)["State"] == "COMPLETED" or None, "the replay")
    operator.quiet()

    looked = [call for call in operator.calls_since(after) if call.service == "dynamodb"]
    assert len(looked) > 10, "the functions have been woken, and have read"
    assert operator.items(execution_id) == at_rest
    assert [call for call in operator.calls_since(after) if call.account == WORKLOAD_ACCOUNT and call.operation == "EnableRule"] == []


@pytest.mark.failure("The manifest changes after it was shown for approval")
def test_a_changed_manifest_voids_the_request_for_approval(operator: Operator) -> None:
    execution_id = request(operator)
    link = operator.approver.link(execution_id)
    operator.publish("plumbing", "Activate.json", manifest(*RULES) + b" ")
    answer = operator.approver.decide(link, "approve", "as shown")
    assert answer.status_code == 409 and "manifest" in answer.text
    execution = operator.finished(execution_id)
    assert execution.status is ExecutionStatus.EXPIRED and "manifest" in execution.outcome_detail
    assert enabled(operator) == []
    operator.publish("plumbing", "Activate.json", manifest(*RULES))
    again = request(operator)
    assert operator.table.load(again) is not None, "nothing is locked any more"
    assert operator.decide(again, "reject").status_code == 200


@pytest.mark.failure("SNS or mail is down")
def test_nobody_can_be_told_and_drctl_decides(operator: Operator) -> None:
    position = operator.journal_position()
    down = Fault(effect=Effect.ERROR, service="sns", operation="Publish", function="*-request-approval")
    with operator.cloud.faults.during(down):
        execution_id = request(operator)
        operator.wait(lambda: sum(armed.struck for armed in operator.cloud.faults.active()) or None, "the message to fail")
        approval = operator.table.approval(execution_id)
        assert approval and approval.status is ApprovalStatus.PENDING and approval.asked_at is None
        approved = drctl("approve", execution_id, "--reason", "the mail is down")
        assert approved.returncode == 0, approved.stderr
        assert_as_ever(operator, operator.finished(execution_id), position)


@pytest.mark.failure("Step Functions is down")
def test_no_approval_can_be_started_and_drctl_decides(operator: Operator) -> None:
    position = operator.journal_position()
    down = Fault(effect=Effect.ERROR, service="states", operation="StartExecution", function="*-start-approval")
    with operator.cloud.faults.during(down):
        execution_id = request(operator)
        operator.wait(lambda: sum(armed.struck for armed in operator.cloud.faults.active()) or None, "the start to fail")
        approved = drctl("approve", execution_id, "--reason", "Step Functions is down")
        assert approved.returncode == 0, approved.stderr
        assert_as_ever(operator, operator.finished(execution_id), position)


@pytest.mark.failure("The approval's wait cannot be ended: its token is gone, Step Functions refuses")
@pytest.mark.parametrize("code", ["TaskTimedOut", "InvalidToken", "ServiceUnavailable"])
def test_the_approvals_wait_cannot_be_ended(operator: Operator, code: str) -> None:
    position = operator.journal_position()
    refused = Fault(effect=Effect.ERROR, code=code, service="states", operation="SendTaskSuccess", function="*-settle-approval")
    with operator.cloud.faults.during(refused):
        execution_id = request(operator)
        assert operator.decide(execution_id, "approve").status_code == 200
        assert_as_ever(operator, operator.finished(execution_id), position)
        operator.wait(lambda: sum(armed.struck for armed in operator.cloud.faults.active()) or None, "the wait to be answered")


@pytest.mark.failure("The target's API throttles")
def test_the_targets_api_is_throttled(operator: Operator) -> None:
    position = operator.journal_position()
    # More often than the SDK tries by itself.
    throttle = Fault(effect=Effect.THROTTLE, service="events", operation="EnableRule", account=WORKLOAD_ACCOUNT, last=8)
    with operator.cloud.faults.during(throttle):
        execution_id = request(operator)
        assert operator.decide(execution_id, "approve").status_code == 200
        execution = operator.finished(execution_id)
    assert_as_ever(operator, execution, position)
    resources = operator.table.resources(execution_id)
    assert max(resource.attempt for resource in resources) > 1
    assert {resource.spent for resource in resources} == {0}


ROLE = "DR-Orchestrator-Execution-Role"


@contextmanager
def denied(operator: Operator) -> Iterator[None]:
    """The role may do what it may, but enable no rule."""
    iam = operator.cloud.client("iam", STANDBY_REGION, WORKLOAD_ACCOUNT)
    statement = {"Effect": "Deny", "Action": "events:EnableRule", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=ROLE, PolicyName="not-this-one", PolicyDocument=document)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=ROLE, PolicyName="not-this-one")


@contextmanager
def distrusted(operator: Operator) -> Iterator[None]:
    """The role trusts the orchestrator no more."""
    iam = operator.cloud.client("iam", STANDBY_REGION, WORKLOAD_ACCOUNT)
    trust = iam.get_role(RoleName=ROLE)["Role"]["AssumeRolePolicyDocument"]
    nobody = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [nobody]}))
    try:
        yield
    finally:
        iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust if isinstance(trust, str) else json.dumps(trust))


@pytest.mark.failure("The role in the target account is missing or denies")
@pytest.mark.parametrize("broken", [denied, distrusted])
def test_a_role_that_does_not_let_us_halts_the_execution_until_it_is_mended(
    operator: Operator, broken: Callable[[Operator], AbstractContextManager[None]]
) -> None:
    position = operator.journal_position()
    with broken(operator):
        execution_id = request(operator)
        link = operator.approver.link(execution_id)
        found = json.dumps(operator.table.preflights(execution_id))
        assert ("cannot assume" in found) == (broken is distrusted), "preflight tells of a role that it cannot assume itself"
        assert operator.approver.decide(link, "approve", "test").status_code == 200
        halted = operator.finished(execution_id)
        assert halted.status is ExecutionStatus.FAILED and RULES[0] in halted.outcome_detail
        failed = operator.table.resources(execution_id)[0]
        assert failed.status is ResourceStatus.FAILED and failed.failure and failed.failure.code.startswith("AccessDenied")
        assert (failed.attempt, enabled(operator)) == (1, []), "no further attempt could mend it, and nothing was done"
    retried = drctl("retry", execution_id, "--reason", "the role is mended")
    assert retried.returncode == 0, retried.stderr
    operator.wait(lambda: operator.execution(execution_id).status.is_terminal or None, "the end of the retried execution")
    assert_as_ever(operator, operator.execution(execution_id), position)


@pytest.mark.failure("DynamoDB throttles, or is out, in the home Region")
def test_the_table_is_out_for_a_while(operator: Operator) -> None:
    position = operator.journal_position()
    execution_id = request(operator)
    link = operator.approver.link(execution_id)
    assert operator.approver.decide(link, "approve", "test").status_code == 200
    out = Fault(effect=Effect.ERROR, code="InternalServerError", service="dynamodb", function="dr-orchestrator-*")
    with operator.cloud.faults.during(out):
        operator.wait(lambda: sum(armed.struck for armed in operator.cloud.faults.active()) > 3 or None, "functions that fail")
    # What failed becomes visible in its queue after minutes; the sweep is faster.
    assert_as_ever(operator, swept_to_the_end(operator, execution_id), position)


@pytest.mark.failure("Approval and expiry at once")
def test_the_timer_fires_while_somebody_decides(operator: Operator) -> None:
    """The vote reaches the table between the timer's look and its transaction: the timer finds it there, and the vote stands."""
    execution_id = request(operator)
    link = operator.approver.link(execution_id)
    state = operator.table.load(execution_id)
    assert state is not None
    expired = decide(state, Expire(), utc_now())
    assert expired is not None
    assert operator.approver.decide(link, "approve", "just in time").status_code == 200
    assert operator.table.commit(state.execution, expired, utc_now()) is False
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
