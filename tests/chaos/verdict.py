"""What must hold when all executions have ended: of the table, of the events, of the calls that were made, and of the cloud itself."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from dr_core.events import MAX_EVENT_BYTES
from dr_core.records import DetailType, Execution, Resource, ResourceStatus
from localcloud.cloud import STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from tests.chaos.witness import Seen, Witness, acts_of, record_from

_COMMANDS_TOLD: Final = (DetailType.COMMAND_ACCEPTED, DetailType.COMMAND_REFUSED)
Calls = list[Mapping[str, Any]]


def final_checks(witness: Witness, cloud: LocalCloud, on_the_bus: Counter[str], table: str) -> None:
    """Hold everything against everything; what does not hold is a violation of the witness."""
    ended = witness.ended()
    with cloud.journal.open() as lines:
        calls: Calls = [call for line in lines if '"act"' in line for call in [json.loads(line)]]
    for seen in ended:
        seen.check()
    check_events(witness, ended, on_the_bus)
    check_commands(witness, ended)
    check_acts(witness, ended, calls)
    check_table(witness, ended, scan(cloud, table))
    check_world(witness, ended, observe(cloud))


def check_events(witness: Witness, ended: list[Seen], on_the_bus: Mapping[str, int]) -> None:
    """Every stored event was put on the bus, none that is not stored, none that is too large."""
    stored = set()
    for seen in ended:
        for event_id, event, size in seen.told:
            stored.add(event_id)
            witness.checked["I17 events are small"] += 1
            witness.checked["I18 each event goes out"] += 1
            if size > MAX_EVENT_BYTES:
                witness.violated("I17", seen.id, f"{event.detail_type} has {size} bytes")
            if not on_the_bus.get(event_id):
                witness.violated("I18", seen.id, f"{event.detail_type} {event_id} was never put on the bus")
    refused = {event_id for key in witness.refused if key in witness.executions for event_id, _, _ in witness.executions[key].told}
    for event_id in set(on_the_bus) - stored - refused - {""}:
        witness.violated("I18", "", f"event {event_id} was put on the bus and is not stored")


def check_commands(witness: Witness, ended: list[Seen]) -> None:
    """Each command that was taken is told once, whether it was carried out or refused."""
    for seen in ended:
        told = sum(event.detail_type in _COMMANDS_TOLD for _, event, _ in seen.told)
        witness.checked["commands are carried out once"] += seen.commands
        if told != seen.commands:
            witness.violated("commands", seen.id, f"{seen.commands} commands were taken, {told} told")


def check_acts(witness: Witness, ended: list[Seen], calls: Calls) -> None:
    """The gateway's journal: at most one act for each claim, and for each success an act that was carried out."""
    acts = acts_of(calls)
    dns = [call["act"]["parameters"]["Body"] for call in calls if call["operation"] == "ChangeResourceRecordSets" and call["status"] == 200]
    for seen in ended:
        names = {resource.name: resource for resource in seen.resources(seen.id)}
        for (execution_id, name, attempt), invocations in acts.items():
            if execution_id != seen.id:
                continue
            claims = seen.claims[names[name].id, attempt]
            witness.checked["I5 one act per claim"] += 1
            if len(invocations) > claims:
                witness.violated("I5", seen.id, f"{name} was acted on {len(invocations)} times in attempt {attempt}, with {claims} claims")
        for (resource_id, attempt), answered in seen.invoked.items():
            name = next(resource.name for resource in names.values() if resource.id == resource_id)
            witness.checked["the calls that are told were made"] += 1
            if answered > len(acts.get((seen.id, name, attempt), ())):
                witness.violated("calls", seen.id, f"{name} tells of {answered} calls in attempt {attempt} that were not all made")
        for resource in names.values():
            if resource.status is not ResourceStatus.SUCCEEDED or resource.detail.startswith("forced by"):
                continue
            witness.checked["I6 succeeded means it was seen"] += 1
            if resource.module == "LambdaFunction" and not any(key[:2] == (seen.id, resource.name) for key in acts):
                witness.violated("I6", seen.id, f"{resource.name} succeeded, and its function was never called")
            if resource.module == "R53Record" and not any(f"{seen.id} {resource.name}<" in body for body in dns):
                witness.violated("I6", seen.id, f"{resource.name} succeeded, and its record was never changed")


def check_table(witness: Witness, ended: list[Seen], items: Iterable[Mapping[str, Any]]) -> None:
    """The table holds what its stream told last."""
    known = {seen.id: seen for seen in ended}
    for image in items:
        execution_id, sk = image["pk"]["S"].partition("#")[2], image["sk"]["S"]
        if execution_id in known and sk.partition("#")[0] in ("META", "LAYER", "RES", "APPR"):
            witness.checked["the stream told what is stored"] += 1
            if record_from(sk, image, execution_id) != known[execution_id].records.get(sk):
                witness.violated("stream", execution_id, f"{sk} is not what the stream told last")


def check_world(witness: Witness, ended: list[Seen], facts: Mapping[tuple[str, str], str]) -> None:
    """What was acted on last, and succeeded, is as it was asked to be."""
    touched: dict[tuple[str, str], list[tuple[datetime, datetime, Seen, Resource]]] = defaultdict(list)
    for seen in ended:
        execution = seen.execution(seen.id)
        for resource in seen.resources(seen.id):
            target = target_of(execution, resource)
            if target is not None and resource.started_at is not None and execution.ended_at is not None:
                touched[target].append((resource.started_at, execution.ended_at, seen, resource))
    for target, visits in touched.items():
        _, _, seen, resource = max(visits, key=lambda visit: visit[0])
        if resource.status is not ResourceStatus.SUCCEEDED or resource.detail.startswith("forced by"):
            continue
        wanted = wanted_of(seen.execution(seen.id), resource)
        witness.checked["the cloud is as it was asked to be"] += 1
        if facts[target] != wanted:
            witness.violated("world", seen.id, f"{resource.name} succeeded, and {' '.join(target)} is {facts[target]}, not {wanted}")


def target_of(execution: Execution, resource: Resource) -> tuple[str, str] | None:
    """What a resource acts on, as `observe` calls it; None for what cannot be observed afterwards."""
    parameters = json.loads(resource.parameters)
    match resource.module:
        case "EventBridge":
            return "rule", parameters["EventRuleName"]
        case "ECS":
            return "service", f"{execution.application}/{parameters['EcsServiceName']}"
        case "EC2":
            return "instance", parameters["Orchestrator_HostNames"][0]
        case _:
            return None


def wanted_of(execution: Execution, resource: Resource) -> str:
    """What a resource's target shall be after it has succeeded."""
    is_down = execution.phase == "CLEANUP"
    match resource.module:
        case "EventBridge":
            return "DISABLED" if is_down else "ENABLED"
        case "ECS":
            return "0" if is_down else "2"
        case _:
            return "stopped" if is_down else "running"


def observe(cloud: LocalCloud) -> dict[tuple[str, str], str]:
    """What the cloud itself says of everything that can be observed."""
    facts: dict[tuple[str, str], str] = {}
    events = cloud.client("events", STANDBY_REGION, WORKLOAD_ACCOUNT)
    for rule in events.list_rules()["Rules"]:
        facts["rule", rule["Name"]] = rule["State"]
    ecs = cloud.client("ecs", STANDBY_REGION, WORKLOAD_ACCOUNT)
    for arn in ecs.list_clusters()["clusterArns"]:
        services = ecs.describe_services(cluster=arn, services=ecs.list_services(cluster=arn)["serviceArns"])["services"]
        for service in services:
            facts["service", f"{arn.rpartition('/')[2]}/{service['serviceName']}"] = str(service["desiredCount"])
    ec2 = cloud.client("ec2", STANDBY_REGION, WORKLOAD_ACCOUNT)
    for reservation in ec2.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            names = [tag["Value"] for tag in instance.get("Tags", []) if tag["Key"] == "Orchestrator:HostName"]
            for name in names:
                facts["instance", name] = instance["State"]["Name"]
    return facts


def scan(cloud: LocalCloud, table: str) -> Iterator[Mapping[str, Any]]:
    """Every item of a table."""
    for page in cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table):
        yield from page["Items"]
