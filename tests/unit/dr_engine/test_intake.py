"""A request becomes an execution, or a refusal that says everything wrong with it; before that nothing is touched."""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from dr_core import flow
from dr_core.application import read_application
from dr_core.commands import Command
from dr_core.events import MAX_EVENT_BYTES, Incoming, execution_id
from dr_core.items import ExecutionItem, ResourceItem
from dr_core.phases import Phase
from dr_core.records import ApprovalStatus, ExecutionStatus, ResourceStatus
from dr_core.state import Refusal
from dr_core.target import TargetAccess
from dr_engine.bounds import outside
from dr_engine.intake import Intake
from dr_engine.plan import check_manifest, refuse_outside
from dr_modules.base import modules
from tests.support.control_plane import ACCOUNT, HOME, OTHER, T0, Cloud, error

BUCKET = "the-manifests"
REQUEST: dict[str, Any] = {
    "application": "shop",
    "phase": "INSTANTIATE",
    "sourceRegion": OTHER,
    "targetRegion": HOME,
    "requestedBy": "olga",
    "reason": "drill",
}


def service(name: str = "api", **parameters: object) -> dict[str, Any]:
    """A resource of a manifest."""
    wanted = {"EcsClusterName": "prod", "EcsServiceName": name, "EcsDesiredSize": 2, **parameters}
    return {"action": "ECS", "resourceName": name, "parameters": wanted}


def manifest(*resources: dict[str, Any]) -> list[dict[str, Any]]:
    """A manifest of one layer."""
    return [{"layer": 1, "resources": list(resources)}]


@dataclass
class Desk:
    """Where requests come in."""

    cloud: Cloud
    intake: Intake

    def publish(self, content: object, key: str = "shop/Instantiate.json") -> None:
        """Put a manifest into the bucket."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def take(self, event_id: str = "event-1", **changed: object) -> str:
        """`Execution Requested` is delivered. Gives the id that it has."""
        detail = {name: value for name, value in {**REQUEST, **changed}.items() if value is not None}
        self.deliver(event_id, detail)
        return execution_id(event_id, T0)

    def deliver(self, event_id: str, detail: dict[str, Any]) -> None:
        """The same for any detail."""
        incoming = Incoming.model_validate({"id": event_id, "detail-type": "Execution Requested", "time": T0, "detail": detail})
        self.intake.take(incoming, self.cloud.clock())

    def refusal(self, **changed: object) -> Refusal:
        """The request is refused, without a lock taken and without a change of anything but the table."""
        self.cloud.calls.clear()
        made = self.take(**changed)  # type: ignore[arg-type]
        reading = ("Get", "List", "Describe", "Query", "Scan")
        touched = {call.operation for call in self.cloud.calls if not call.operation.startswith(reading)}
        assert touched <= {"TransactWriteItems", "AssumeRole"}
        found = self.cloud.table.refusal(made)
        assert found and self.cloud.table.load(made) is None
        assert self.cloud.events(made) == ["Execution Refused"]
        return found


@pytest.fixture
def desk(cloud: Cloud) -> Desk:
    """A bucket with a good manifest."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    access = TargetAccess("the-role", "the-external-id")
    made = Desk(cloud, Intake(cloud.table, access, s3, BUCKET, HOME, ACCOUNT, 3600))
    made.publish(manifest(service("api"), service("web")))
    return made


def test_a_good_request_waits_for_its_approval(desk: Desk, cloud: Cloud) -> None:
    state = cloud.table.load(desk.take(clientToken="t-1"))
    assert state and state.approval
    execution = state.execution
    assert (execution.status, execution.mode, execution.requested_by) == (ExecutionStatus.PENDING_APPROVAL, "planned", "olga")
    assert (execution.home_region, execution.client_token, execution.layers_total) == (HOME, "t-1", 1)
    body = boto3.client("s3").get_object(Bucket=BUCKET, Key="shop/Instantiate.json", VersionId=execution.manifest_version_id)["Body"]
    assert execution.manifest_sha256 == hashlib.sha256(body.read()).hexdigest()
    assert (state.approval.status, state.approval.manifest_sha256) == (ApprovalStatus.PENDING, execution.manifest_sha256)
    assert state.approval.expires_at == T0 + timedelta(seconds=3600)
    resources = cloud.table.resources(execution.id)
    assert [(r.name, r.module, r.account, r.status) for r in resources] == [
        ("api", "ECS", ACCOUNT, ResourceStatus.PENDING),
        ("web", "ECS", ACCOUNT, ResourceStatus.PENDING),
    ]
    assert cloud.table.locked_by("shop", [HOME, OTHER]) == {HOME: execution.id, OTHER: execution.id}
    assert cloud.table.due(HOME, T0) == [execution.id]
    assert cloud.events(execution.id) == ["Execution Requested"]


def test_a_drill_of_what_leaves_production_untouched_is_taken(desk: Desk, cloud: Cloud) -> None:
    state = cloud.table.load(desk.take(mode="drill"))
    assert state and state.execution.mode == "drill"


def test_a_drill_leaves_out_what_would_change_production_and_says_so(desk: Desk, cloud: Cloud) -> None:
    rule = {"action": "EventBridge", "resourceName": "jobs", "parameters": {"EventRuleName": "daily"}}
    function = {"action": "LambdaFunction", "resourceName": "hook", "parameters": {"FunctionName": "warm"}}
    record = {"HostedZoneId": "Z1", "R53RecordName": "a.example.com", "RecordType": "A", "RecordValue": "192.0.2.1", "TTL": 60}
    dns = {"action": "R53Record", "resourceName": "dns", "parameters": record}
    desk.publish(manifest(rule, function, dns), "shop/Activate.json")
    stored = cloud.table.resources(desk.take(phase="ACTIVATE", mode="drill"))
    assert [(one.name, one.status, one.detail) for one in stored] == [
        ("jobs", ResourceStatus.SKIPPED, "left out of the drill: EventBridge changes production in ACTIVATE"),
        ("hook", ResourceStatus.PENDING, ""),
        ("dns", ResourceStatus.SKIPPED, "left out of the drill: R53Record changes production in ACTIVATE"),
    ]
    planned = cloud.table.resources(desk.take("event-2", application="shop", phase="ACTIVATE", mode="planned", dryRun=True))
    assert {one.status for one in planned} == {ResourceStatus.PENDING}


def test_a_drill_with_nothing_to_run_is_refused(desk: Desk) -> None:
    rule = {"action": "EventBridge", "resourceName": "jobs", "parameters": {"EventRuleName": "daily"}}
    desk.publish(manifest(rule), "shop/Activate.json")
    refused = desk.refusal(phase="ACTIVATE", mode="drill")
    assert refused.problems == [
        "shop/Activate.json: nothing is left for a drill: EventBridge would change production in ACTIVATE (drill the other phase)"
    ]


def test_the_same_event_twice_is_one_request(desk: Desk, cloud: Cloud) -> None:
    desk.take()
    before = cloud.items()
    cloud.clock.advance(300)
    desk.publish(manifest(service("other", EcsDesiredSize=99)))
    desk.take()
    assert cloud.items() == before


def cancelled(cloud: Cloud, made: str) -> None:
    """The execution is cancelled before anybody has approved it."""
    state = cloud.table.load(made)
    assert state and flow.follow(cloud.table, state, Command("cancel", "olga", "enough"), cloud.clock)
    assert cloud.table.locked_by("shop", [HOME]) == {}


def ended(cloud: Cloud, made: str, *taken: float, mode: str = "planned") -> None:
    """The phase has run, and the first resource was waited for for so many seconds."""
    cancelled(cloud, made)
    pk = f"EXEC#{made}"
    ExecutionItem(pk, "META").update([ExecutionItem.started_at.set(cloud.clock()), ExecutionItem.mode.set(mode)])
    item = ResourceItem.get(pk, "RES#0001-001")
    item.status, item.check_no, item.taken = "SUCCEEDED", 3, taken
    item.save()
    cloud.clock.advance(60)


def known(cloud: Cloud, made: str) -> dict[str, tuple[tuple[float, ...], ...]]:
    """What each resource of an execution knows of earlier runs."""
    return {resource.name: resource.known for resource in cloud.table.resources(made)}


def test_a_run_knows_how_long_it_took_before(desk: Desk, cloud: Cloud) -> None:
    first = desk.take("event-1")
    assert known(cloud, first) == {"api": (), "web": ()}
    ended(cloud, first, 90.0)
    second = desk.take("event-2")
    assert known(cloud, second) == {"api": ((90.0,),), "web": ()}
    ended(cloud, second, 80.0)
    cancelled(cloud, desk.take("event-3"))
    assert known(cloud, desk.take("event-4"))["api"] == ((80.0,), (90.0,)), "what never began is passed over"


def test_a_run_of_the_same_mode_tells_more(desk: Desk, cloud: Cloud) -> None:
    ended(cloud, desk.take("event-1"), 90.0)
    ended(cloud, desk.take("event-2"), 2.0, mode="drill")
    assert known(cloud, desk.take("event-3"))["api"] == ((90.0,),)


def test_a_run_of_another_mode_tells_more_than_none(desk: Desk, cloud: Cloud) -> None:
    ended(cloud, desk.take("event-1"), 2.0, mode="drill")
    assert known(cloud, desk.take("event-2"))["api"] == ((2.0,),)


def test_another_phase_and_a_dry_run_are_not_looked_up(desk: Desk, cloud: Cloud) -> None:
    ended(cloud, desk.take("event-1"), 90.0)
    desk.publish(manifest(service("api")), "shop/Cleanup.json")
    cleanup = desk.take("event-2", phase="CLEANUP")
    assert known(cloud, cleanup) == {"api": ()}
    assert known(cloud, desk.take("event-3", dryRun=True))["api"] == ()


def test_the_same_event_after_all_is_over_is_still_the_same_request(desk: Desk, cloud: Cloud) -> None:
    cancelled(cloud, desk.take())
    assert desk.take("event-2"), "the next request has the locks"
    before = cloud.items()
    desk.take("event-1")
    assert cloud.items() == before, "neither begun again nor refused"


def test_a_refused_event_stays_refused(desk: Desk, cloud: Cloud) -> None:
    desk.publish(b"{")
    desk.refusal()
    desk.publish(manifest(service()))
    before = cloud.items()
    desk.take()
    assert cloud.items() == before, "a request that is sent again is another event"
    assert cloud.table.load(desk.take("event-2"))


def test_two_events_with_one_client_token_are_one_request(desk: Desk, cloud: Cloud) -> None:
    first = desk.take("event-1", clientToken="t-1")
    before = cloud.items()
    cloud.calls.clear()
    desk.take("event-2", clientToken="t-1")
    assert cloud.items() == before and cloud.table.by_token("shop", "t-1") == first
    cancelled(cloud, first)
    before = cloud.items()
    desk.take("event-3", clientToken="t-1")
    assert cloud.items() == before, "also when it is over"
    assert cloud.made("GetObject", "AssumeRole") == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"colour": "red"}, "Execution Requested, key colour: Extra inputs are not permitted (known are application,"),
        ({"reason": None}, "Execution Requested, key reason: Field required (add it)"),
        ({"phase": "ACTIVATE"}, 'ACTIVATE needs a mode: "planned"'),
        ({"phase": "CLEANUP"}, f"shop has no manifest for CLEANUP (publish it to s3://{BUCKET}/shop/Cleanup.json)"),
        ({"manifest": "shop/none.json"}, f"shop has no manifest for INSTANTIATE (publish it to s3://{BUCKET}/shop/none.json)"),
        ({"application": "blog"}, "blog has no manifest for INSTANTIATE"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(desk: Desk, changed: dict[str, object], said: str) -> None:
    refusal = desk.refusal(**changed)
    assert len(refusal.problems) == 1 and said in refusal.problems[0]
    assert refusal.request == {name: value for name, value in {**REQUEST, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "shop/Instantiate.json: line 1, column 2: Expecting property name"),
        (b"\xff", "shop/Instantiate.json:"),
        (manifest(service(EcsDesiredSize=-1)), "layer 1, resource api, key parameters.EcsDesiredSize"),
        (manifest({**service(), "action": "EKS"}), "there is no module EKS (did you mean ECS"),
        (manifest(service(EcsClusterName="!Import Nothing")), "there is no export Nothing in account 123456789012 and us-west-2"),
        (manifest(service(EcsClusterName="resolve:ssm:/no")), "the SSM parameter /no could not be read in account 123456789012"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(desk: Desk, content: object, said: str) -> None:
    desk.publish(content)
    refusal = desk.refusal()
    assert len(refusal.problems) == 1 and said in refusal.problems[0], refusal.problems


def test_everything_wrong_is_said_at_once(desk: Desk) -> None:
    desk.publish(manifest(service("api", EcsDesiredSize="x", Colour="red"), {**service("web"), "action": "EKS"}))
    assert len(desk.refusal().problems) == 3


def test_an_application_in_the_hands_of_another_execution_waits(desk: Desk, cloud: Cloud) -> None:
    holder = desk.take()
    cloud.calls.clear()
    refusal = desk.refusal(event_id="event-2")
    assert refusal.problems == [
        f"Execution Requested, key application: shop in us-east-1 or us-west-2 is in the hands of execution {holder} "
        "(wait for its end, or end it)"
    ]
    assert cloud.made("GetObject", "AssumeRole") == [], "it is said before anything is read"
    assert cloud.table.locked_by("shop", [HOME, OTHER]) == {HOME: holder, OTHER: holder}


def test_a_lock_taken_at_the_last_moment_is_said_too(desk: Desk, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = desk.take()
    real, seen = cloud.table.locked_by, []

    def unaware(application: str, regions: Any, now: Any) -> dict[str, str]:
        seen.append(application)
        return {} if len(seen) == 1 else real(application, regions, now)

    monkeypatch.setattr(cloud.table, "locked_by", unaware)
    (problem,) = desk.refusal(event_id="event-2").problems
    assert f"shop in us-east-1 or us-west-2 is in the hands of execution {holder} (wait" in problem


def test_a_role_that_cannot_be_assumed_is_said(desk: Desk, cloud: Cloud) -> None:
    desk.publish(manifest(service(EcsClusterName="resolve:ssm:/cluster")))
    cloud.answer("sts", "AssumeRole", error("AccessDenied"), status=403)
    (problem,) = desk.refusal().problems
    assert "cannot assume arn:aws:iam::123456789012:role/the-role" in problem


def test_references_are_resolved_in_the_account_of_their_resource(desk: Desk, cloud: Cloud) -> None:
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name="/cluster", Value="prod-west", Type="String")
    ssm.put_parameter(Name="/secret", Value="s3cr3t", Type="SecureString")
    desk.publish(manifest(service(EcsClusterName="resolve:ssm:/cluster", EcsServiceName="resolve:ssm:/secret")))
    (resource,) = cloud.table.resources(desk.take())
    assert json.loads(resource.parameters)["EcsClusterName"] == "prod-west"
    assert json.loads(resource.parameters)["EcsServiceName"] == "resolve:ssm:/secret"
    assert "s3cr3t" not in repr(cloud.items())
    (opened,) = cloud.made("AssumeRole")
    assert "ecs:" not in opened.parameters["Policy"], "no more rights than to resolve"


def test_hundreds_of_problems_are_stored_and_told_in_part(desk: Desk, cloud: Cloud) -> None:
    desk.publish(manifest(*[service(f"api-{n}", **{f"Wrong{'x' * 60}{i}": 1 for i in range(9)}) for n in range(90)]))
    refusal = desk.refusal()
    assert len(refusal.problems) == 100
    (entry,) = cloud.table.timeline(refusal.execution_id)
    told = json.loads(entry.detail)["problems"]
    assert len(entry.detail.encode()) <= MAX_EVENT_BYTES and len(told) >= 10
    assert refusal.problems[0].startswith(f"shop/Instantiate.json, layer {told[0]['layer']}, resource {told[0]['resource']}, key ")


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"application": 7, "clientToken": 8, "phase": None},
        {"application": "\n" * 9000, "clientToken": "t" * 9000},
        {"k" * 9000: "v"},
        {**REQUEST, "reason": "ä" * 300_000},
        {**REQUEST, **{f"field-{n}": "x" * 4000 for n in range(150)}},
        {**REQUEST, "more": [[[[1.5, None, True]]]]},
    ],
    ids=["nothing", "wrong types", "long names", "long key", "long text", "many fields", "nested"],
)
def test_any_detail_is_answered(desk: Desk, cloud: Cloud, detail: dict[str, Any]) -> None:
    desk.deliver("event-1", detail)
    (stored,) = [item for item in cloud.items() if item["sk"]["S"] == "REFUSAL"]
    made = stored["pk"]["S"].removeprefix("EXEC#")
    refusal = cloud.table.refusal(made)
    assert refusal and refusal.problems and len(repr(stored)) < 400_000
    (entry,) = cloud.table.timeline(made)
    assert len(entry.detail.encode()) <= MAX_EVENT_BYTES
    before = cloud.items()
    desk.deliver("event-1", detail)
    assert cloud.items() == before


@pytest.mark.parametrize("code", ["InternalError", "AccessDenied"])
def test_what_is_not_the_requests_fault_is_tried_again(desk: Desk, cloud: Cloud, code: str) -> None:
    cloud.answer("s3", "GetObject", error(code), status=500)
    with pytest.raises(boto3.client("s3").exceptions.ClientError):
        desk.deliver("event-1", REQUEST)
    assert cloud.items() == [], "neither accepted nor refused: the queue delivers it again"
    assert cloud.table.load(desk.take())


REGISTERED = {"application": "shop", "regions": {"primary": "us-east-1", "standby": "us-west-2"}}


def test_the_recovery_time_is_the_one_registered_for_the_phase(desk: Desk, cloud: Cloud) -> None:
    desk.publish({**REGISTERED, "homeRegion": HOME, "rtoSeconds": {"INSTANTIATE": 900, "ACTIVATE": 1800}}, "shop/application.json")
    state = cloud.table.load(desk.take())
    assert state and state.execution.rto_seconds == 900


def test_a_start_away_from_home_is_refused_with_the_way_out(desk: Desk, cloud: Cloud) -> None:
    desk.publish({**REGISTERED, "homeRegion": OTHER}, "shop/application.json")
    assert desk.refusal().problems == [
        "shop/application.json, key homeRegion: the home of shop is us-east-1, and this is us-west-2 (start it in us-east-1; if "
        "us-east-1 is lost, take over here what runs there, and publish shop/application.json with homeRegion us-west-2)"
    ]
    assert cloud.table.locked_by("shop", [HOME, OTHER]) == {}


def test_away_from_home_one_may_look(desk: Desk, cloud: Cloud) -> None:
    desk.publish({**REGISTERED, "homeRegion": OTHER}, "shop/application.json")
    state = cloud.table.load(desk.take(dryRun=True))
    assert state and state.execution.dry_run


BOUNDS = {
    "accounts": [ACCOUNT],
    "parameterPaths": ["/shop/"],
    "exports": ["shop-*"],
    "arns": [f"arn:aws:ecs:*:{ACCOUNT}:cluster/shop-*"],
}
FOREIGN = "999900009999"
OWN_CLUSTER = f"arn:aws:ecs:us-west-2:{ACCOUNT}:cluster/shop-prod"
FOREIGN_CLUSTER = f"arn:aws:ecs:us-west-2:{FOREIGN}:cluster/prod"
OTHERS_CLUSTER = f"arn:aws:ecs:us-west-2:{ACCOUNT}:cluster/bank-prod"


@pytest.mark.parametrize(
    ("malicious", "key", "what"),
    [
        ({"AccountId": FOREIGN}, "AccountId", f"{FOREIGN} is none of the application's accounts"),
        ({"EcsClusterName": FOREIGN_CLUSTER}, "EcsClusterName", f"{FOREIGN_CLUSTER} is of {FOREIGN}, none of the application's accounts"),
        ({"EcsClusterName": OTHERS_CLUSTER}, "EcsClusterName", f"{OTHERS_CLUSTER} is none of the application's ARNs"),
        ({"EcsClusterName": "resolve:ssm:/bank/cluster"}, "EcsClusterName", "below none of the application's parameter paths"),
        ({"EcsClusterName": "resolve:ssm:/shop:3"}, "EcsClusterName", "below none of the application's parameter paths"),
        ({"EcsClusterName": "!Import bank-cluster"}, "EcsClusterName", "bank-cluster is none of the application's exports"),
    ],
)
def test_a_manifest_beyond_its_applications_bounds_is_refused_before_any_call(
    desk: Desk, cloud: Cloud, malicious: dict[str, str], key: str, what: str
) -> None:
    desk.publish({**REGISTERED, "bounds": BOUNDS}, "shop/application.json")
    desk.publish(manifest(service("web", EcsClusterName=OWN_CLUSTER), service("api", **malicious)))
    (problem,) = desk.refusal().problems
    assert problem.startswith("shop/Instantiate.json, layer 1, resource api, key ") and key in problem and what in problem
    assert "shop/application.json" in problem, "which says where the bounds are"
    assert {call.service for call in cloud.calls} <= {"s3", "dynamodb"}, "nobody was asked for anything: no session, no parameter"


def test_what_a_reference_stands_for_is_held_against_the_bounds_too(desk: Desk, cloud: Cloud) -> None:
    boto3.client("ssm").put_parameter(Name="/shop/cluster", Value=FOREIGN_CLUSTER, Type="String")
    desk.publish({**REGISTERED, "bounds": BOUNDS}, "shop/application.json")
    desk.publish(manifest(service("api", EcsClusterName="resolve:ssm:/shop/cluster")))
    (problem,) = desk.refusal().problems
    assert "none of the application's accounts" in problem


def test_a_manifest_within_its_bounds_is_taken(desk: Desk, cloud: Cloud) -> None:
    boto3.client("ssm").put_parameter(Name="/shop/cluster", Value=OWN_CLUSTER, Type="String")
    desk.publish({**REGISTERED, "bounds": BOUNDS}, "shop/application.json")
    desk.publish(manifest(service("api", EcsClusterName="resolve:ssm:/shop/cluster"), service("web", AccountId=ACCOUNT)))
    assert cloud.table.load(desk.take())


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "manifests").glob("*/[A-Z]*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_the_sample_manifests_stay_within_their_bounds(path: Path) -> None:
    registered = read_application("application.json", (path.parent / "application.json").read_bytes(), path.parent.name)
    made = check_manifest(path.read_bytes(), path.name, path.parent.name, Phase(path.stem.upper()), modules())
    assert registered.bounds
    refuse_outside(made, path.name, partial(outside, registered.bounds, "application.json"), "111111111111")
