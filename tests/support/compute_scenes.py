"""What stands in the two Regions before a story of EC2, OpenSearchService or EventArchive begins."""

from typing import Any

from tests.support.aws import STANDBY, World

DOMAIN, ARCHIVE, BUS = "prod-search", "orders", "shop"


def host(world: World, name: str, state: str = "stopped", region: str = STANDBY, **options: Any) -> str:
    """An instance with a host name, at rest in `state`; returns its id."""
    ec2 = world.client("ec2", region)
    tags = [{"Key": "Orchestrator:HostName", "Value": name}, *options.pop("tags", [])]
    launch = {"ImageId": "ami-12c6146b", "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, **options}
    launched = ec2.run_instances(**launch, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])
    found = str(launched["Instances"][0]["InstanceId"])
    world.time.advance(120)
    if state == "stopped":
        ec2.stop_instances(InstanceIds=[found])
        world.time.advance(120)
    elif state == "terminated":
        ec2.terminate_instances(InstanceIds=[found])
    return found


def hosts(world: World, *names: str, state: str = "stopped", region: str = STANDBY) -> list[str]:
    """Instances with host names, at rest; returns their ids."""
    return [host(world, name, state, region) for name in names]


def states(world: World, region: str = STANDBY) -> dict[str, str]:
    """The state of every instance by host name."""
    return {
        tag["Value"]: instance["State"]["Name"]
        for reservation in world.client("ec2", region).describe_instances()["Reservations"]
        for instance in reservation["Instances"]
        for tag in instance["Tags"]
        if tag["Key"] == "Orchestrator:HostName"
    }


def subnets(world: World, count: int, region: str = STANDBY) -> list[str]:
    """Subnets of the Region's default VPC, each in a zone of its own."""
    return sorted(subnet["SubnetId"] for subnet in world.client("ec2", region).describe_subnets()["Subnets"])[:count]


def domain(world: World, nodes: int = 1, volume: int = 50, masters: int = 0, region: str = STANDBY, **options: Any) -> Any:
    """A domain at rest, with more zones or a VPC if `options` (of CreateDomain) say so. Returns the client."""
    opensearch = world.client("opensearch", region)
    cluster = {"InstanceType": "r6g.large.search", "InstanceCount": nodes, **options.pop("cluster", {})}
    if masters:
        cluster |= {"DedicatedMasterEnabled": True, "DedicatedMasterType": "m6g.large.search", "DedicatedMasterCount": masters}
    ebs = {"EBSEnabled": True, "VolumeType": "gp3", "VolumeSize": volume, "Iops": 3000} if volume else {"EBSEnabled": False}
    auto_tune = {"DesiredState": "DISABLED"}
    opensearch.create_domain(DomainName=DOMAIN, ClusterConfig=cluster, EBSOptions=ebs, AutoTuneOptions=auto_tune, **options)
    world.time.advance(120)
    return opensearch


def size(world: World, region: str = STANDBY) -> dict[str, Any]:
    """What the domain is: nodes, masters, zones, GiB of each node, Auto-Tune, type of data nodes."""
    found = world.client("opensearch", region).describe_domain(DomainName=DOMAIN)["DomainStatus"]
    cluster = found["ClusterConfig"]
    return {
        "nodes": cluster["InstanceCount"],
        "type": cluster["InstanceType"],
        "masters": cluster["DedicatedMasterCount"] if cluster["DedicatedMasterEnabled"] else 0,
        "zones": cluster["ZoneAwarenessConfig"]["AvailabilityZoneCount"] if cluster["ZoneAwarenessEnabled"] else 1,
        "volume": found["EBSOptions"].get("VolumeSize", 0),
        "autoTune": found["AutoTuneOptions"]["State"],
    }


def archive(world: World, retention: int = 0, bus: str = BUS, region: str = STANDBY) -> Any:
    """An archive of a bus of its own. Returns the client."""
    events = world.client("events", region)
    if bus != "default":
        events.create_event_bus(Name=bus)
    events.create_archive(ArchiveName=ARCHIVE, EventSourceArn=events.describe_event_bus(Name=bus)["Arn"], RetentionDays=retention)
    return events
