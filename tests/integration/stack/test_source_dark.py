"""An unplanned ACTIVATE while the source Region is dark: nothing on its way needs that Region, nor a control plane that is there alone."""

import json
import re
from collections.abc import Iterator

import pytest
from botocore.exceptions import ConnectionClosedError

from dr_core.records import ExecutionStatus, ResourceStatus
from localcloud import applications
from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, REPOSITORY, STANDBY_REGION, WORKLOAD_ACCOUNT
from localcloud.faults import Effect, Fault
from tests.integration.stack.operator import Operator, at_work_on

DARK, HERE = PRIMARY_REGION, STANDBY_REGION
ERP = "erp"
# What the orchestrator's own account may be asked to change while an execution runs: its table, messages, events, the waiting for people.
# And PutParameter, by a function of the ERP system that is there.
OWN_CHANGES = re.compile(
    r"^(BatchWriteItem|PutItem|UpdateItem|TransactWriteItems|PutEvents|SendMessage|DeleteMessage\w*|ReceiveMessage|Publish|StartExecution"
    r"|SendTask\w+|AssumeRole|Invoke|PutObject|PutMetricData|SendEmail|PutLogEvents|GenerateDataKey|Decrypt"
    r"|PutParameter|(Get|List|Describe|Query|Scan|Head|BatchGet)\w*)$"
)


# A cloud of its own: a Region that the other tests of this directory use is not to be dark.
@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Somebody who works with the control plane in the standby Region; the ERP system, with all modules, serves from the other one."""
    with at_work_on(tmp_path_factory.mktemp("source-dark"), ERP) as started:
        yield started


def with_optional_dns() -> bytes:
    """The ERP system's ACTIVATE, as preflight asks for it where records have to be changed: DNS must not hold up the rest."""
    layers = json.loads((REPOSITORY / "manifests" / ERP / "Activate.json").read_text())
    for resource in (resource for layer in layers for resource in layer["resources"] if resource["action"] == "R53Record"):
        resource |= {"bestEffort": True, "timeout": 20}
    return json.dumps(layers).encode()


def test_an_unplanned_activate_calls_nothing_in_the_dark_source_region_but_route_53(operator: Operator) -> None:
    operator.publish(ERP, "Activate.json", with_optional_dns())
    dark = Fault(effect=Effect.DARK, region=DARK)
    with operator.cloud.faults.during(dark):
        with pytest.raises(ConnectionClosedError):
            operator.cloud.client("rds", DARK, WORKLOAD_ACCOUNT).describe_db_clusters()
        position = operator.journal_position()

        execution_id = operator.request(application=ERP, phase="ACTIVATE", mode="unplanned", sourceRegion=DARK, targetRegion=HERE)
        assert operator.decide(execution_id, "approve").status_code == 200
        execution = operator.finished(execution_id)

        calls = operator.calls_since(position)
    resources = operator.table.resources(execution_id)
    failed = {resource.module: resource.failure and resource.failure.message for resource in resources if resource.status.is_failure}
    assert set(failed) == {"R53Record"}, failed
    assert execution.status is ExecutionStatus.SUCCEEDED_WITH_FAILURES, execution.outcome_detail
    assert {resource.status for resource in resources if resource.module != "R53Record"} == {ResourceStatus.SUCCEEDED}
    assert len({resource.module for resource in resources}) == 10
    # Route 53's control plane is there alone: the one exception, bounded by its time-out, and told of before people decide.
    there = {(call.service, call.operation) for call in calls if call.fault or call.region == DARK}
    assert {service for service, _ in there} == {"route53"}
    for resource, report in zip(resources, operator.table.preflights(execution_id), strict=True):
        if resource.module == "R53Record":
            assert "ERROR" in {found["severity"] for found in report["findings"]}, report
    # Nothing is built on the way: no queue, rule, role, function, table or log group of the orchestrator's own.
    own = {call.operation for call in calls if call.account == CONTROL_ACCOUNT and call.status and call.service not in ("rds", "drs")}
    assert {operation for operation in own if not OWN_CHANGES.match(operation)} == set()
    facts = applications.load(ERP).observe(operator.cloud)
    assert facts["ledger's writer"] == HERE and facts[f"rules in {HERE}"] == "4 ENABLED"
