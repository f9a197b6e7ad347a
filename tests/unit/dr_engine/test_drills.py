"""A drill: where it may not run, and what of its past the CLEANUP of a drill takes back."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from dr_core.items import ExecutionItem, ResourceItem
from dr_core.mapping import item_of
from dr_core.phases import Mode, Phase
from dr_core.records import ExecutionStatus, LayerStatus, Resource, ResourceStatus
from tests.support.control_plane import HOME, OTHER, T0, Cloud, a_resource, an_execution
from tests.unit.dr_engine.test_intake import Desk, manifest, service
from tests.unit.dr_engine.test_intake import desk as desk

ECS = {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 2}
PLAN = {"Method": "OrchestrationSolution", "FunctionName": "handler", "PlanId": "plan-1"}
SERVERS = {"HostNames": ["web-1"]}


def ran(cloud: Cloud, number: int, phase: Phase, *resources: Resource, mode: Mode = Mode.DRILL, **values: Any) -> str:
    """An execution of `number` hours ago that has run."""
    began = T0 - timedelta(hours=number)
    times = {"requested_at": began, "started_at": began, "ended_at": began + timedelta(minutes=number)}
    over: dict[str, Any] = {"status": ExecutionStatus.SUCCEEDED, "due_at": None, "phase": phase, "mode": mode}
    made = an_execution(f"01P{number:03}", **{**over, **times, **values})
    item_of(ExecutionItem, made, f"EXEC#{made.id}", "META").save()
    for one in resources:
        item_of(ResourceItem, one, f"EXEC#{made.id}", f"RES#{one.id}", HOME).save()
    return made.id


def acted(layer: int, index: int, module: str, parameters: object, before: object) -> Resource:
    """A resource on which a drill has acted; `before` None: it had nothing to do."""
    stored = None if before is None else json.dumps(before)
    return a_resource(
        layer, index, module=module, parameters=json.dumps(parameters), before=stored, status=ResourceStatus.SUCCEEDED, attempt=1, spent=2
    )


def undone(desk: Desk, cloud: Cloud, **changed: object) -> list[tuple[str, str, str, Any]]:
    """What the CLEANUP of a drill plans: id, status, module, and before what it goes back."""
    made = desk.take(phase="CLEANUP", mode="drill", **changed)  # type: ignore[arg-type]
    refused = cloud.table.refusal(made)
    assert refused is None, refused
    resources = cloud.table.resources(made)
    return [(one.id, one.status.value, one.module, json.loads(one.undoes) if one.undoes else one.detail) for one in resources]


def test_the_newest_act_of_all_drills_is_taken_back_first(desk: Desk, cloud: Cloud) -> None:
    first, second = acted(1, 1, "ECS", ECS, [{"desired": 0}]), acted(1, 2, "ECS", ECS, None)
    third = acted(2, 1, "AutoScaling", {"Autoscalinggroupnames": "a", "DesiredCount": 1}, [{"a": {"min": 0, "desired": 0, "max": 1}}])
    ran(cloud, 3, Phase.INSTANTIATE, first, second, third, status=ExecutionStatus.CANCELLED)
    ran(cloud, 2, Phase.ACTIVATE, acted(1, 1, "DRS", SERVERS, [{"web-1": {}}]), target_region=HOME)
    assert undone(desk, cloud) == [
        ("0001-001", "PENDING", "DRS", [{"web-1": {}}]),
        ("0002-001", "PENDING", "AutoScaling", [{"a": {"min": 0, "desired": 0, "max": 1}}]),
        ("0003-001", "PENDING", "ECS", [{"desired": 0}]),
    ]
    (made,) = [one for one in cloud.table.active() if one.phase is Phase.CLEANUP]
    state = cloud.table.load(made.id)
    assert state and [(one.number, one.status, one.total) for one in state.layers] == [(n, LayerStatus.PENDING, 1) for n in (1, 2, 3)]
    assert state.approval and state.approval.manifest_sha256 == made.manifest_sha256 and len(made.manifest_sha256) == 64
    (resource,) = cloud.table.resources(made.id, 3)
    assert (resource.attempt, resource.spent, resource.before, json.loads(resource.parameters)) == (0, 0, None, [ECS])
    assert made.manifest_key is None and set(cloud.table.locked_by("shop", [HOME, OTHER]).values()) == {made.id}


def test_what_nobody_can_take_back_is_left_out_with_the_reason(desk: Desk, cloud: Cloud) -> None:
    both = acted(1, 1, "DRS", [PLAN, SERVERS], [{}, {"web-1": {}}])
    ran(cloud, 1, Phase.ACTIVATE, both, acted(1, 2, "LambdaFunction", {"FunctionName": "warm"}, [{}]))
    assert undone(desk, cloud) == [
        ("0001-001", "PENDING", "DRS", [{"web-1": {}}]),
        ("0001-002", "SKIPPED", "DRS", "plan plan-1: terminate the drill's instances in the DRS Orchestration Solution"),
        ("0001-003", "SKIPPED", "LambdaFunction", "what warm has done in the drill is known to it alone, and is left as it is"),
    ]


def test_what_was_taken_back_is_not_taken_back_again(desk: Desk, cloud: Cloud) -> None:
    ran(cloud, 4, Phase.INSTANTIATE, acted(1, 1, "ECS", ECS, [{"desired": 0}]))
    ran(cloud, 3, Phase.CLEANUP)
    assert desk.refusal(phase="CLEANUP", mode="drill").problems == [
        "Execution Requested, key mode: no drill of shop in us-west-2 has left anything to take back "
        "(nothing is to be done; drctl executions shop shows what has run)"
    ]
    ran(cloud, 2, Phase.INSTANTIATE, acted(1, 1, "ECS", ECS, [{"desired": 1}]))
    ran(cloud, 1, Phase.CLEANUP, status=ExecutionStatus.CANCELLED)
    assert undone(desk, cloud, event_id="event-2") == [("0001-001", "PENDING", "ECS", [{"desired": 1}])]


def test_what_stands_after_a_real_execution_is_no_drills(desk: Desk, cloud: Cloud) -> None:
    ran(cloud, 4, Phase.INSTANTIATE, acted(1, 1, "ECS", ECS, [{"desired": 0}]))
    ran(cloud, 3, Phase.ACTIVATE, mode=Mode.UNPLANNED, status=ExecutionStatus.CANCELLED)
    refused = desk.refusal(phase="CLEANUP", mode="drill").problems
    assert "since execution 01P003 (ACTIVATE, unplanned), to which belongs what stands there" in refused[0]


def test_what_did_not_run_and_other_regions_count_for_nothing(desk: Desk, cloud: Cloud) -> None:
    ran(cloud, 5, Phase.INSTANTIATE, acted(1, 1, "ECS", ECS, [{"desired": 0}]))
    ran(cloud, 4, Phase.ACTIVATE, mode=Mode.PLANNED, started_at=None, status=ExecutionStatus.REJECTED)
    ran(cloud, 3, Phase.ACTIVATE, mode=Mode.PLANNED, started_at=None, dry_run=True)
    ran(cloud, 2, Phase.CLEANUP, target_region=OTHER)
    ran(cloud, 1, Phase.INSTANTIATE, acted(1, 1, "ECS", ECS, [{"desired": 7}]), target_region=OTHER)
    assert undone(desk, cloud) == [("0001-001", "PENDING", "ECS", [{"desired": 0}])]


REGISTERED: Mapping[str, Any] = {"application": "shop", "regions": {"primary": HOME, "standby": OTHER}}


def test_the_region_that_serves_is_left_alone(desk: Desk, cloud: Cloud) -> None:
    desk.publish(manifest(service()), "shop/Instantiate.json")
    desk.publish(REGISTERED, "shop/application.json")
    (problem,) = desk.refusal(mode="drill").problems
    assert problem == (
        "Execution Requested, key targetRegion: shop runs in us-west-2 (application.json calls it the primary): a drill leaves that Region "
        "alone (name the Region that stands by)"
    )
    # A failover counts for more than what is registered; a drill, a dry run and one that did not succeed for nothing.
    ran(cloud, 4, Phase.ACTIVATE, mode=Mode.PLANNED, target_region=OTHER, source_region=HOME)
    ran(cloud, 3, Phase.ACTIVATE, mode=Mode.PLANNED, status=ExecutionStatus.CANCELLED)
    ran(cloud, 2, Phase.ACTIVATE)
    assert cloud.table.load(desk.take("event-2", mode="drill", clientToken="t-2"))


def test_after_a_failover_the_drill_is_held_on_the_other_side(desk: Desk, cloud: Cloud) -> None:
    ran(cloud, 4, Phase.ACTIVATE, mode=Mode.UNPLANNED, status=ExecutionStatus.SUCCEEDED_WITH_FAILURES)
    (problem,) = desk.refusal(mode="drill").problems
    assert "shop runs in us-west-2 (execution 01P004 has activated it there)" in problem


def test_a_drill_waits_for_whoever_holds_the_locks(desk: Desk, cloud: Cloud) -> None:
    holder = desk.take("event-1", clientToken="t-1")
    assert holder in desk.refusal(event_id="event-2", mode="drill").problems[0]


def test_a_drill_has_no_replicate_and_its_cleanup_no_manifest(desk: Desk) -> None:
    assert "a drill has no REPLICATE" in desk.refusal(phase="REPLICATE", mode="drill").problems[0]
    refused = desk.refusal(event_id="event-2", phase="CLEANUP", mode="drill", manifest="shop/Cleanup.json").problems
    assert "a drill's CLEANUP takes no manifest" in refused[0]
