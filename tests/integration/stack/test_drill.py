"""A drill of the ERP system, which uses every module: asked for by a schedule, run, taken back, and nothing of production touched."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dr_core.phases import Mode, Phase
from dr_core.records import Execution, ExecutionStatus, ResourceStatus
from localcloud import applications
from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, REPOSITORY, STANDBY_REGION, WORKLOAD_ACCOUNT
from localcloud.journal import Entry
from tests.integration.stack.operator import Operator, at_work_on, drctl

ERP = "erp"
READS = ("Describe", "Get", "List", "Head", "AssumeRole")
NEVER = "cron(0 3 1 1 ? 2099)"


# A cloud of its own: the system must stand as it was made, and the other tests take it to the other Region.
@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Somebody who works with the deployed stack; the ERP system runs in the primary Region."""
    with at_work_on(tmp_path_factory.mktemp("drill"), ERP) as started:
        yield started


def schedule(operator: Operator, instantiate_at: str) -> None:
    """Deploy the template with which a drill is held by the clock."""
    given = {
        "BusArn": f"arn:aws:events:{STANDBY_REGION}:{CONTROL_ACCOUNT}:event-bus/{operator.outputs['BusName']}",
        "Application": ERP,
        "PrimaryRegion": PRIMARY_REGION,
        "StandbyRegion": STANDBY_REGION,
        "InstantiateAt": instantiate_at,
        "ActivateAt": NEVER,
        "CleanUpAt": NEVER,
    }
    cloudformation = operator.client("cloudformation")
    cloudformation.create_stack(
        StackName="erp-drill",
        TemplateBody=(REPOSITORY / "deploy" / "ScheduleDrill.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName="erp-drill", WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def run(operator: Operator, execution_id: str) -> Execution:
    """Approve it, and wait for its end."""
    assert operator.decide(execution_id, "approve").status_code == 200
    return operator.finished(execution_id)


def ask(operator: Operator, phase: Phase) -> str:
    return operator.request(application=ERP, phase=phase, mode="drill", sourceRegion=PRIMARY_REGION, targetRegion=STANDBY_REGION)


def targets_changed(calls: list[Entry]) -> list[Entry]:
    """What was changed by those who acted on the application: the journal's acts, in both accounts."""
    functions = ("lambda", "sts")
    acted = [call for call in calls if call.account == WORKLOAD_ACCOUNT and not call.operation.startswith(READS)]
    return [call for call in acted if call.service not in functions and call.status < 400]


def report(execution_id: str) -> dict[str, Any]:
    shown = drctl("report", execution_id, "--format", "json")
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def test_a_scheduled_drill_of_every_module_touches_nothing_of_production_and_leaves_nothing(operator: Operator) -> None:
    system = applications.load(ERP)
    before = system.observe(operator.cloud)
    position = operator.journal_position()

    earlier = {one.id for one in operator.table.history(ERP, 100)}
    schedule(operator, "at(2020-01-01T00:00:00)")  # due since long: at once

    def scheduled() -> str | None:
        return next((one.id for one in operator.table.history(ERP, 100) if one.id not in earlier), None)

    drills = [run(operator, operator.wait(scheduled, "the scheduled drill")), run(operator, ask(operator, Phase.ACTIVATE))]
    during = system.observe(operator.cloud)
    drills.append(run(operator, ask(operator, Phase.CLEANUP)))
    after = system.observe(operator.cloud)

    for execution in drills:
        assert (execution.status, execution.mode) == (ExecutionStatus.SUCCEEDED, Mode.DRILL), execution.outcome_detail
    assert drills[0].requested_by == "schedule erp-drill"
    # It did something: what stands by was made ready, and its servers were launched.
    assert during[f"services' tasks in {STANDBY_REGION}"] == "erp-api 3, erp-jobs 1"
    assert during[f"recovery instances in {STANDBY_REGION}"] == "2 RUNNING"
    assert during[f"payroll in {STANDBY_REGION}"] == "none", "production's name is left free"
    # Production is as it was at every moment, and so is what stands by in the end, but for what the functions have been told to do.
    own = {f"announced in {STANDBY_REGION}", "warehouse's recovery plan"}
    assert {fact: value for fact, value in during.items() if PRIMARY_REGION in fact} == {
        fact: value for fact, value in before.items() if PRIMARY_REGION in fact
    }
    elsewhere = [fact for fact in before if STANDBY_REGION not in fact and fact not in own]
    assert {fact: during[fact] for fact in elsewhere} == {fact: before[fact] for fact in elsewhere}
    assert {fact: value for fact, value in after.items() if fact not in own} == {
        fact: value for fact, value in before.items() if fact not in own
    }
    # What was called says the same, and so does what each report makes of it.
    changed = targets_changed(operator.calls_since(position))
    assert changed and {call.region for call in changed} == {STANDBY_REGION}
    assert not {call.operation for call in changed} & {"FailoverGlobalCluster", "SwitchoverGlobalCluster", "ChangeResourceRecordSets"}
    for execution in drills:
        told = report(execution.id)
        assert (told["request"]["mode"], told["drill"]["productionUntouched"], told["drill"]["beyond"]) == ("drill", True, [])
        assert told["drill"]["changed"] and {one["region"] for one in told["drill"]["changed"]} == {STANDBY_REGION}
        assert told["recovery"]["measuredMs"] > 0
    # What a drill does not run is there, with the reason.
    resources = operator.table.resources(drills[1].id)
    left_out = {one.module: one.detail for one in resources if one.status is ResourceStatus.SKIPPED}
    assert set(left_out) == {"AuroraMySQL", "ElastiCache", "MemoryDB", "R53Record", "EventBridge", "EventArchive"}
    assert left_out["R53Record"] == "left out of the drill: R53Record changes production in ACTIVATE"
    assert {one["module"] for one in report(drills[1].id)["drill"]["leftOut"]} == set(left_out)
    taken_back = operator.table.resources(drills[2].id)
    assert {one.module for one in taken_back if one.status is ResourceStatus.SKIPPED} == {"DRS", "LambdaFunction"}
    assert {one.module for one in taken_back if one.status is ResourceStatus.SUCCEEDED} == {
        "AuroraMySQL",
        "AutoScaling",
        "DRS",
        "EC2",
        "ECS",
        "OpenSearchService",
        "SQLServer",
    }
    # Once taken back, there is nothing more to take back.
    assert "has left anything to take back" in operator.refusal(ask(operator, Phase.CLEANUP)).problems[0]


def test_a_drill_waits_for_a_real_execution_and_is_not_held_where_the_application_runs(operator: Operator) -> None:
    real = operator.request(application=ERP, phase="INSTANTIATE", sourceRegion=PRIMARY_REGION, targetRegion=STANDBY_REGION)

    assert real in operator.refusal(ask(operator, Phase.INSTANTIATE)).problems[0]

    assert operator.decide(real, "reject").status_code == 200
    operator.finished(real)
    live = operator.request(application=ERP, phase="INSTANTIATE", mode="drill", sourceRegion=STANDBY_REGION, targetRegion=PRIMARY_REGION)
    assert f"erp runs in {PRIMARY_REGION}" in operator.refusal(live).problems[0]
