"""AWS says that its work is done, in the account and Region where it was done: the orchestrator looks at once, and else when it polls."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dr_core.items import MomentAttribute
from dr_core.records import ExecutionStatus, Resource, ResourceStatus
from localcloud.cloud import PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT
from tests.integration.stack.operator import Operator

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "native"
NAMES = {"EcsClusterName": "noticed", "EcsServiceName": "noticed-api"}
_FUNCTIONS = ("dr-orchestrator-start-resource", "dr-orchestrator-check-resource")


@pytest.fixture
def _rare_polls(operator: Operator) -> Iterator[None]:
    """Polls are as far apart as the module lets them be: 12 to 18 s for ECS."""
    functions = operator.cloud.client("lambda")
    given = {name: functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"] for name in _FUNCTIONS}
    for name, variables in given.items():
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**variables, "FIRST_CHECK_SECONDS": "600"}})
    yield
    for name, variables in given.items():
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


@pytest.fixture
def application(operator: Operator) -> Iterator[str]:
    """An ECS service at zero, and a manifest that wants one task, of an application that no run knows anything of."""
    name = f"noticed-{uuid4().hex[:6]}"
    ecs = operator.cloud.client("ecs", STANDBY_REGION, WORKLOAD_ACCOUNT)
    ecs.create_cluster(clusterName=NAMES["EcsClusterName"])
    ecs.register_task_definition(family="noticed", containerDefinitions=[{"name": "it", "image": "it", "memory": 128}])
    ecs.create_service(cluster="noticed", serviceName="noticed-api", taskDefinition="noticed", desiredCount=0)
    wanted = {"action": "ECS", "resourceName": "api", "AccountId": WORKLOAD_ACCOUNT, "parameters": {**NAMES, "EcsDesiredSize": 1}}
    operator.publish(name, "Instantiate.json", json.dumps([{"layer": 1, "resources": [wanted]}]).encode())
    yield name
    ecs.delete_service(cluster="noticed", service="noticed-api", force=True)


def steady(region: str = STANDBY_REGION, account: str = WORKLOAD_ACCOUNT) -> dict[str, Any]:
    """What ECS says when a service has as many tasks as it shall."""
    event = json.loads((SAMPLES / "ECSServiceAction.json").read_text())
    arn = f"arn:aws:ecs:{region}:{account}:service/noticed/noticed-api"
    return {**event, "account": account, "region": region, "resources": [arn]}


def waiting(operator: Operator, application: str) -> tuple[str, Resource]:
    """An execution whose service has been told to start, and is not looked at for a while."""
    execution_id = operator.request(application=application, phase="INSTANTIATE", mode="planned")
    operator.decide(execution_id, "approve")

    def observed() -> Resource | None:
        found = operator.table.resources(execution_id)
        return found[0] if found and found[0].status is ResourceStatus.WAITING else None

    return execution_id, operator.wait(observed, "the service to be waited for")


def status(operator: Operator, execution_id: str) -> ResourceStatus:
    return operator.table.resources(execution_id)[0].status


@pytest.mark.usefixtures("_rare_polls")
def test_what_aws_says_is_looked_into_at_once(operator: Operator, application: str) -> None:
    execution_id, resource = waiting(operator, application)
    time.sleep(1)  # the service is steady by now, and nobody has looked
    assert status(operator, execution_id) is ResourceStatus.WAITING
    told = time.monotonic()
    operator.cloud.tell(steady(), steady(), steady())
    operator.wait(lambda: True if status(operator, execution_id) is ResourceStatus.SUCCEEDED else None, "the service to be noticed")
    took = time.monotonic() - told
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
    (event,) = [one for one in operator.table.timeline(execution_id) if one.detail_type == "Resource Succeeded"]
    noticed = MomentAttribute().deserialize(json.loads(event.detail)["occurredAt"])
    assert resource.next_at is not None and noticed < resource.next_at, f"it took {took:.1f} s: its poll was due by then"


@pytest.mark.failure("AWS's own event on a change is lost, or tells of something else")
@pytest.mark.usefixtures("_rare_polls")
def test_without_a_word_of_aws_the_poll_sees_it(operator: Operator, application: str) -> None:
    events = operator.cloud.client("events", STANDBY_REGION, WORKLOAD_ACCOUNT)
    (rule,) = [one["Name"] for one in events.list_rules()["Rules"] if "ForwardToFirst" in one["Name"]]
    events.disable_rule(Name=rule)
    try:
        execution_id, resource = waiting(operator, application)
        operator.cloud.tell(steady(), {**steady(PRIMARY_REGION), "detail-type": "ECS Task State Change"})
        operator.cloud.tell(steady(PRIMARY_REGION))  # its rule is on: another Region's service of that name is not meant
        time.sleep(4)
        seen = operator.table.resources(execution_id)[0]
        assert (seen.status, seen.check_no) == (ResourceStatus.WAITING, resource.check_no), "nobody has looked yet"
        assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
        (event,) = [one for one in operator.table.timeline(execution_id) if one.detail_type == "Resource Succeeded"]
        assert resource.next_at is not None and MomentAttribute().deserialize(json.loads(event.detail)["occurredAt"]) >= resource.next_at
    finally:
        events.enable_rule(Name=rule)


@pytest.mark.usefixtures("_rare_polls")
def test_the_next_run_knows_how_long_it_took(operator: Operator, application: str) -> None:
    execution_id, resource = waiting(operator, application)
    assert resource.known == ()
    operator.cloud.tell(steady())
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
    (done,) = operator.table.resources(execution_id)
    (again,) = operator.table.resources(operator.request(application=application, phase="INSTANTIATE", mode="planned"))
    assert again.known == (done.taken,) and 0 < done.taken[0] < 60


def test_nobody_but_the_accounts_that_were_let_in_is_heard(operator: Operator) -> None:
    """Nor does AWS let anybody use the name of one of its services."""
    entry = {"Source": "aws.ecs", "DetailType": "ECS Service Action", "Detail": "{}"}
    for account, bus in ((WORKLOAD_ACCOUNT, "default"), (WORKLOAD_ACCOUNT, operator.outputs["BusArn"])):
        answer = operator.cloud.client("events", STANDBY_REGION, account).put_events(Entries=[{**entry, "EventBusName": bus}])
        assert answer["FailedEntryCount"] == 1, answer
