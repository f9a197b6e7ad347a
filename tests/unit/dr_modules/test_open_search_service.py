"""OpenSearchService: one change up or down, done when OpenSearch has completed it and the domain is as asked."""

from typing import Any

import pytest
from pydantic import ValidationError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress, Severity
from dr_modules.open_search_service import OpenSearchService
from localcloud.extension import opensearch
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World, error
from tests.support.compute_scenes import DOMAIN, domain, size, subnets

INSTANTIATE, CLEANUP = Phase.INSTANTIATE, Phase.CLEANUP
FULL: dict[str, Any] = {
    "DomainName": DOMAIN,
    "DataNodeType": "r6g.xlarge.search",
    "DataNodeCount": "3",
    "MasterNodeType": "m6g.large.search",
    "MasterNodeCount": 3,
    "AzCount": 3,
    "TotalStorageSize": 301,
    "AutoTune": "ENABLED",
}
FLOOR = {"DomainName": DOMAIN, "DataNodeCount": 1, "MasterNodeCount": 0, "AzCount": 1, "TotalStorageSize": 90}
NODES = {"DomainName": DOMAIN, "DataNodeCount": 3}
ZONES = {"ZoneAwarenessEnabled": True, "ZoneAwarenessConfig": {"AvailabilityZoneCount": 3}}
GROWN = {"nodes": 3, "type": "r6g.xlarge.search", "masters": 3, "zones": 3, "volume": 101, "autoTune": "ENABLED"}


def replacement(world: World) -> None:
    """A larger domain in the other Region."""
    domain(world, nodes=6, volume=500, masters=3, region=PRIMARY, cluster={"InstanceType": "r6g.2xlarge.search"})


def changes(world: World) -> list[dict[str, Any]]:
    return [call.parameters for call in world.calls if call.changes]


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED, Mode.DRILL])
def test_a_small_domain_grows_in_one_change(world: World, mode: Mode) -> None:
    domain(world)
    assert world.drive(OpenSearchService, INSTANTIATE, FULL, mode).progress is Progress.DONE
    assert size(world) == GROWN
    assert world.changes == ["UpdateDomainConfig"]
    assert changes(world)[0]["EBSOptions"] == {"EBSEnabled": True, "VolumeType": "gp3", "VolumeSize": 101, "Iops": 3000}
    assert {call.region for call in world.calls} == {STANDBY}
    world.calls.clear()
    assert world.drive(OpenSearchService, INSTANTIATE, FULL, mode).progress is Progress.DONE
    assert world.changes == []


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_a_large_domain_shrinks_to_the_floor(world: World, mode: Mode) -> None:
    domain(world, nodes=3, volume=100, masters=3, cluster=ZONES)
    replacement(world)
    assert world.drive(OpenSearchService, CLEANUP, FLOOR, mode).progress is Progress.DONE
    assert size(world) == {"nodes": 1, "type": "r6g.large.search", "masters": 0, "zones": 1, "volume": 90, "autoTune": "DISABLED"}
    world.calls.clear()
    assert world.drive(OpenSearchService, CLEANUP, FLOOR).progress is Progress.DONE
    assert world.changes == []


@pytest.mark.parametrize(
    ("phase", "raw", "present", "expected"),
    [
        # INSTANTIATE never lowers.
        (INSTANTIATE, FLOOR, {"nodes": 3, "volume": 100, "masters": 3, "cluster": ZONES}, {}),
        (INSTANTIATE, {"DomainName": DOMAIN, "DataNodeType": "m6g.medium.search"}, {}, {}),
        (INSTANTIATE, {"DomainName": DOMAIN, "DataNodeType": "m5.large.search"}, {}, {"type": "m5.large.search"}),
        (INSTANTIATE, {**NODES, "TotalStorageSize": 90}, {}, {"nodes": 3}),
        (INSTANTIATE, {"DomainName": DOMAIN, "TotalStorageSize": 200}, {"nodes": 4}, {}),
        # CLEANUP never raises.
        (CLEANUP, FULL | {"AutoTune": "DISABLED"}, {}, {}),
        (CLEANUP, {"DomainName": DOMAIN, "DataNodeType": "r6g.2xlarge.search"}, {}, {}),
        (CLEANUP, {"DomainName": DOMAIN, "DataNodeType": "m6g.medium.search"}, {}, {"type": "m6g.medium.search"}),
        # What is left of the storage is spread over the nodes that are left.
        (CLEANUP, {"DomainName": DOMAIN, "DataNodeCount": 2, "TotalStorageSize": 600}, {"nodes": 6}, {"nodes": 2, "volume": 150}),
        (CLEANUP, {"DomainName": DOMAIN, "DataNodeCount": 2}, {"nodes": 6}, {"nodes": 2}),
    ],
)
def test_each_phase_goes_one_way(
    world: World, phase: Phase, raw: dict[str, Any], present: dict[str, Any], expected: dict[str, Any]
) -> None:
    domain(world, **present)
    replacement(world)
    was = size(world)
    assert world.drive(OpenSearchService, phase, raw).progress is Progress.DONE
    assert size(world) == was | expected
    assert len(changes(world)) == (1 if expected else 0)


def test_a_vpc_domain_takes_the_subnets_of_its_zones_and_keeps_its_security_groups(world: World) -> None:
    one, two, three = subnets(world, 3)
    group = world.client("ec2").create_security_group(GroupName="search", Description="search")["GroupId"]
    domain(world, VPCOptions={"SubnetIds": [three], "SecurityGroupIds": [group]})
    assert world.drive(OpenSearchService, INSTANTIATE, {**NODES, "AzCount": 2, "SubnetList": [one, two]}).progress is Progress.DONE
    assert changes(world)[0]["VPCOptions"] == {"SubnetIds": [one, two], "SecurityGroupIds": [group]}
    assert world.module(OpenSearchService, INSTANTIATE).observe({**NODES, "AzCount": 1, "SubnetList": one}).progress is Progress.DONE


# Done, and not


def test_what_was_asked_for_is_not_done_before_the_change_is_completed(world: World) -> None:
    domain(world)
    module = world.module(OpenSearchService, INSTANTIATE)
    module.start(FULL, again=False)
    assert size(world) == GROWN  # an echo
    first = module.observe(FULL)
    assert (first.progress, first.percent) == (Progress.IN_PROGRESS, 0)
    world.time.advance(opensearch.VALIDATE_SECONDS)
    second = module.observe(FULL)
    assert (second.progress, second.percent) == (Progress.IN_PROGRESS, 25)
    assert "ApplyingChanges, at Provisioning new nodes" in second.detail
    world.time.advance(opensearch.CHANGE_SECONDS)
    assert module.observe(FULL).progress is Progress.DONE


@pytest.mark.parametrize("handles", [[], [{"changeId": "a" * 36}]])
@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "DAWDLING"])
def test_a_domain_that_looks_done_is_not_while_its_change_runs(world: World, handles: list[dict[str, str]], status: str) -> None:
    domain(world, nodes=3)
    world.answer("opensearch", "DescribeDomainChangeProgress", {"ChangeProgressStatus": {"ChangeId": "a" * 36, "Status": status}})
    assert world.module(OpenSearchService, INSTANTIATE, handles=handles).observe(NODES).progress is Progress.IN_PROGRESS


@pytest.mark.parametrize(
    "said",
    [{"Processing": True}, {"UpgradeProcessing": True}, {"DomainProcessingStatus": "Creating"}, {"DomainProcessingStatus": "Musing"}],
)
def test_a_completed_change_is_not_done_while_the_domain_is_busy(world: World, said: dict[str, Any]) -> None:
    found = domain(world, nodes=3).describe_domain(DomainName=DOMAIN)["DomainStatus"]
    world.answer("opensearch", "DescribeDomain", {"DomainStatus": {**found, **said}})
    progress = {"ChangeProgressStatus": {"ChangeId": "a" * 36, "Status": "COMPLETED"}}
    world.answer("opensearch", "DescribeDomainChangeProgress", progress)
    assert world.module(OpenSearchService, INSTANTIATE, handles=[{"changeId": "a" * 36}]).observe(NODES).progress is Progress.IN_PROGRESS


def test_a_completed_change_without_its_nodes_is_not_done(world: World) -> None:
    domain(world)
    module = world.module(OpenSearchService, INSTANTIATE)
    module.start(NODES, again=False)
    world.time.advance(120)
    other = world.client("opensearch").update_domain_config(DomainName=DOMAIN, ClusterConfig={"InstanceCount": 1})
    assert other["DomainConfig"]["ChangeProgressDetails"]["ChangeId"] != module.handles[0]["changeId"]
    assert module.observe(NODES).progress is Progress.IN_PROGRESS  # somebody else's change
    world.time.advance(120)
    status = module.observe(NODES)
    assert (status.progress, "ClusterConfig to be changed" in status.detail) == (Progress.NOT_STARTED, True)
    assert world.drive(OpenSearchService, INSTANTIATE, NODES, handles=module.handles).progress is Progress.DONE


@pytest.mark.parametrize("config_status", ["ValidationFailed", "Cancelled"])
def test_a_change_that_failed_fails_with_its_reason_and_is_made_again(world: World, config_status: str) -> None:
    domain(world)
    opensearch.fail_next_change(ACCOUNT, STANDBY, DOMAIN, "Insufficient capacity", config_status)
    module = world.module(OpenSearchService, INSTANTIATE)
    module.start(NODES, again=False)
    world.time.advance(60)
    status = module.observe(NODES)
    assert (status.progress, status.code, "Insufficient capacity" in status.detail) == (Progress.FAILED, config_status, True)
    module.start(NODES, again=False)
    assert len(changes(world)) == 1
    module.start(NODES, again=True)
    world.time.advance(120)
    assert module.observe(NODES).progress is Progress.DONE


def test_a_failed_change_whose_configuration_still_shows_is_not_done(world: World) -> None:
    """Without the handle, nobody knows whose it was: it is asked for once more, and OpenSearch says whether it has anything to change."""
    domain(world, nodes=3)
    failed = {"ChangeProgressStatus": {"ChangeId": "a" * 36, "Status": "FAILED", "ConfigChangeStatus": "ValidationFailed"}}
    world.answer("opensearch", "DescribeDomainChangeProgress", failed)
    module = world.module(OpenSearchService, INSTANTIATE)
    assert module.observe(NODES).progress is Progress.NEXT_STEP
    module.start(NODES, again=False)
    assert (len(changes(world)), module.handles) == (1, [{"changeId": ""}])
    assert module.observe(NODES).progress is Progress.DONE
    assert world.module(OpenSearchService, INSTANTIATE, handles=[{"changeId": "a" * 36}]).observe(NODES).progress is Progress.FAILED


def test_a_change_after_whose_start_the_executor_died_is_adopted(world: World) -> None:
    domain(world)
    world.module(OpenSearchService, INSTANTIATE).start(FULL, again=False)
    assert world.drive(OpenSearchService, INSTANTIATE, FULL).progress is Progress.DONE
    assert len(changes(world)) == 1


def test_somebody_elses_change_is_waited_for(world: World) -> None:
    client = domain(world)
    client.update_domain_config(DomainName=DOMAIN, AutoTuneOptions={"DesiredState": "ENABLED"})
    module = world.module(OpenSearchService, INSTANTIATE)
    assert module.observe(NODES).progress is Progress.IN_PROGRESS
    assert module.instantiate(module.parse(NODES)[0]) == {}
    assert world.changes == []
    world.time.advance(120)
    assert module.observe(NODES).progress is Progress.NEXT_STEP  # no attempt is spent on it
    assert world.drive(OpenSearchService, INSTANTIATE, NODES).progress is Progress.DONE


@pytest.mark.parametrize("begun", [True, False])
def test_a_refusal_is_waited_out_only_if_a_change_runs(world: World, begun: bool) -> None:
    domain(world)
    module = world.module(OpenSearchService, INSTANTIATE)
    client, refusal = module.client("opensearch"), error("ValidationException", opensearch.IN_PROGRESS)

    def begin(**_: object) -> None:
        if begun:
            world.client("opensearch").update_domain_config(DomainName=DOMAIN, AutoTuneOptions={"DesiredState": "ENABLED"})

    client.meta.events.register_first("before-call.opensearch.UpdateDomainConfig", begin, "other")
    world.answer("opensearch", "UpdateDomainConfig", refusal, 400)
    try:
        if begun:
            world.forget_answers()
            module.start(NODES, again=False)
            assert module.handles == [{}]
            assert module.observe(NODES).progress is Progress.IN_PROGRESS
        else:
            with pytest.raises(ModuleError) as raised:
                module.start(NODES, again=False)
            assert (raised.value.code, raised.value.error_class) == ("ValidationException", ErrorClass.TERMINAL)
    finally:
        client.meta.events.unregister("before-call.opensearch.UpdateDomainConfig", unique_id="other")


@pytest.mark.parametrize(
    ("said", "progress"),
    [("ENABLE_IN_PROGRESS", Progress.DONE), ("ENABLED", Progress.DONE), ("DISABLED", Progress.NEXT_STEP), ("ERROR", Progress.NEXT_STEP)],
)
def test_auto_tune_on_its_way_counts(world: World, said: str, progress: Progress) -> None:
    found = domain(world).describe_domain(DomainName=DOMAIN)["DomainStatus"]
    world.answer("opensearch", "DescribeDomain", {"DomainStatus": {**found, "AutoTuneOptions": {"State": said}}})
    status = world.module(OpenSearchService, INSTANTIATE).observe({"DomainName": DOMAIN, "AutoTune": "ENABLED"})
    assert status.progress is progress


# Refusals and preflight


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
@pytest.mark.parametrize(("here", "there"), [(STANDBY, PRIMARY), (PRIMARY, STANDBY)])
@pytest.mark.parametrize(
    ("other", "seen"),
    [
        (None, "there is none"),
        ({"nodes": 1, "volume": 300, "masters": 3}, "it is Active with 1 data nodes"),
        ({"nodes": 3, "volume": 300}, "0 master nodes"),
        ({"nodes": 3, "volume": 30, "masters": 3}, "30 GiB each"),
    ],
)
def test_the_side_that_may_serve_is_never_made_smaller(
    world: World, mode: Mode, here: str, there: str, other: dict[str, int] | None, seen: str
) -> None:
    domain(world, nodes=3, volume=100, masters=3, region=here, cluster=ZONES)
    if other is not None:
        domain(world, region=there, **other)
    with pytest.raises(ModuleError, match=seen) as raised:
        world.drive(OpenSearchService, CLEANUP, FLOOR, mode, region=here)
    assert (raised.value.code, raised.value.error_class, world.changes) == ("LiveSide", ErrorClass.TERMINAL, [])
    [found] = world.module(OpenSearchService, CLEANUP, mode, region=here).obstacles(FLOOR)
    assert (found.severity, found.code) == (Severity.ERROR, "LiveSide")
    assert world.drive(OpenSearchService, CLEANUP, {**FLOOR, "Force": True}, mode, region=here).progress is Progress.DONE


def test_a_replacement_that_is_still_being_made_does_not_count(world: World) -> None:
    domain(world, nodes=3)
    domain(world, region=PRIMARY)
    world.client("opensearch", PRIMARY).update_domain_config(DomainName=DOMAIN, ClusterConfig={"InstanceCount": 3})
    with pytest.raises(ModuleError, match="it is Modifying with 3 data nodes"):
        world.drive(OpenSearchService, CLEANUP, {"DomainName": DOMAIN, "DataNodeCount": 1})
    world.time.advance(120)
    assert world.drive(OpenSearchService, CLEANUP, {"DomainName": DOMAIN, "DataNodeCount": 1}).progress is Progress.DONE


def test_a_size_is_guarded_as_a_number_is(world: World) -> None:
    domain(world)
    domain(world, region=PRIMARY, cluster={"InstanceType": "m6g.medium.search"})
    with pytest.raises(ModuleError, match="live side"):
        world.drive(OpenSearchService, CLEANUP, {"DomainName": DOMAIN, "DataNodeType": "m6g.medium.search"})


@pytest.mark.parametrize(
    ("raw", "present", "code"),
    [
        ({**NODES, "DomainName": "missing"}, {}, "DomainNotFound"),
        ({**NODES, "AzCount": 1, "SubnetList": "subnet-1"}, {}, "PublicDomain"),
        ({**NODES, "TotalStorageSize": 90}, {"volume": 0}, "NoEbsVolumes"),
        ({"DomainName": DOMAIN, "MasterNodeCount": 3}, {}, "UnknownMasterNodeType"),
        ({"DomainName": DOMAIN, "AzCount": 2}, {}, "TooFewDataNodes"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(world: World, raw: dict[str, Any], present: dict[str, Any], code: str) -> None:
    domain(world, **present)
    with pytest.raises(ModuleError) as raised:
        world.drive(OpenSearchService, INSTANTIATE, raw)
    assert (raised.value.code, raised.value.error_class, world.changes) == (code, ErrorClass.TERMINAL, [])


@pytest.mark.parametrize("doing", [{"DomainProcessingStatus": "Isolated"}, {"Deleted": True}])
def test_a_domain_on_its_way_out_is_refused(world: World, doing: dict[str, Any]) -> None:
    found = domain(world).describe_domain(DomainName=DOMAIN)["DomainStatus"]
    world.answer("opensearch", "DescribeDomain", {"DomainStatus": {**found, **doing}})
    with pytest.raises(ModuleError, match="restore it"):
        world.module(OpenSearchService, INSTANTIATE).observe(NODES)


def test_subnets_must_exist_in_different_zones_with_addresses(world: World) -> None:
    one, two = subnets(world, 2)
    domain(world, VPCOptions={"SubnetIds": [one]})
    raw = {**NODES, "AzCount": 2, "SubnetList": [one, "subnet-0bad"]}
    module = world.module(OpenSearchService, INSTANTIATE)
    assert [(each.severity, each.code) for each in module.obstacles(raw)] == [(Severity.ERROR, "SubnetNotFound")]
    # Three nodes in two zones: two in a zone, and six addresses.
    few = [{"SubnetId": name, "AvailabilityZone": "us-west-2a", "AvailableIpAddressCount": free} for name, free in ((one, 5), (two, 6))]
    world.answer("ec2", "DescribeSubnets", {"Subnets": few})
    found = module.obstacles({**raw, "SubnetList": [one, two]})
    assert [(each.severity, each.code) for each in found] == [(Severity.ERROR, "SubnetsShareZone"), (Severity.WARNING, "FewAddresses")]
    assert one in found[1].message


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"Force": True},
        {"DataNodeCount": 0},
        {"DataNodeCount": 1, "AzCount": 2},
        {"SubnetList": ["subnet-1"]},
        {"SubnetList": ["subnet-1"], "AzCount": 2},
        {"AutoTune": "ON"},
        {"AzCount": 4},
    ],
)
def test_parameters_that_do_not_fit_together(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OpenSearchService.parse({"DomainName": DOMAIN, **wrong})


def test_a_list_of_domains_and_what_was_before(world: World) -> None:
    domain(world)
    domain(world, region=PRIMARY)
    assert world.drive(OpenSearchService, INSTANTIATE, [NODES, {"DomainName": DOMAIN, "AutoTune": "DISABLED"}]).progress is Progress.DONE
    assert len(changes(world)) == 1
    [before] = world.module(OpenSearchService, INSTANTIATE, region=PRIMARY).record_before(NODES)
    assert (before["cluster"]["InstanceCount"], before["ebs"]["VolumeSize"], before["autoTune"]) == (1, 50, "DISABLED")  # type: ignore[index]
