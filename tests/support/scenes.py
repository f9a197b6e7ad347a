"""What stands in the two Regions before a story begins."""

from typing import Any

from tests.support.aws import PRIMARY, STANDBY, World

CLUSTER, GLOBAL = "aurora-prod", "global-aurora"
AURORA = {"DBClusterIdentifier": CLUSTER, "GlobalClusterIdentifier": GLOBAL}


def aurora(world: World, standby_instances: tuple[str, ...] = ()) -> Any:
    """A global cluster: the writer with two instances in the primary Region, a secondary in the standby. Returns the standby's client."""
    primary, standby = world.client("rds", PRIMARY), world.client("rds")
    login = {"MasterUsername": "root", "MasterUserPassword": "password1"}
    version = "8.0.mysql_aurora.3.08.0"
    primary.create_db_cluster(DBClusterIdentifier=CLUSTER, Engine="aurora-mysql", EngineVersion=version, **login)
    world.time.advance(60)
    instances(world, ("writer-1", "writer-2"), region=PRIMARY, instance_class="db.r6g.2xlarge")
    primary.create_global_cluster(GlobalClusterIdentifier=GLOBAL, SourceDBClusterIdentifier=arn(PRIMARY))
    standby.create_db_cluster(DBClusterIdentifier=CLUSTER, Engine="aurora-mysql", GlobalClusterIdentifier=GLOBAL)
    world.time.advance(60)
    instances(world, standby_instances)
    return standby


def lone_cluster(world: World, names: tuple[str, ...]) -> Any:
    """A cluster of the standby Region that is in no global cluster."""
    rds = world.client("rds")
    rds.create_db_cluster(DBClusterIdentifier=CLUSTER, Engine="aurora-mysql", MasterUsername="root", MasterUserPassword="password1")
    world.time.advance(60)
    instances(world, names)
    return rds


def instances(world: World, names: tuple[str, ...], region: str = STANDBY, instance_class: str = "db.r6g.large") -> None:
    """Instances of the Region's cluster, available."""
    for name in names:
        world.client("rds", region).create_db_instance(
            DBInstanceIdentifier=name, DBClusterIdentifier=CLUSTER, Engine="aurora-mysql", DBInstanceClass=instance_class
        )
    world.time.advance(120)


def arn(region: str = STANDBY) -> str:
    """The ARN of the Region's cluster."""
    return f"arn:aws:rds:{region}:123456789012:cluster:{CLUSTER}"


def writers(world: World) -> list[str]:
    """The Regions whose cluster the global cluster calls its writer."""
    found = world.client("rds").describe_global_clusters(GlobalClusterIdentifier=GLOBAL)["GlobalClusters"][0]
    return [member["DBClusterArn"].split(":")[3] for member in found["GlobalClusterMembers"] if member["IsWriter"]]


def service(world: World, desired: int = 0, limits: tuple[int, int] | None = None, region: str = STANDBY, **options: Any) -> Any:
    """The ECS service `api` of cluster `prod`, at rest, with a scalable target if it has `limits`. Returns the client."""
    ecs = world.client("ecs", region)
    ecs.create_cluster(clusterName="prod")
    container = {"name": "api", "image": "api", "memory": 128}
    ecs.register_task_definition(family="api", containerDefinitions=[container])
    ecs.create_service(cluster="prod", serviceName="api", taskDefinition="api", desiredCount=desired, **options)
    world.time.advance(120)
    if limits:
        target = {"ServiceNamespace": "ecs", "ResourceId": "service/prod/api", "ScalableDimension": "ecs:service:DesiredCount"}
        scaling = world.client("application-autoscaling", region)
        scaling.register_scalable_target(**target, MinCapacity=limits[0], MaxCapacity=limits[1])
    return ecs


def group(world: World, name: str = "workers", sizes: tuple[int, int, int] = (0, 0, 4), region: str = STANDBY) -> Any:
    """An Auto Scaling group at rest with (min, desired, max). Returns the client."""
    autoscaling = world.client("autoscaling", region)
    known = autoscaling.describe_launch_configurations()["LaunchConfigurations"]
    if not known:
        autoscaling.create_launch_configuration(
            LaunchConfigurationName="workers", ImageId="ami-12c6146b", InstanceType="t3.micro", SecurityGroups=[]
        )
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchConfigurationName="workers",
        MinSize=sizes[0],
        DesiredCapacity=sizes[1],
        MaxSize=sizes[2],
        AvailabilityZones=[f"{region}a"],
    )
    world.time.advance(120)
    return autoscaling


def zone(world: World, name: str = "example.com") -> str:
    """A public hosted zone; returns its id without prefix."""
    created = world.client("route53").create_hosted_zone(Name=name, CallerReference=name)
    return str(created["HostedZone"]["Id"]).removeprefix("/hostedzone/")


def record(world: World, zone_id: str, name: str, values: list[str], **attributes: Any) -> None:
    """A record set that is there already; type A and TTL 300 unless said otherwise."""
    rrset = {"Name": name, "Type": "A", "TTL": 300, "ResourceRecords": [{"Value": value} for value in values], **attributes}
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": rrset}]}
    world.client("route53").change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch=batch)


def records(world: World, zone_id: str) -> dict[str, dict[str, Any]]:
    """The zone's record sets by name, and SetIdentifier where there is one, without NS and SOA."""
    found = world.client("route53").list_resource_record_sets(HostedZoneId=zone_id)["ResourceRecordSets"]
    return {r["Name"].rstrip(".") + r.get("SetIdentifier", ""): r for r in found if r["Type"] not in ("NS", "SOA")}


def balancer(world: World, name: str = "dr-alb", kind: str = "application", region: str = STANDBY) -> dict[str, Any]:
    """A load balancer of the Region."""
    ec2 = world.client("ec2", region)
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    created = world.client("elbv2", region).create_load_balancer(Name=name, Subnets=subnets, Type=kind)
    return dict(created["LoadBalancers"][0])


def rule(world: World, name: str = "daily", bus: str = "default", state: str = "DISABLED", region: str = STANDBY) -> Any:
    """A rule, on a bus of its own if that is not the default one. Returns the client."""
    events = world.client("events", region)
    if bus not in {known["Name"] for known in events.list_event_buses()["EventBuses"]}:
        events.create_event_bus(Name=bus)
    events.put_rule(Name=name, EventBusName=bus, EventPattern='{"source": ["shop"]}', State=state)
    return events
