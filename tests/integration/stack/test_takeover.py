"""Takeover on deployed stacks: the home Region is lost in the midst of ACTIVATE, and the stack of another brings it to its end."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dr_core.items import MomentAttribute
from dr_core.observability import utc_now
from dr_core.records import ExecutionStatus, ResourceStatus
from dr_core.state import Table
from localcloud.applications import storefront
from localcloud.cloud import PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from localcloud.faults import Effect, Fault, When
from localcloud.installation import SECOND_STACK_NAME, install_in_two_regions
from tests.integration.stack.operator import Operator, drctl

LOST, HERE = PRIMARY_REGION, STANDBY_REGION
RULES = ("orders-intake", "orders-billing", "orders-report")
LEASES = timedelta(seconds=121)
# What a second process would still call, it has called after so many seconds.
QUIET = 3
# Of the execution these come no more once it was requested, of its events every other one: what goes on in the home Region reaches the
# replica in part.
TORN = ("META", "APPR", "LAYER#0001", "RES#0001-001", "RES#0002-002", "EVT#*[02468ACEGJMPRTWY]")
Items = dict[tuple[str, str], dict[str, Any]]


# A cloud of its own: the control plane that the other tests of this directory share is not to be lost.
@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """One in which the storefront serves from the Region that will be lost."""
    started = LocalCloud.start(Path(tmp_path_factory.mktemp("two-regions")), time_scale=0.02, die_with_parent=True)
    try:
        storefront.create(started)
        for rule in RULES:
            started.client("events", HERE, WORKLOAD_ACCOUNT).put_rule(Name=rule, ScheduleExpression="rate(1 day)", State="DISABLED")
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def homes(cloud: LocalCloud) -> dict[str, dict[str, str]]:
    """The outputs of both control planes, by Region."""
    return install_in_two_regions(cloud, HERE, LOST)


@pytest.fixture(scope="module")
def operator(cloud: LocalCloud, homes: dict[str, dict[str, str]]) -> Operator:
    """Somebody who works with the control plane that will be lost."""
    return Operator(cloud, homes[LOST], LOST, SECOND_STACK_NAME)


@pytest.fixture(autouse=True)
def _at_work() -> None:
    """The tests of this directory share a cloud; this one has its own."""


def manifest() -> bytes:
    """The failover of the database, then two rules at once, then a third."""
    database = {"DBClusterIdentifier": storefront.NAME, "GlobalClusterIdentifier": "storefront-global"}
    entries = [("AuroraMySQL", "database", database), *(("EventBridge", rule, {"EventRuleName": rule}) for rule in RULES)]
    resources = [
        {"action": action, "resourceName": name, "AccountId": WORKLOAD_ACCOUNT, "parameters": given} for action, name, given in entries
    ]
    layers = (resources[:1], resources[1:3], resources[3:])
    return json.dumps([{"layer": number, "resources": inside} for number, inside in enumerate(layers, 1)]).encode()


def held(cloud: LocalCloud, region: str, table: str, execution_id: str) -> Items:
    """What a Region's replica holds of the execution and of the storefront's locks, but for what people were told."""
    found = cloud.client("dynamodb", region).scan(TableName=table, ConsistentRead=True)["Items"]
    keyed = {(item["pk"]["S"], item["sk"]["S"]): item for item in found}
    mine = (f"EXEC#{execution_id}", f"LOCK#{storefront.NAME}#")
    return {key: item for key, item in keyed.items() if key[0].startswith(mine) and not key[1].startswith(("NOTE#", "CHANNEL#"))}


def let_leases_end(cloud: LocalCloud, table: str, execution_id: str) -> None:
    """As if the takeover had been given two minutes ago: what the lost Region's executors may have claimed, they hold no longer."""
    earlier = {":earlier": {"S": MomentAttribute().serialize(utc_now() - LEASES)}}
    changed = {sk: "lease_until" for (_, sk), item in held(cloud, HERE, table, execution_id).items() if "lease_until" in item}
    for sk, attribute in {**changed, "META": "taken_over_at"}.items():
        cloud.client("dynamodb", HERE).update_item(
            TableName=table,
            Key={"pk": {"S": f"EXEC#{execution_id}"}, "sk": {"S": sk}},
            UpdateExpression=f"SET {attribute} = :earlier",
            ExpressionAttributeValues=earlier,
        )


def done(operator: Operator, since: int) -> Counter[str]:
    """What AWS has carried out in the applications' account, whether or not anybody heard of it: the database, and each rule."""
    calls = [call for call in operator.calls_since(since) if call.account == WORKLOAD_ACCOUNT and call.status == 200 and call.act]
    named = (str((call.act or {})["parameters"].get("Name", call.operation)) for call in calls if call.service in ("events", "rds"))
    return Counter(named)


@pytest.mark.failure("The home Region is lost during an execution")
def test_a_home_region_lost_in_the_midst_of_activate(
    cloud: LocalCloud, homes: dict[str, dict[str, str]], operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = homes[LOST]["StateTableName"]
    assert homes[HERE]["StateTableName"] == name, "both use the one table"
    for variable, value in cloud.environment(region=LOST).items():
        monkeypatch.setenv(variable, value)
    operator.open_table()
    operator.publish(storefront.NAME, "Activate.json", manifest())
    since = operator.journal_position()
    execution_id = operator.request(phase="ACTIVATE", mode="unplanned", sourceRegion=LOST, targetRegion=HERE)
    link = operator.approver.link(execution_id, 120)
    cloud.replication.settle()
    assert held(cloud, HERE, name, execution_id) == held(cloud, LOST, name, execution_id), "what is settled is the same in both"

    # Of the two rules at once, one executor dies after its act. The other dies with it where both are of one process, before its call or
    # with it under way, and else before its act: neither is on record.
    cloud.replication.hold(TORN)
    cloud.faults.add(Fault(effect=Effect.CRASH, when=When.AFTER, operation="EnableRule", first=1, last=1))
    cloud.faults.add(Fault(effect=Effect.CRASH, when=When.BEFORE, operation="EnableRule", first=1, last=2))
    operator.approver.decide(link, "approve", "test")

    def tried() -> int:
        return sum(call.operation == "EnableRule" for call in operator.calls_since(since))

    def nobody_tries() -> bool | None:
        before = tried()
        time.sleep(QUIET)
        return True if tried() == before > 0 else None

    operator.wait(nobody_tries, "the executors to die")
    cloud.replication.settle()

    # The Region is lost: nothing of it answers, and nothing that was written there leaves it.
    cloud.replication.hold()
    cloud.faults.clear()
    cloud.faults.add(Fault(effect=Effect.DARK, region=LOST))
    before = done(operator, since)
    assert before["FailoverGlobalCluster"] == 1 and 1 <= sum(before[rule] for rule in RULES) <= 2

    for variable, value in cloud.environment(region=HERE).items():
        monkeypatch.setenv(variable, value)
    table = Table(name)
    seen = [(resource.id, resource.status) for resource in table.resources(execution_id)]
    assert seen[1][1] is ResourceStatus.STARTING, "one of the second layer came"
    assert {status for id_, status in seen if id_ != "0002-001"} == {ResourceStatus.PENDING}, "as they were before the approval"
    taken = drctl("takeover", execution_id, "--reason", f"{LOST} does not answer")
    assert taken.returncode == 0, taken.stderr
    let_leases_end(cloud, name, execution_id)

    here = Operator(cloud, homes[HERE])
    here.table = table

    def over() -> ExecutionStatus | None:
        time.sleep(2)
        here.overdue(execution_id)  # as if a minute had passed
        here.sweep()
        execution = here.execution(execution_id)
        assert execution.home_region == HERE
        return execution.status if execution.status.is_terminal or execution.status is ExecutionStatus.FAILED else None

    assert here.wait(over, "the end of what was taken over", 240) is ExecutionStatus.SUCCEEDED
    rules = cloud.client("events", HERE, WORKLOAD_ACCOUNT)
    assert {rules.describe_rule(Name=rule)["State"] for rule in RULES} == {"ENABLED"}
    (database,) = cloud.client("rds", HERE, WORKLOAD_ACCOUNT).describe_global_clusters()["GlobalClusters"]
    assert [one["DBClusterArn"].split(":")[3] for one in database["GlobalClusterMembers"] if one["IsWriter"]] == [HERE]
    wanted = Counter({"FailoverGlobalCluster": 1, **dict.fromkeys(RULES, 1)})
    assert {key: number for key, number in done(operator, since).items() if key in wanted} == wanted, "each once, by whichever Region"
    assert table.locked_by(storefront.NAME, (LOST, HERE)) == {}
    told = [entry.detail_type for entry in table.timeline(execution_id)]
    assert told.count("Execution Taken Over") == told.count("Execution Completed") == 1

    # The Region comes back, with what it had written, in its table and in its queues. It finds the new home, and moves nothing.
    quiet = held(cloud, HERE, name, execution_id)
    cloud.faults.clear()
    cloud.replication.heal()
    operator.sweep()
    cloud.replication.settle()
    back = {region: held(cloud, region, name, execution_id) for region in (LOST, HERE)}
    assert back[LOST] == back[HERE], "both Regions tell the same again"
    settled = {key: item for key, item in back[HERE].items() if key[1].startswith(("META", "LAYER#", "RES#", "LOCK"))}
    assert settled == {key: item for key, item in quiet.items() if key in settled}, "of what was decided since, nothing is lost"
    assert {key: number for key, number in done(operator, since).items() if key in wanted} == wanted
