"""What stands in the two Regions before a story begins."""

import io
import json
import zipfile
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


def put(world: World, operation: str, key: str, changed: dict[str, Any], without: tuple[str, ...] = ()) -> None:
    """Answer a describe operation of RDS as the emulator does now, but for what is `changed` of the first thing under `key`."""
    verbs = {"DescribeDBClusters": "describe_db_clusters", "DescribeDBInstances": "describe_db_instances"}
    found = getattr(world.client("rds"), verbs.get(operation, "describe_global_clusters"))()[key][0]
    world.answer("rds", operation, {key: [{k: v for k, v in {**found, **changed}.items() if k not in without}]})


def member(region: str, writer: bool, synchronization: str = "connected") -> dict[str, Any]:
    """A member of the global cluster, as DescribeGlobalClusters words it."""
    return {"DBClusterArn": arn(region), "IsWriter": writer, "Readers": [], "SynchronizationStatus": synchronization}


def classes(world: World, region: str = STANDBY) -> dict[str, str]:
    """The DB instances of the Region that are available, with their classes."""
    found = world.client("rds", region).describe_db_instances()["DBInstances"]
    return {one["DBInstanceIdentifier"]: one["DBInstanceClass"] for one in found if one["DBInstanceStatus"] == "available"}


def failed_over(world: World) -> Any:
    """us-west-2 is the writer, us-east-1 a secondary with its instances; returns the client of us-east-1."""
    aurora(world, ("reader-1",))
    world.client("rds").switchover_global_cluster(GlobalClusterIdentifier=GLOBAL, TargetDbClusterIdentifier=arn())
    world.time.advance(120)
    return world.client("rds", PRIMARY)


def writers(world: World) -> list[str]:
    """The Regions whose cluster the global cluster calls its writer."""
    found = world.client("rds").describe_global_clusters(GlobalClusterIdentifier=GLOBAL)["GlobalClusters"][0]
    return [member["DBClusterArn"].split(":")[3] for member in found["GlobalClusterMembers"] if member["IsWriter"]]


def service(world: World, desired: int = 0, limits: tuple[int, int] | None = None, region: str = STANDBY, **options: Any) -> Any:
    """The ECS service `api` of cluster `prod`, at rest, with a scalable target if it has `limits`. Returns the client.

    It runs on Fargate, and a task of it has a vCPU.
    """
    ecs = world.client("ecs", region)
    ecs.create_cluster(clusterName="prod")
    container = {"name": "api", "image": "api", "memory": 128}
    ecs.register_task_definition(family="api", containerDefinitions=[container], cpu="1024", memory="2048")
    options = {"launchType": "FARGATE", **options}
    ecs.create_service(cluster="prod", serviceName="api", taskDefinition="api", desiredCount=desired, **options)
    world.time.advance(120)
    if limits:
        target = {"ServiceNamespace": "ecs", "ResourceId": "service/prod/api", "ScalableDimension": "ecs:service:DesiredCount"}
        scaling = world.client("application-autoscaling", region)
        scaling.register_scalable_target(**target, MinCapacity=limits[0], MaxCapacity=limits[1])
    return ecs


def group(world: World, name: str = "workers", sizes: tuple[int, int, int] = (0, 0, 4), region: str = STANDBY, **options: Any) -> Any:
    """An Auto Scaling group at rest with (min, desired, max), by default of a launch configuration. Returns the client."""
    autoscaling = world.client("autoscaling", region)
    if not options:
        if not autoscaling.describe_launch_configurations()["LaunchConfigurations"]:
            autoscaling.create_launch_configuration(
                LaunchConfigurationName="workers", ImageId="ami-12c6146b", InstanceType="t3.micro", SecurityGroups=[]
            )
        options = {"LaunchConfigurationName": "workers", "AvailabilityZones": [f"{region}a"]}
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name, MinSize=sizes[0], DesiredCapacity=sizes[1], MaxSize=sizes[2], **options
    )
    world.time.advance(120)
    return autoscaling


def template(world: World, name: str = "workers") -> dict[str, Any]:
    """A launch template and a subnet of the standby Region, as a group names them."""
    ec2 = world.client("ec2")
    ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "t3.micro"})
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    return {"LaunchTemplate": {"LaunchTemplateName": name, "Version": "$Latest"}, "VPCZoneIdentifier": subnet}


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


def function(world: World, name: str = "warm", timeout: int = 60, region: str = STANDBY) -> Any:
    """A function of AWS Lambda. Returns the client."""
    iam, awslambda = world.client("iam", region), world.client("lambda", region)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("hook.py", "def handler(event, context): ...")
    awslambda.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=f"arn:aws:iam::123456789012:role/{name}",
        Handler="hook.handler",
        Code={"ZipFile": code.getvalue()},
        Timeout=timeout,
    )
    return awslambda
