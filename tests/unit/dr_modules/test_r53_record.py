"""R53Record: record sets point where they shall, in one batch a zone, and only what is INSYNC is done."""

from typing import Any

import pytest
from pydantic import ValidationError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress
from dr_modules.r53_record import R53Record
from tests.support import scenes
from tests.support.aws import STANDBY, World, error

ACTIVATE = Phase.ACTIVATE


def api(zone: str, **more: Any) -> dict[str, Any]:
    return {
        "HostedZoneId": f"/hostedzone/{zone}",
        "R53RecordName": "api.example.com",
        "RecordType": "A",
        "RecordValue": "192.0.2.2",
        **more,
    }


def alias(zone: str, value: str = "dr-alb", **more: Any) -> dict[str, Any]:
    return api(zone, Alias="Yes", RecordValue=value, **more)


def submit(world: World, raw: object) -> Any:
    """Start, and return the module with its handles."""
    module = world.module(R53Record, ACTIVATE)
    module.start(raw, again=True)
    return module


def change(world: World, status: str) -> None:
    """Route 53 says that of every change."""
    world.answer("route53", "GetChange", {"ChangeInfo": {"Id": "/change/C1", "Status": status, "SubmittedAt": "2031-03-01"}})


@pytest.mark.parametrize("there", [None, "192.0.2.1", "192.0.2.2"], ids=["fresh", "points elsewhere", "other TTL"])
@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_a_record_points_where_it_shall(world: World, there: str | None, mode: Mode) -> None:
    zone = scenes.zone(world)
    if there:
        scenes.record(world, zone, "api.example.com", [there])

    assert world.drive(R53Record, ACTIVATE, api(zone), mode).progress is Progress.DONE
    assert scenes.records(world, zone)["api.example.com"]["ResourceRecords"] == [{"Value": "192.0.2.2"}]
    assert scenes.records(world, zone)["api.example.com"]["TTL"] == 60
    assert world.changes == ["ChangeResourceRecordSets"]
    world.calls.clear()
    assert world.drive(R53Record, ACTIVATE, api(zone), mode).progress is Progress.DONE
    assert world.changes == []


def test_one_batch_for_each_zone(world: World) -> None:
    one, other = scenes.zone(world), scenes.zone(world, "example.org")
    scenes.record(world, one, "done.example.com", ["192.0.2.2"], TTL=60)
    raw = [
        api(one),
        api(other, R53RecordName="api.example.org"),
        api(one, R53RecordName="www.example.com"),
        api(one, R53RecordName="done.example.com"),
    ]

    assert world.drive(R53Record, ACTIVATE, raw).progress is Progress.DONE

    batches = [call.parameters for call in world.calls if call.changes]
    names = [[c["ResourceRecordSet"]["Name"] for c in batch["ChangeBatch"]["Changes"]] for batch in batches]
    assert names == [["api.example.com.", "www.example.com."], ["api.example.org."]]
    assert set(scenes.records(world, one)) == {"api.example.com", "www.example.com", "done.example.com"}


def test_a_change_that_is_pending_is_not_done(world: World) -> None:
    zone = scenes.zone(world)
    module = submit(world, api(zone))
    change(world, "PENDING")  # while the record already reads back as asked
    assert module.observe(api(zone)).progress is Progress.IN_PROGRESS
    change(world, "INSYNC")
    later = world.module(R53Record, ACTIVATE, handles=module.handles)
    assert later.observe(api(zone)).progress is Progress.DONE


def test_every_record_of_a_batch_waits_for_its_change(world: World) -> None:
    zone = scenes.zone(world)
    raw = [api(zone), api(zone, R53RecordName="www.example.com")]
    module = submit(world, raw)
    assert [set(handle) for handle in module.handles] == [{"change", "attempt"}] * 2
    change(world, "PENDING")
    assert module.observe(raw[1:]).progress is Progress.IN_PROGRESS


def test_a_change_that_an_earlier_attempt_left_pending_is_submitted_again(world: World) -> None:
    zone = scenes.zone(world)
    module = submit(world, api(zone))
    change(world, "PENDING")
    second = world.module(R53Record, ACTIVATE, handles=module.handles, attempt=2)
    assert second.observe(api(zone)).progress is Progress.NOT_STARTED
    second.start(api(zone), again=True)
    assert world.changes == ["ChangeResourceRecordSets"] * 2
    assert second.observe(api(zone)).progress is Progress.IN_PROGRESS


def test_a_record_that_somebody_changes_back_is_seen(world: World) -> None:
    zone = scenes.zone(world)
    module = submit(world, api(zone))
    scenes.record(world, zone, "api.example.com", ["192.0.2.1"])
    assert module.observe(api(zone)).progress is Progress.NOT_STARTED


@pytest.mark.parametrize(("kind", "prefix"), [("application", "dualstack."), ("network", "")])
def test_an_alias_of_a_load_balancer_by_name(world: World, kind: str, prefix: str) -> None:
    zone, balancer = scenes.zone(world), scenes.balancer(world, kind=kind)
    assert world.drive(R53Record, ACTIVATE, alias(zone)).progress is Progress.DONE
    target = scenes.records(world, zone)["api.example.com"]["AliasTarget"]
    assert target["DNSName"].rstrip(".") == (prefix + balancer["DNSName"]).lower().rstrip(".")
    assert target["HostedZoneId"] == balancer["CanonicalHostedZoneId"]
    assert target["EvaluateTargetHealth"] is False
    assert {call.region for call in world.calls if call.service == "elasticloadbalancing"} == {STANDBY}
    world.calls.clear()
    assert world.drive(R53Record, ACTIVATE, alias(zone)).progress is Progress.DONE
    assert world.changes == []


def test_an_alias_of_a_load_balancer_by_dns_name(world: World) -> None:
    zone, balancer = scenes.zone(world), scenes.balancer(world)
    scenes.balancer(world, "another")
    assert world.drive(R53Record, ACTIVATE, alias(zone, "dualstack." + balancer["DNSName"].upper())).progress is Progress.DONE
    assert scenes.records(world, zone)["api.example.com"]["AliasTarget"]["HostedZoneId"] == balancer["CanonicalHostedZoneId"]


@pytest.mark.parametrize(
    ("value", "more", "expected"),
    [
        ("d111.cloudfront.net", {}, "Z2FDTNDATAQYW2"),
        ("www.example.com", {}, "same"),
        ("d-1.execute-api.us-west-2.amazonaws.com", {"AliasHostedZoneId": "/hostedzone/Z2OJLYMUO9EFXC"}, "Z2OJLYMUO9EFXC"),
    ],
)
def test_an_alias_of_a_dns_name(world: World, value: str, more: dict[str, Any], expected: str) -> None:
    zone = scenes.zone(world)
    scenes.record(world, zone, "www.example.com", ["192.0.2.9"])
    assert world.drive(R53Record, ACTIVATE, alias(zone, value, **more)).progress is Progress.DONE
    target = scenes.records(world, zone)["api.example.com"]["AliasTarget"]
    assert target["HostedZoneId"] == (zone if expected == "same" else expected)
    assert target["DNSName"].rstrip(".") == value


@pytest.mark.parametrize("value", ["dr-alb", "dr-alb-1.us-east-1.elb.amazonaws.com"])
def test_a_load_balancer_that_is_not_there_fails_with_the_remedy(world: World, value: str) -> None:
    zone = scenes.zone(world)
    with pytest.raises(ModuleError, match=r"there is no load balancer .* in us-west-2: correct RecordValue") as raised:
        submit(world, alias(zone, value))
    assert raised.value.error_class is ErrorClass.TERMINAL
    assert world.changes == []


@pytest.mark.parametrize(
    ("state", "ready"),
    [("active", True), ("active_impaired", True), ("provisioning", False), ("failed", False), ("a-state-to-come", False)],
)
def test_a_load_balancer_that_is_not_ready_is_not_pointed_at(world: World, state: str, ready: bool) -> None:
    zone, balancer = scenes.zone(world), scenes.balancer(world)
    world.answer("elbv2", "DescribeLoadBalancers", {"LoadBalancers": [{**balancer, "State": {"Code": state}}]})
    if ready:
        submit(world, alias(zone))
    else:
        with pytest.raises(ModuleError, match=f"load balancer dr-alb is {state}") as raised:
            submit(world, alias(zone))
        assert raised.value.error_class is (ErrorClass.TERMINAL if state == "failed" else ErrorClass.RETRYABLE)
    assert bool(world.changes) is ready


def test_what_the_manifest_does_not_name_is_kept(world: World) -> None:
    zone = scenes.zone(world)
    for name, weight in (("east", 200), ("west", 0)):
        scenes.record(world, zone, "api.example.com", ["192.0.2.1"], SetIdentifier=name, Weight=weight, HealthCheckId="hc-1")

    assert world.drive(R53Record, ACTIVATE, api(zone, SetIdentifier="west")).progress is Progress.DONE

    found = scenes.records(world, zone)["api.example.comwest"]
    assert (found["Weight"], found["HealthCheckId"], found["ResourceRecords"]) == (0, "hc-1", [{"Value": "192.0.2.2"}])
    assert world.drive(R53Record, ACTIVATE, api(zone, SetIdentifier="west", Weight="255")).progress is Progress.DONE
    assert scenes.records(world, zone)["api.example.comwest"]["Weight"] == 255
    assert scenes.records(world, zone)["api.example.comeast"]["Weight"] == 200


def test_the_only_record_set_of_a_name_need_not_be_identified(world: World) -> None:
    zone = scenes.zone(world)
    scenes.record(world, zone, "api.example.com", ["192.0.2.1"], SetIdentifier="primary", Failover="PRIMARY")
    assert world.drive(R53Record, ACTIVATE, api(zone)).progress is Progress.DONE
    assert set(scenes.records(world, zone)) == {"api.example.comprimary"}
    assert scenes.records(world, zone)["api.example.comprimary"]["Failover"] == "PRIMARY"


def test_one_of_several_record_sets_must_be_identified(world: World) -> None:
    zone = scenes.zone(world)
    for name in ("east", "west"):
        scenes.record(world, zone, "api.example.com", ["192.0.2.1"], SetIdentifier=name, Weight=1)
    with pytest.raises(ModuleError, match="has the record sets east, west: name one in SetIdentifier"):
        submit(world, api(zone))
    assert world.changes == []


def test_another_routing_policy_replaces_the_former_one(world: World) -> None:
    zone = scenes.zone(world)
    scenes.record(world, zone, "api.example.com", ["192.0.2.1"], SetIdentifier="west", Weight=10)
    submit(world, api(zone, SetIdentifier="west", Region="us-west-2"))
    sent = next(call for call in world.calls if call.changes).parameters["ChangeBatch"]["Changes"][0]["ResourceRecordSet"]
    assert (sent["Region"], "Weight" in sent) == ("us-west-2", False)


def test_the_health_evaluation_of_an_alias_is_kept_unless_named(world: World) -> None:
    zone = scenes.zone(world)
    scenes.balancer(world)
    assert world.drive(R53Record, ACTIVATE, alias(zone, EvaluateTargetHealth="Yes")).progress is Progress.DONE
    scenes.balancer(world, "other")
    world.drive(R53Record, ACTIVATE, alias(zone, "other"))
    assert scenes.records(world, zone)["api.example.com"]["AliasTarget"]["EvaluateTargetHealth"] is True
    world.drive(R53Record, ACTIVATE, alias(zone, "other", EvaluateTargetHealth=False))
    assert scenes.records(world, zone)["api.example.com"]["AliasTarget"]["EvaluateTargetHealth"] is False


@pytest.mark.parametrize(
    ("there", "asked", "equal"),
    [
        ({"TTL": 60}, {}, True),
        ({"TTL": 60, "Name": "API.example.com."}, {"R53RecordName": "Api.Example.Com"}, True),
        ({"TTL": 60}, {"RecordValue": ["192.0.2.2", "192.0.2.3"]}, False),
        ({"TTL": 300}, {}, False),
        ({"TTL": 300}, {"TTL": "300"}, True),
        ({"TTL": 60, "Name": "\\052.example.com."}, {"R53RecordName": "*.example.com"}, True),
        (
            {"TTL": 60, "Type": "CNAME", "ResourceRecords": [{"Value": "Dr.example.net"}]},
            {"RecordType": "CNAME", "RecordValue": "dr.example.net."},
            True,
        ),
        (
            {"TTL": 60, "ResourceRecords": [{"Value": "192.0.2.3"}, {"Value": "192.0.2.2"}]},
            {"RecordValue": ["192.0.2.2", "192.0.2.3"]},
            True,
        ),
    ],
)
def test_what_reads_back_as_asked(world: World, there: dict[str, Any], asked: dict[str, Any], equal: bool) -> None:
    record = {"Name": "api.example.com.", "Type": "A", "ResourceRecords": [{"Value": "192.0.2.2"}], **there}
    following = {"Name": "zzz.example.com.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.2"}]}
    page = {"ResourceRecordSets": [record, following], "IsTruncated": False, "MaxItems": "300"}
    world.answer("route53", "ListResourceRecordSets", page)
    seen = world.module(R53Record, ACTIVATE).observe(api("Z1", **asked))
    assert seen.progress is (Progress.DONE if equal else Progress.NOT_STARTED)


def test_a_record_of_another_type_is_not_the_record(world: World) -> None:
    zone = scenes.zone(world)
    scenes.record(world, zone, "api.example.com", ["2001:db8::1"], Type="AAAA")
    module = world.module(R53Record, ACTIVATE)
    assert module.observe(api(zone)).progress is Progress.NOT_STARTED
    assert module.record_before(api(zone)) == [{"hostedZoneId": zone, "recordSet": None}]


def test_a_drill_leaves_dns_alone(world: World) -> None:
    zone = scenes.zone(world)
    module = world.module(R53Record, ACTIVATE, Mode.DRILL)
    assert [found.code for found in module.obstacles(api(zone))] == ["RefusedInDrill"]
    with pytest.raises(ModuleError, match="a drill does not run"):
        module.start(api(zone), again=True)
    assert world.changes == []


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("InvalidChangeBatch", 400, ErrorClass.TERMINAL),
        ("NoSuchHostedZone", 404, ErrorClass.TERMINAL),
        ("PriorRequestNotComplete", 400, ErrorClass.THROTTLED),
    ],
)
def test_which_errors_a_retry_can_mend(world: World, code: str, status: int, expected: ErrorClass) -> None:
    zone = scenes.zone(world)
    world.answer("route53", "ChangeResourceRecordSets", error(code), status)
    with pytest.raises(ModuleError) as raised:
        submit(world, api(zone))
    assert (raised.value.code, raised.value.error_class) == (code, expected)


def test_what_was_before_is_recorded(world: World) -> None:
    zone = scenes.zone(world)
    scenes.record(world, zone, "api.example.com", ["192.0.2.1"])
    before = world.module(R53Record, ACTIVATE).record_before([api(zone), api(zone, R53RecordName="new.example.com")])
    former = {"Name": "api.example.com.", "Type": "A", "TTL": 300, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    assert before == [{"hostedZoneId": zone, "recordSet": former}, {"hostedZoneId": zone, "recordSet": None}]


def test_one_record_alone_is_submitted_the_same_way(world: World) -> None:
    zone = scenes.zone(world)
    module = world.module(R53Record, ACTIVATE)
    handle = module.activate(module.parse(api(zone))[0])
    assert handle is not None
    assert set(handle) == {"change", "attempt"}


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"Alias": "Yes", "RecordValue": ["a", "b"]}, "exactly one RecordValue"),
        ({"Weight": 1}, "Weight needs SetIdentifier"),
        ({"Weight": 1, "Failover": "PRIMARY", "SetIdentifier": "x"}, "one routing policy, not Weight and Failover"),
        ({"Failover": "THIRD", "SetIdentifier": "x"}, "Failover"),
        ({"Weight": 256, "SetIdentifier": "x"}, "Weight"),
        ({"RecordValue": []}, "RecordValue"),
        ({"Alias": "Perhaps"}, "Alias"),
    ],
)
def test_what_does_not_fit_together_is_refused(more: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        R53Record.parse(api("Z1", **more))
