"""What the executions of a chaos run act on: cheap resources of the workload account, a set for each application."""

import io
import json
import zipfile
from typing import Any, Final

from localcloud.cloud import PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from tests.chaos.plan import FUNCTION, GROUP, RULES, SERVERS, SERVICES

_HOOK: Final = '''
import time

def handler(event, context):
    """Takes its time, and fails in the first attempts, as it is asked to."""
    time.sleep(event["seconds"])
    if event["context"]["attempt"] <= event["failingAttempts"]:
        raise RuntimeError("as planned")
    return {"idempotencyKey": event["context"]["idempotencyKey"]}
'''


def create(cloud: LocalCloud, applications: list[str]) -> dict[str, str]:
    """Make everything; gives the id of each application's hosted zone."""
    _create_function(cloud)
    subnets, image = _create_network(cloud)
    return {application: _create_application(cloud, application, subnets, image) for application in applications}


def _create_function(cloud: LocalCloud) -> None:
    iam = cloud.client("iam", STANDBY_REGION, WORKLOAD_ACCOUNT)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=FUNCTION, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("hook.py", _HOOK)
    cloud.client("lambda", STANDBY_REGION, WORKLOAD_ACCOUNT).create_function(
        FunctionName=FUNCTION,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/{FUNCTION}",
        Handler="hook.handler",
        Timeout=10,
        Code={"ZipFile": code.getvalue()},
    )


def _create_network(cloud: LocalCloud) -> tuple[list[str], str]:
    ec2 = cloud.client("ec2", STANDBY_REGION, WORKLOAD_ACCOUNT)
    image = ec2.register_image(Name=GROUP, RootDeviceName="/dev/xvda", Architecture="x86_64")["ImageId"]
    ec2.create_launch_template(LaunchTemplateName=GROUP, LaunchTemplateData={"ImageId": image, "InstanceType": "t3.small"})
    return [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]][:2], image


def _create_application(cloud: LocalCloud, application: str, subnets: list[str], image: str) -> str:
    events: Any = cloud.client("events", STANDBY_REGION, WORKLOAD_ACCOUNT)
    for number in range(RULES):
        events.put_rule(Name=f"{application}-{number}", ScheduleExpression="rate(1 day)", State="DISABLED")
    ecs: Any = cloud.client("ecs", STANDBY_REGION, WORKLOAD_ACCOUNT)
    ecs.create_cluster(clusterName=application)
    container = {"name": "app", "image": application, "memory": 512}
    fargate = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
    ecs.register_task_definition(family=application, containerDefinitions=[container], **fargate)
    for number in range(SERVICES):
        ecs.create_service(
            cluster=application,
            serviceName=f"service-{number}",
            taskDefinition=application,
            desiredCount=0,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "securityGroups": []}},
        )
    cloud.client("autoscaling", STANDBY_REGION, WORKLOAD_ACCOUNT).create_auto_scaling_group(
        AutoScalingGroupName=f"{application}-{GROUP}",
        LaunchTemplate={"LaunchTemplateName": GROUP, "Version": "$Latest"},
        MinSize=0,
        MaxSize=4,
        DesiredCapacity=0,
        VPCZoneIdentifier=",".join(subnets),
    )
    ec2: Any = cloud.client("ec2", STANDBY_REGION, WORKLOAD_ACCOUNT)
    for number in range(SERVERS):
        tags = [{"Key": "Orchestrator:HostName", "Value": f"{application}-{number}"}]
        ec2.run_instances(
            ImageId=image,
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
    route53: Any = cloud.client("route53", PRIMARY_REGION, WORKLOAD_ACCOUNT)
    zone = route53.create_hosted_zone(Name=f"{application}.example", CallerReference=application)["HostedZone"]["Id"]
    return str(zone.removeprefix("/hostedzone/"))
