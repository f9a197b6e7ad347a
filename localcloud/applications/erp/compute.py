"""The machines: ECS services, Auto Scaling groups, EC2 instances by host name, and servers that DRS replicates."""

import time
from typing import Any

from localcloud.applications.erp.data import subnets_of
from localcloud.cloud import PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from localcloud.extension.drs import HOSTNAME_TAG, ORIGIN_REGION_TAG, STALLED_TAG

NAME = "erp"
SERVICES = {"erp-api": 3, "erp-jobs": 1}
GROUPS = ("erp-imports", "erp-exports")
INSTANCES = ("erp-batch-1", "erp-report-1", "erp-report-2")
REPLICATED = ("erp-app-1", "erp-app-2")
_GROUP_SIZE = 2
_HOST_NAME = "Orchestrator:HostName"
_WAIT_SECONDS = 60.0


def create(cloud: LocalCloud) -> None:
    """Make all of it; in the standby Region it is scaled to nothing, or stopped."""
    _create_source_servers(cloud)
    for region in (PRIMARY_REGION, STANDBY_REGION):
        serving = region == PRIMARY_REGION
        subnets = subnets_of(cloud, region)
        ec2 = _client(cloud, "ec2", region)
        image = ec2.register_image(Name=NAME, RootDeviceName="/dev/xvda", Architecture="x86_64")["ImageId"]
        _create_instances(ec2, image)
        _create_services(cloud, region, subnets, serving=serving)
        _create_groups(cloud, region, image, subnets, serving=serving)
    _stop_instances(_client(cloud, "ec2", STANDBY_REGION))


def observe(cloud: LocalCloud) -> dict[str, str]:
    """Nothing that is not of one Region."""
    del cloud
    return {}


def observe_region(cloud: LocalCloud, region: str) -> dict[str, str]:
    """What runs."""
    ecs = _client(cloud, "ecs", region)
    services = {one["serviceName"]: one for one in ecs.describe_services(cluster=NAME, services=list(SERVICES))["services"]}
    groups = _client(cloud, "autoscaling", region).describe_auto_scaling_groups(AutoScalingGroupNames=list(GROUPS))["AutoScalingGroups"]
    in_service = {
        group["AutoScalingGroupName"]: sum(one["LifecycleState"] == "InService" for one in group["Instances"]) for group in groups
    }
    drs = _client(cloud, "drs", region)
    servers = [one["dataReplicationInfo"]["dataReplicationState"] for one in drs.describe_source_servers(filters={})["items"]]
    recovered = [one["ec2InstanceState"] for one in drs.describe_recovery_instances(filters={})["items"]]
    return {
        "services' tasks": ", ".join(f"{name} {services[name]['runningCount']}" for name in SERVICES),
        "workers in service": ", ".join(f"{name} {in_service[name]}" for name in GROUPS),
        "servers": _summary([one["state"] for one in _instances(_client(cloud, "ec2", region))]),
        "source servers": _summary(servers),
        "recovery instances": _summary(recovered),
    }


def _summary(states: list[str]) -> str:
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or "none"


def _client(cloud: LocalCloud, service: str, region: str) -> Any:
    return cloud.client(service, region, WORKLOAD_ACCOUNT)


def _create_source_servers(cloud: LocalCloud) -> None:
    """Servers that replicate to the standby Region; in the primary one, what the last failback has left."""
    for region, origin, more in (
        (STANDBY_REGION, PRIMARY_REGION, {}),
        (PRIMARY_REGION, STANDBY_REGION, {STALLED_TAG: "AGENT_NOT_SEEN"}),
    ):
        drs = _client(cloud, "drs", region)
        drs.initialize_service()
        for hostname in REPLICATED:
            drs.create_extended_source_server(
                # Any: the tags say what the machine is.
                sourceServerArn=f"arn:aws:drs:{origin}:{WORKLOAD_ACCOUNT}:source-server/s-00000000000000000",
                tags={HOSTNAME_TAG: hostname, ORIGIN_REGION_TAG: origin, "Application": NAME, **more},
            )


def _create_instances(ec2: Any, image: str) -> None:
    for name in INSTANCES:
        tags = [{"Key": _HOST_NAME, "Value": name}]
        ec2.run_instances(
            ImageId=image,
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )


def _stop_instances(ec2: Any) -> None:
    """They are stopped when they run: EC2 does not stop one that is pending."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while any(one["state"] == "pending" for one in _instances(ec2)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"instances are still pending after {_WAIT_SECONDS:.0f} s")
        time.sleep(0.1)
    ec2.stop_instances(InstanceIds=[one["id"] for one in _instances(ec2)])


def _instances(ec2: Any) -> list[dict[str, str]]:
    found = ec2.describe_instances(Filters=[{"Name": f"tag:{_HOST_NAME}", "Values": list(INSTANCES)}])
    return [{"id": one["InstanceId"], "state": one["State"]["Name"]} for each in found["Reservations"] for one in each["Instances"]]


def _create_services(cloud: LocalCloud, region: str, subnets: list[str], *, serving: bool) -> None:
    ecs = _client(cloud, "ecs", region)
    ecs.create_cluster(clusterName=NAME)
    ecs.register_task_definition(
        family=NAME,
        containerDefinitions=[{"name": "app", "image": NAME, "memory": 512}],
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
    )
    for service, count in SERVICES.items():
        ecs.create_service(
            cluster=NAME,
            serviceName=service,
            taskDefinition=NAME,
            desiredCount=count if serving else 0,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "securityGroups": []}},
        )


def _create_groups(cloud: LocalCloud, region: str, image: str, subnets: list[str], *, serving: bool) -> None:
    data = {"ImageId": image, "InstanceType": "t3.small"}
    _client(cloud, "ec2", region).create_launch_template(LaunchTemplateName=NAME, LaunchTemplateData=data)
    for group in GROUPS:
        _client(cloud, "autoscaling", region).create_auto_scaling_group(
            AutoScalingGroupName=group,
            LaunchTemplate={"LaunchTemplateName": NAME, "Version": "$Latest"},
            MinSize=1 if serving else 0,
            MaxSize=2 * _GROUP_SIZE,
            DesiredCapacity=_GROUP_SIZE if serving else 0,
            VPCZoneIdentifier=",".join(subnets),
        )
