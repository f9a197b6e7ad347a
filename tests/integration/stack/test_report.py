"""The recovery report of a run that really was: its numbers, reckoned once more from the table's raw items, by other means."""

import io
import json
import re
from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import Any

from pypdf import PdfReader

from dr_core.records import ExecutionStatus
from localcloud.cloud import STANDBY_REGION, WORKLOAD_ACCOUNT
from localcloud.faults import Effect, Fault
from tests.integration.stack.operator import Operator, drctl

ENDS = ("Resource Succeeded", "Resource Failed", "Resource Timed Out", "Resource Skipped", "Resource Cancelled")


def milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def words(length: int) -> str:
    minutes, rest = divmod(length, 60_000)
    return f"{minutes} min {rest / 1000:.3f} s" if minutes else f"{rest / 1000:.3f} s"


class Ledger:
    """What the table holds of one execution, in DynamoDB's own words."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        of = {item["sk"]["S"]: item for item in items}
        self.meta = of["META"]
        self.layers = {int(sk[6:]): item for sk, item in of.items() if sk.startswith("LAYER#")}
        self.resources = {sk[4:]: item for sk, item in of.items() if sk.startswith("RES#")}
        self.events = [(item["detail_type"]["S"], json.loads(item["detail"]["S"])) for sk, item in sorted(of.items()) if "EVT#" in sk]
        self.calls = [
            (sk.split("#")[1], int(item["attempt"]["N"]), call)
            for sk, item in of.items()
            if sk.startswith("CALLS#")
            for call in json.loads(item["calls"]["S"])
        ]

    def changed(self, resource_id: str, attempt: int) -> int | None:
        """When the attempt first called something that changes."""
        reading = re.compile(r"(Describe|List|Get)")
        made = [(of, number, call) for of, number, call in self.calls if call["at"] and not reading.match(call["action"].split(":")[1])]
        return min((milliseconds(call["at"]) for of, number, call in made if (of, number) == (resource_id, attempt)), default=None)

    def critical(self, layer: int) -> str:
        """The resource of the layer that ended last."""
        ended = [
            (milliseconds(one["occurredAt"]), one["resourceId"]) for kind, one in self.events if kind in ENDS and one["layer"] == layer
        ]
        return str(max(ended)[1])

    def kind_at(self, moment: int, layer: int, resource_id: str) -> str:
        """What the layer waits for at that moment, by the last that had happened to its critical resource."""
        past = [
            (kind, one)
            for kind, one in self.events
            if one.get("resourceId") == resource_id and one["layer"] == layer and milliseconds(one["occurredAt"]) <= moment
        ]
        if not past:
            return "ORCHESTRATION"
        kind, last = past[-1]
        if kind == "Resource Waiting":
            return "AWS"
        if kind == "Resource Failed" and last["willRetry"]:
            return "RETRY"
        called = self.changed(resource_id, last["attempt"])
        acting = kind in ("Resource Started", "Resource Measured") and called is not None and called <= moment
        return "AWS" if acting else "ORCHESTRATION"

    def time_of(self, layer: int) -> Counter[str]:
        """The milliseconds of a layer that closed once, by what they were spent on."""
        begin, end = (milliseconds(self.layers[layer][name]["S"]) for name in ("started_at", "ended_at"))
        moments = {milliseconds(one["occurredAt"]) for _, one in self.events} | {milliseconds(call["at"]) for _, _, call in self.calls}
        cuts = sorted({begin, end, *(one for one in moments if begin < one < end)})
        found: Counter[str] = Counter()
        for start, stop in pairwise(cuts):
            found[self.kind_at(start, layer, self.critical(layer))] += stop - start
        return found


def prepare(operator: Operator) -> str:
    """Request a phase whose first layer scales a service to zero, which fails once, beside a rule; its second layer scales another one."""
    ecs = operator.cloud.client("ecs", STANDBY_REGION, WORKLOAD_ACCOUNT)
    events = operator.cloud.client("events", STANDBY_REGION, WORKLOAD_ACCOUNT)
    subnet = operator.cloud.client("ec2", STANDBY_REGION, WORKLOAD_ACCOUNT).describe_subnets()["Subnets"][0]["SubnetId"]
    ecs.create_cluster(clusterName="ledger")
    fargate = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
    ecs.register_task_definition(family="ledger", containerDefinitions=[{"name": "app", "image": "app", "memory": 512}], **fargate)
    network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": []}}
    for name in ("one", "two"):
        service = {"cluster": "ledger", "serviceName": name, "taskDefinition": "ledger", "desiredCount": 2, "launchType": "FARGATE"}
        ecs.create_service(**service, networkConfiguration=network)
    events.put_rule(Name="ledger", EventPattern='{"source": ["ledger"]}', State="ENABLED")

    def resource(action: str, name: str, **parameters: object) -> dict[str, object]:
        return {"action": action, "resourceName": name, "AccountId": WORKLOAD_ACCOUNT, "parameters": {"Force": True, **parameters}}

    first = [
        resource("ECS", "service-one", EcsClusterName="ledger", EcsServiceName="one"),
        resource("EventBridge", "rule", EventRuleName="ledger"),
    ]
    second = [resource("ECS", "service-two", EcsClusterName="ledger", EcsServiceName="two")]
    layers = [{"layer": 1, "resources": first}, {"layer": 2, "resources": second}]
    operator.publish("storefront", "Ledger.json", json.dumps(layers).encode())
    return operator.request(phase="CLEANUP", manifest="storefront/Ledger.json")


def test_the_reports_numbers_are_the_tables(operator: Operator) -> None:
    execution_id = prepare(operator)
    broken = Fault(effect=Effect.ERROR, account=WORKLOAD_ACCOUNT, service="ecs", operation="UpdateService", code="ServerException", last=1)
    with operator.cloud.faults.during(broken):
        operator.decide(execution_id, "approve")
        assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
    ledger = Ledger(operator.items(execution_id))
    written = drctl("report", execution_id, "--format", "json")
    assert written.returncode == 0, written.stderr
    report = json.loads(written.stdout)

    total = milliseconds(ledger.meta["ended_at"]["S"]) - milliseconds(ledger.meta["started_at"]["S"])
    spent = [ledger.time_of(layer) for layer in (1, 2)]
    time = sum(spent, Counter())
    assert time["AWS"] > 0 and time["RETRY"] > 0 and time["ORCHESTRATION"] > 0, "the story has time of each kind"
    assert sum(time.values()) == total
    shown = report["time"]
    assert shown["totalMs"] == report["recovery"]["measuredMs"] == total == shown["awsMs"] + shown["overheadMs"]
    assert (shown["awsMs"], shown["retryMs"], shown["orchestrationMs"], shown["peopleMs"]) == (
        time["AWS"],
        time["RETRY"],
        time["ORCHESTRATION"],
        0,
    )
    for layer, kinds, one in zip((1, 2), spent, report["layers"], strict=True):
        assert (one["number"], one["time"]["awsMs"], one["time"]["overheadMs"]) == (
            layer,
            kinds["AWS"],
            kinds["RETRY"] + kinds["ORCHESTRATION"],
        )
    assert sum(step["durationMs"] for step in report["criticalPath"]) == total
    told = next(one for kind, one in ledger.events if kind == "Execution Completed")
    assert round(told["rtoSeconds"] * 1000) == total

    assert report["request"]["manifestSha256"] == ledger.meta["manifest_sha256"]["S"]
    assert milliseconds(report["request"]["requestedAt"]) == milliseconds(ledger.meta["requested_at"]["S"])
    resources = {one["id"]: one for layer in report["layers"] for one in layer["resources"]}
    assert {key: (one["attempts"], one["durationMs"]) for key, one in resources.items()} == {
        key: (int(item["attempt"]["N"]), milliseconds(item["ended_at"]["S"]) - milliseconds(item["started_at"]["S"]))
        for key, item in ledger.resources.items()
    }
    assert [one["attempts"] for one in resources.values()] == [2, 1, 1]
    journalled = sorted((of, number, call["action"], call["request_id"]) for of, number, call in ledger.calls)
    assert sorted((one["resourceId"], one["attempt"], one["action"], one["requestId"]) for one in report["calls"]) == journalled
    assert [(one["kind"], one["subject"]) for one in report["deviations"]] == [
        ("CALL_FAILED", "service-one"),
        ("RETRY", "service-one (ECS)"),
    ]
    assert len(report["timeline"]) == len(ledger.events)

    s3, key = operator.cloud.client("s3"), f"storefront/CLEANUP/{execution_id}"
    bucket = operator.outputs["ReportBucketName"]
    operator.wait(lambda: s3.list_objects_v2(Bucket=bucket, Prefix=f"{key}.json").get("Contents"), "the report to be stored")
    kept = json.loads(s3.get_object(Bucket=bucket, Key=f"{key}.json")["Body"].read())
    assert {name: kept[name] for name in ("time", "layers", "criticalPath")} == {
        name: report[name] for name in ("time", "layers", "criticalPath")
    }

    said = f"{words(total)} = {words(time['AWS'])} AWS at work + {words(total - time['AWS'])} overhead"
    assert said in drctl("report", execution_id, "--format", "html").stdout
    printed = drctl("report", execution_id, "--format", "pdf", "--output", str(operator.cloud.state_dir / "report.pdf"))
    if "a PDF needs the library Pango" in printed.stderr:
        return
    assert printed.returncode == 0, printed.stderr
    pages = PdfReader(io.BytesIO((operator.cloud.state_dir / "report.pdf").read_bytes())).pages
    assert len(pages) >= 1 and said in " ".join(" ".join(page.extract_text() for page in pages).split())
