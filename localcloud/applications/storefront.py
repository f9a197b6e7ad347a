"""The storefront: an Aurora global database, two ECS services, an Auto Scaling group, a DNS name, an event rule, a Lambda hook.

It lives in the workload account: primary in us-east-1, standby in us-west-2. `create` makes it through the AWS APIs, `observe` asks the
cloud what it is like, from nobody's notes.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dr_core.phases import Phase
from localcloud.applications import Step, wait_until
from localcloud.cloud import PRIMARY_REGION, REPOSITORY, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud

NAME = "storefront"
ZONE = "storefront.example"
RECORD = f"api.{ZONE}"
SERVICES = ("storefront-api", "storefront-web")
RULE = "storefront-daily-report"
GROUP = "storefront-workers"
FUNCTION = "storefront-warm-caches"
_SCALABLE_TARGET = {
    "ServiceNamespace": "ecs",
    "ResourceId": f"service/{NAME}/{SERVICES[0]}",
    "ScalableDimension": "ecs:service:DesiredCount",
}
_INSTANCE_CLASS = "db.r6g.large"
_ENGINE = "aurora-mysql"

_HOOK = '''
def handler(event, context):
    """Warms the caches that it is asked for, and says which."""
    return {"warmed": event["caches"], "idempotencyKey": event["context"].get("idempotencyKey")}
'''


def create(cloud: LocalCloud) -> None:
    """Make the application in both Regions: us-east-1 serves, us-west-2 stands by, scaled to nothing."""
    for region in (PRIMARY_REGION, STANDBY_REGION):
        _create_network_and_compute(cloud, region, serving=region == PRIMARY_REGION)
    _create_database(cloud)
    _create_dns(cloud)
    _wait_until_steady(cloud)


def _create_database(cloud: LocalCloud) -> None:
    primary = cloud.client("rds", PRIMARY_REGION, WORKLOAD_ACCOUNT)
    standby = cloud.client("rds", STANDBY_REGION, WORKLOAD_ACCOUNT)
    primary.create_global_cluster(GlobalClusterIdentifier="storefront-global", Engine=_ENGINE)
    primary.create_db_cluster(
        DBClusterIdentifier=NAME,
        Engine=_ENGINE,
        GlobalClusterIdentifier="storefront-global",
        MasterUsername="admin",
        MasterUserPassword="only-for-the-local-cloud",
    )
    standby.create_db_cluster(DBClusterIdentifier=NAME, Engine=_ENGINE, GlobalClusterIdentifier="storefront-global")
    for client, instances in ((primary, ("storefront-1", "storefront-2")), (standby, ("storefront-1",))):
        for instance in instances:
            client.create_db_instance(
                DBInstanceIdentifier=instance, DBClusterIdentifier=NAME, DBInstanceClass=_INSTANCE_CLASS, Engine=_ENGINE
            )


def _create_network_and_compute(cloud: LocalCloud, region: str, *, serving: bool) -> None:
    ecs = cloud.client("ecs", region, WORKLOAD_ACCOUNT)
    ecs.create_cluster(clusterName=NAME)
    container = {"name": "app", "image": "storefront", "memory": 512}
    fargate = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
    ecs.register_task_definition(family=NAME, containerDefinitions=[container], **fargate)
    subnets = _subnets(cloud, region)
    for service, count in zip(SERVICES, (4, 2), strict=True):
        ecs.create_service(
            cluster=NAME,
            serviceName=service,
            taskDefinition=NAME,
            desiredCount=count if serving else 0,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "securityGroups": []}},
        )
    cloud.client("application-autoscaling", region, WORKLOAD_ACCOUNT).register_scalable_target(
        **_SCALABLE_TARGET,
        MinCapacity=2 if serving else 0,
        MaxCapacity=8,
    )
    ec2 = cloud.client("ec2", region, WORKLOAD_ACCOUNT)
    image = ec2.register_image(Name=GROUP, RootDeviceName="/dev/xvda", Architecture="x86_64")["ImageId"]
    template = {"LaunchTemplateName": GROUP, "LaunchTemplateData": {"ImageId": image, "InstanceType": "t3.small"}}
    ec2.create_launch_template(**template)
    cloud.client("autoscaling", region, WORKLOAD_ACCOUNT).create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        LaunchTemplate={"LaunchTemplateName": GROUP, "Version": "$Latest"},
        MinSize=3 if serving else 0,
        MaxSize=6,
        DesiredCapacity=3 if serving else 0,
        VPCZoneIdentifier=",".join(subnets),
    )
    cloud.client("elbv2", region, WORKLOAD_ACCOUNT).create_load_balancer(Name=NAME, Subnets=subnets)
    events = cloud.client("events", region, WORKLOAD_ACCOUNT)
    events.put_rule(Name=RULE, ScheduleExpression="rate(1 day)", State="ENABLED" if serving else "DISABLED")
    _create_function(cloud, region)
    _export_cluster_name(cloud, region)


def _subnets(cloud: LocalCloud, region: str) -> list[str]:
    found = cloud.client("ec2", region, WORKLOAD_ACCOUNT).describe_subnets()["Subnets"]
    return [subnet["SubnetId"] for subnet in found][:2]


def _create_function(cloud: LocalCloud, region: str) -> None:
    iam = cloud.client("iam", region, WORKLOAD_ACCOUNT)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    with suppress(iam.exceptions.EntityAlreadyExistsException):  # roles have no Region: the first one made it
        iam.create_role(RoleName=FUNCTION, AssumeRolePolicyDocument=document)
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("hook.py", _HOOK)
    cloud.client("lambda", region, WORKLOAD_ACCOUNT).create_function(
        FunctionName=FUNCTION,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/{FUNCTION}",
        Handler="hook.handler",
        Code={"ZipFile": code.getvalue()},
    )


def _export_cluster_name(cloud: LocalCloud, region: str) -> None:
    """A stack that exports a name, as the teams that own the cluster would; manifests import it."""
    name = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/storefront/ecs-cluster", "Type": "String", "Value": NAME}}
    output = {"Value": NAME, "Export": {"Name": "StorefrontEcsCluster"}}
    body = json.dumps({"Resources": {"ClusterName": name}, "Outputs": {"EcsCluster": output}})
    cloud.client("cloudformation", region, WORKLOAD_ACCOUNT).create_stack(StackName=NAME, TemplateBody=body)


def _create_dns(cloud: LocalCloud) -> None:
    route53 = cloud.client("route53", PRIMARY_REGION, WORKLOAD_ACCOUNT)
    zone = route53.create_hosted_zone(Name=ZONE, CallerReference=NAME)["HostedZone"]["Id"]
    for region in (PRIMARY_REGION, STANDBY_REGION):
        ssm = cloud.client("ssm", region, WORKLOAD_ACCOUNT)
        ssm.put_parameter(Name="/storefront/hosted-zone-id", Value=zone, Type="String")
    balancer = _load_balancer(cloud, PRIMARY_REGION)
    alias = {"HostedZoneId": balancer["CanonicalHostedZoneId"], "DNSName": balancer["DNSName"], "EvaluateTargetHealth": False}
    record = {"Name": RECORD, "Type": "A", "AliasTarget": alias}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]})


def _load_balancer(cloud: LocalCloud, region: str) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = cloud.client("elbv2", region, WORKLOAD_ACCOUNT).describe_load_balancers(Names=[NAME])["LoadBalancers"]
    return found[0]


def _wait_until_steady(cloud: LocalCloud) -> None:
    wanted = {
        f"Aurora instances in {PRIMARY_REGION}": "storefront-1 available, storefront-2 available",
        f"Aurora instances in {STANDBY_REGION}": "storefront-1 available",
        f"storefront-api running in {PRIMARY_REGION}": "4",
        f"storefront-web running in {PRIMARY_REGION}": "2",
        f"workers in service in {PRIMARY_REGION}": "3",
        f"storefront-api running in {STANDBY_REGION}": "0",
        f"storefront-web running in {STANDBY_REGION}": "0",
        f"workers in service in {STANDBY_REGION}": "0",
    }
    wait_until(lambda: observe(cloud), wanted)


def steps() -> tuple[Step, ...]:
    """The four phases, as in an outage of us-east-1 and after it."""
    east, west = PRIMARY_REGION, STANDBY_REGION
    return (
        Step(
            Phase.INSTANTIATE,
            _request("StartInstantiate.json"),
            {
                "Aurora writer": east,
                f"Aurora instances in {west}": "storefront-1 available, storefront-2 available",
                f"storefront-api running in {west}": "4",
                f"storefront-web running in {west}": "2",
                f"workers in service in {west}": "3",
                f"{RULE} in {west}": "DISABLED",
            },
        ),
        Step(
            Phase.ACTIVATE,
            _request("StartActivate.json"),
            {
                "Aurora writer": west,
                f"{RECORD} points to": f"the load balancer in {west}",
                f"{RULE} in {west}": "ENABLED",
            },
        ),
        Step(
            Phase.CLEANUP,
            _request("StartCleanup.json"),
            {
                "Aurora writer": west,
                f"Aurora instances in {east}": "none",
                f"storefront-api running in {east}": "0",
                f"storefront-web running in {east}": "0",
                f"workers in service in {east}": "0",
                f"{RULE} in {east}": "DISABLED",
                f"storefront-api running in {west}": "4",
            },
        ),
        Step(
            Phase.REPLICATE,
            _request("StartReplicate.json"),
            {"Aurora writer": west, f"Aurora instances in {east}": "storefront-1 available"},
        ),
    )


def _request(file: str) -> list[dict[str, str]]:
    """The entries of put-events that an operator would copy."""
    entries: list[dict[str, str]] = json.loads((REPOSITORY / "events" / "put-events" / file).read_text())
    return entries


def stand_down(cloud: LocalCloud) -> None:
    """Scale the standby Region back to nothing, as it was created."""
    rds = cloud.client("rds", STANDBY_REGION, WORKLOAD_ACCOUNT)
    for instance in rds.describe_db_instances(Filters=[{"Name": "db-cluster-id", "Values": [NAME]}])["DBInstances"]:
        if instance["DBInstanceIdentifier"] != "storefront-1":
            rds.delete_db_instance(DBInstanceIdentifier=instance["DBInstanceIdentifier"], SkipFinalSnapshot=True)
    scaling = cloud.client("application-autoscaling", STANDBY_REGION, WORKLOAD_ACCOUNT)
    scaling.register_scalable_target(**_SCALABLE_TARGET, MinCapacity=0, MaxCapacity=8)
    ecs = cloud.client("ecs", STANDBY_REGION, WORKLOAD_ACCOUNT)
    for service in SERVICES:
        ecs.update_service(cluster=NAME, service=service, desiredCount=0)
    groups = cloud.client("autoscaling", STANDBY_REGION, WORKLOAD_ACCOUNT)
    groups.update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=0, DesiredCapacity=0)
    _wait_until_steady(cloud)


def observe(cloud: LocalCloud) -> dict[str, str]:
    """What the cloud itself says of the application: one line for each fact, the same facts each time."""
    facts = {"Aurora writer": _writer(cloud), f"{RECORD} points to": _record(cloud)}
    for region in (PRIMARY_REGION, STANDBY_REGION):
        facts[f"Aurora instances in {region}"] = _instances(cloud, region)
        facts |= {f"{name} running in {region}": str(count) for name, count in _running(cloud, region).items()}
        facts[f"workers in service in {region}"] = str(_in_service(cloud, region))
        rule = cloud.client("events", region, WORKLOAD_ACCOUNT).describe_rule(Name=RULE)
        facts[f"{RULE} in {region}"] = rule["State"]
    return facts


def _writer(cloud: LocalCloud) -> str:
    rds = cloud.client("rds", STANDBY_REGION, WORKLOAD_ACCOUNT)
    members = rds.describe_global_clusters(GlobalClusterIdentifier="storefront-global")["GlobalClusters"][0]["GlobalClusterMembers"]
    return ", ".join(member["DBClusterArn"].split(":")[3] for member in members if member["IsWriter"])


def _instances(cloud: LocalCloud, region: str) -> str:
    rds = cloud.client("rds", region, WORKLOAD_ACCOUNT)
    found = rds.describe_db_instances(Filters=[{"Name": "db-cluster-id", "Values": [NAME]}])["DBInstances"]
    return ", ".join(sorted(f"{i['DBInstanceIdentifier']} {i['DBInstanceStatus']}" for i in found)) or "none"


def _running(cloud: LocalCloud, region: str) -> dict[str, int]:
    services = cloud.client("ecs", region, WORKLOAD_ACCOUNT).describe_services(cluster=NAME, services=list(SERVICES))["services"]
    return {service["serviceName"]: service["runningCount"] for service in services}


def _in_service(cloud: LocalCloud, region: str) -> int:
    groups = cloud.client("autoscaling", region, WORKLOAD_ACCOUNT).describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
    instances = groups["AutoScalingGroups"][0]["Instances"]
    return sum(instance["LifecycleState"] == "InService" for instance in instances)


def _record(cloud: LocalCloud) -> str:
    route53 = cloud.client("route53", PRIMARY_REGION, WORKLOAD_ACCOUNT)
    zone = cloud.client("ssm", STANDBY_REGION, WORKLOAD_ACCOUNT).get_parameter(Name="/storefront/hosted-zone-id")["Parameter"]["Value"]
    found = route53.list_resource_record_sets(HostedZoneId=zone, StartRecordName=RECORD, StartRecordType="A")["ResourceRecordSets"][0]
    name = found["AliasTarget"]["DNSName"].rstrip(".").removeprefix("dualstack.")
    by_name = {_load_balancer(cloud, region)["DNSName"]: region for region in (PRIMARY_REGION, STANDBY_REGION)}
    return f"the load balancer in {by_name[name]}" if name in by_name else name
