"""What ties the system together: DNS in two accounts, rules and an archive of events, the names that manifests refer to, functions."""

import io
import json
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from localcloud.applications import drs_solution
from localcloud.applications.erp.data import subnets_of
from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud

NAME = "erp"
PUBLIC_ZONE = "erp.example"
PUBLIC_NAME = f"www.{PUBLIC_ZONE}"
INTERNAL_ZONE = f"internal.{PUBLIC_ZONE}"
API_NAME, SESSIONS_NAME = f"api.{INTERNAL_ZONE}", f"sessions.{INTERNAL_ZONE}"
PLAN = "erp-warehouse"
ANNOUNCER = "erp-announce"
_BUS = _ARCHIVE = _ORDERS = "erp-orders"
_RULES = {"erp-orders-received": "Order Received", "erp-orders-shipped": "Order Shipped"}
_BUSES = ("default", _BUS)
_ZONE_KEY, _SAID_KEY = "/erp/hosted-zone-id", "/erp/announced"
_SIGNATURE = "only-for-the-local-cloud"
_WAVE_SECONDS = 60.0  # as on AWS; a wave of a recovery plan

_ANNOUNCER = '''
import os

import boto3


def handler(event, context):
    """Writes down what it is told to announce, and whether the one who tells it knows the signature."""
    signed = "signed" if event["sign"]["with"] == os.environ["SIGNATURE"] else "not signed"
    text = f"{event['context']['phase']}: {event['says']} ({signed})"
    boto3.client("ssm").put_parameter(Name=os.environ["SAID_KEY"], Value=text, Type="String", Overwrite=True)
    return {"announced": event["says"]}
'''


def create(cloud: LocalCloud) -> None:
    """Make all of it. The names of DNS come with `point_names_at_primary`."""
    began = datetime.now(UTC) - timedelta(hours=1)
    for region in (PRIMARY_REGION, STANDBY_REGION):
        workload = _client(cloud, "ssm", region)
        workload.put_parameter(Name="/erp/cut-over-start", Value=began.isoformat(timespec="seconds"), Type="String")
        _export(cloud, WORKLOAD_ACCOUNT, region, "ErpCluster", NAME)
        _export(cloud, CONTROL_ACCOUNT, region, "ErpPublicHost", public_host(region))
        _client(cloud, "elbv2", region).create_load_balancer(Name=NAME, Subnets=subnets_of(cloud, region))
        _create_events(cloud, region, enabled=region == PRIMARY_REGION)
        _create_announcer(cloud, region)
        drs_solution.create(cloud, region, wave_seconds=_WAVE_SECONDS * cloud.time_scale)


def observe(cloud: LocalCloud) -> dict[str, str]:
    """Where names point, and what became of the recovery plan in the standby Region."""
    return {
        f"{API_NAME} points to": _api_target(cloud),
        f"{SESSIONS_NAME} points to": _target(cloud, WORKLOAD_ACCOUNT, SESSIONS_NAME, "CNAME")["ResourceRecords"][0]["Value"],
        f"{PUBLIC_NAME} points to": _target(cloud, CONTROL_ACCOUNT, PUBLIC_NAME, "CNAME")["ResourceRecords"][0]["Value"],
        "warehouse's recovery plan": _plan(cloud),
    }


def observe_region(cloud: LocalCloud, region: str) -> dict[str, str]:
    """The rules, the orders that have come through them, and what has been announced last."""
    events, sqs = _client(cloud, "events", region), _client(cloud, "sqs", region)
    states = [events.describe_rule(Name=rule, EventBusName=bus)["State"] for bus in _BUSES for rule in _RULES]
    url = sqs.get_queue_url(QueueName=_ORDERS)["QueueUrl"]
    counted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    said = cloud.client("ssm", region, CONTROL_ACCOUNT).get_parameter(Name=_SAID_KEY)["Parameter"]["Value"]
    return {
        "rules": ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))),
        "orders to work on": str(counted["ApproximateNumberOfMessages"]),
        "announced": said,
    }


def public_host(region: str) -> str:
    """The host in a Region that the public name points at."""
    return f"public.{region}.{PUBLIC_ZONE}"


def sessions_host(region: str) -> str:
    """The host in a Region that the sessions' name points at."""
    return f"sessions.{region}.{INTERNAL_ZONE}"


def _client(cloud: LocalCloud, service: str, region: str) -> Any:
    return cloud.client(service, region, WORKLOAD_ACCOUNT)


def _export(cloud: LocalCloud, account: str, region: str, export: str, value: str) -> None:
    """A stack that exports a name, as the teams that own it would; manifests import it."""
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": f"/erp/{export}", "Type": "String", "Value": value}}
    output = {"Value": value, "Export": {"Name": export}}
    body = json.dumps({"Resources": {"Name": parameter}, "Outputs": {"Name": output}})
    cloud.client("cloudformation", region, account).create_stack(StackName=NAME, TemplateBody=body)


def _create_events(cloud: LocalCloud, region: str, *, enabled: bool) -> None:
    events, sqs = _client(cloud, "events", region), _client(cloud, "sqs", region)
    bus = events.create_event_bus(Name=_BUS)["EventBusArn"]
    events.create_archive(ArchiveName=_ARCHIVE, EventSourceArn=bus, RetentionDays=7)
    queue = f"arn:aws:sqs:{region}:{WORKLOAD_ACCOUNT}:{_ORDERS}"
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue}
    sqs.create_queue(QueueName=_ORDERS, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allow]})})
    for rule, detail_type in _RULES.items():
        for name in _BUSES:
            pattern = json.dumps({"source": ["erp.shop"], "detail-type": [detail_type]})
            events.put_rule(Name=rule, EventBusName=name, EventPattern=pattern, State="ENABLED" if enabled else "DISABLED")
            events.put_targets(Rule=rule, EventBusName=name, Targets=[{"Id": "queue", "Arn": queue}])
    # The shop writes to both Regions. Where the rules are disabled, nobody works on it: it waits in the archive.
    orders = [{"EventBusName": _BUS, "Source": "erp.shop", "DetailType": kind, "Detail": "{}"} for kind in _RULES.values()]
    events.put_events(Entries=orders)


def _create_announcer(cloud: LocalCloud, region: str) -> None:
    """In the orchestrator's own account: the function, and the secret that it wants to be told."""
    iam = cloud.client("iam", region, CONTROL_ACCOUNT)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    allow = {"Effect": "Allow", "Action": "ssm:PutParameter", "Resource": "*"}
    with suppress(iam.exceptions.EntityAlreadyExistsException):  # roles have no Region: the first one made it
        iam.create_role(RoleName=ANNOUNCER, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=ANNOUNCER, PolicyName="said", PolicyDocument=policy)
    ssm = cloud.client("ssm", region, CONTROL_ACCOUNT)
    ssm.put_parameter(Name="/erp/announcer-key", Value=_SIGNATURE, Type="SecureString")
    ssm.put_parameter(Name=_SAID_KEY, Value="nothing", Type="String")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("announce.py", _ANNOUNCER)
    cloud.client("lambda", region, CONTROL_ACCOUNT).create_function(
        FunctionName=ANNOUNCER,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{CONTROL_ACCOUNT}:role/{ANNOUNCER}",
        Handler="announce.handler",
        Timeout=30,
        Code={"ZipFile": code.getvalue()},
        Environment={"Variables": {"SIGNATURE": _SIGNATURE, "SAID_KEY": _SAID_KEY}},
    )


def point_names_at_primary(cloud: LocalCloud) -> None:
    """The zones, of which each account knows its own by the same parameter, and the names in them."""
    balancer = _load_balancer(cloud, PRIMARY_REGION)
    alias = {"HostedZoneId": balancer["CanonicalHostedZoneId"], "DNSName": balancer["DNSName"], "EvaluateTargetHealth": False}
    records: dict[str, list[dict[str, Any]]] = {
        WORKLOAD_ACCOUNT: [
            {"Name": API_NAME, "Type": "A", "AliasTarget": alias},
            _cname(SESSIONS_NAME, sessions_host(PRIMARY_REGION)),
        ],
        CONTROL_ACCOUNT: [_cname(PUBLIC_NAME, public_host(PRIMARY_REGION))],
    }
    for account, zone in ((WORKLOAD_ACCOUNT, INTERNAL_ZONE), (CONTROL_ACCOUNT, PUBLIC_ZONE)):
        route53 = cloud.client("route53", PRIMARY_REGION, account)
        zone_id = route53.create_hosted_zone(Name=zone, CallerReference=NAME)["HostedZone"]["Id"]
        for region in (PRIMARY_REGION, STANDBY_REGION):
            cloud.client("ssm", region, account).put_parameter(Name=_ZONE_KEY, Value=zone_id, Type="String")
        changes = [{"Action": "CREATE", "ResourceRecordSet": record} for record in records[account]]
        route53.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch={"Changes": changes})


def _cname(name: str, value: str) -> dict[str, Any]:
    return {"Name": name, "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": value}]}


def _load_balancer(cloud: LocalCloud, region: str) -> Any:
    return _client(cloud, "elbv2", region).describe_load_balancers(Names=[NAME])["LoadBalancers"][0]


def _target(cloud: LocalCloud, account: str, name: str, kind: str) -> Any:
    zone = cloud.client("ssm", STANDBY_REGION, account).get_parameter(Name=_ZONE_KEY)["Parameter"]["Value"]
    route53 = cloud.client("route53", PRIMARY_REGION, account)
    return route53.list_resource_record_sets(HostedZoneId=zone, StartRecordName=name, StartRecordType=kind)["ResourceRecordSets"][0]


def _api_target(cloud: LocalCloud) -> str:
    name = str(_target(cloud, WORKLOAD_ACCOUNT, API_NAME, "A")["AliasTarget"]["DNSName"]).rstrip(".").removeprefix("dualstack.")
    by_name = {_load_balancer(cloud, region)["DNSName"]: region for region in (PRIMARY_REGION, STANDBY_REGION)}
    return f"the load balancer in {by_name[name]}" if name in by_name else name


def _plan(cloud: LocalCloud) -> str:
    execution = drs_solution.last_execution(cloud, STANDBY_REGION, PLAN)
    return str(execution["status"]) if execution else "never executed"
