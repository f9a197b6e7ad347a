"""The gateway: one endpoint, two emulators, and each call in the right account."""

import io
import json
import sys
import uuid
import zipfile
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud

pytestmark = pytest.mark.integration

# Calls moto with the function's own role, and answers in the way of a function URL.
HANDLER = """
import boto3, json
def handler(event, context):
    names = [cluster["DBClusterIdentifier"] for cluster in boto3.client("rds").describe_db_clusters()["DBClusters"]]
    return {
        "statusCode": 201,
        "cookies": ["a=1; Path=/", "b=2"],
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"clusters": names, "event": event}),
    }
"""


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def role(cloud: LocalCloud, account: str, name: str, principal: dict[str, str], *allowed: dict[str, Any], **condition: Any) -> str:
    """A role that may create and see database clusters, or what is `allowed`."""
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **condition}
    iam = cloud.client("iam", STANDBY_REGION, account)
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    may = document(*(allowed or (allow("rds:CreateDBCluster", "rds:DescribeDBClusters"),)))
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=may)
    return str(made["Role"]["Arn"])


def session_of(cloud: LocalCloud, arn: str, **more: Any) -> Any:
    """What makes clients with a session of the role."""
    found = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="test", **more)["Credentials"]

    def client(service: str) -> Any:
        made: Any = boto3.client
        return made(
            service,
            region_name=STANDBY_REGION,
            endpoint_url=cloud.endpoint_url,
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
        )

    return client


def denied(call: Any, **parameters: Any) -> str:
    """The error code of a call that is refused."""
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    assert "is not authorized to perform: " in refused.value.response["Error"]["Message"]
    return str(refused.value.response["Error"]["Code"])


def create_cluster(client: Any, name: str) -> None:
    client.create_db_cluster(DBClusterIdentifier=name, Engine="aurora-mysql", MasterUsername="admin", MasterUserPassword="secret99")


def cluster_names(client: Any) -> list[str]:
    return [cluster["DBClusterIdentifier"] for cluster in client.describe_db_clusters()["DBClusters"]]


def last_call(cloud: LocalCloud) -> dict[str, Any]:
    last: dict[str, Any] = json.loads(cloud.journal.read_text().splitlines()[-1])
    return last


def test_both_emulators_answer_behind_one_endpoint_and_keep_accounts_and_regions_apart(cloud: LocalCloud) -> None:
    identity = cloud.client("sts", STANDBY_REGION, WORKLOAD_ACCOUNT).get_caller_identity()
    assert identity["Account"] == WORKLOAD_ACCOUNT
    name = f"c-{uuid.uuid4().hex[:8]}"
    create_cluster(cloud.client("rds", PRIMARY_REGION, WORKLOAD_ACCOUNT), name)
    assert name in cluster_names(cloud.client("rds", PRIMARY_REGION, WORKLOAD_ACCOUNT))
    assert name not in cluster_names(cloud.client("rds", STANDBY_REGION, WORKLOAD_ACCOUNT))
    assert name not in cluster_names(cloud.client("rds", PRIMARY_REGION, CONTROL_ACCOUNT))


def test_an_assumed_role_acts_in_its_account_and_only_with_the_external_id(cloud: LocalCloud) -> None:
    name = f"r-{uuid.uuid4().hex[:8]}"
    arn = role(
        cloud,
        WORKLOAD_ACCOUNT,
        name,
        {"AWS": f"arn:aws:iam::{CONTROL_ACCOUNT}:root"},
        Condition={"StringEquals": {"sts:ExternalId": "right"}},
    )
    sts = cloud.client("sts")
    with pytest.raises(ClientError) as denied:
        sts.assume_role(RoleArn=arn, RoleSessionName="test", ExternalId="wrong")
    assert denied.value.response["Error"]["Code"] == "AccessDenied"

    create_cluster(session_of(cloud, arn, ExternalId="right")("rds"), name)
    assert name in cluster_names(cloud.client("rds", STANDBY_REGION, WORKLOAD_ACCOUNT))
    assert last_call(cloud)["account"] == WORKLOAD_ACCOUNT


def test_what_moto_serves_is_asked_of_the_role_too(cloud: LocalCloud) -> None:
    """Role, session policy and boundary: each of them has to allow it, for the account that is meant."""
    name = f"r-{uuid.uuid4().hex[:8]}"
    root = {"AWS": f"arn:aws:iam::{CONTROL_ACCOUNT}:root"}
    own, foreign = f"arn:aws:rds:*:{WORKLOAD_ACCOUNT}:*", f"arn:aws:rds:{STANDBY_REGION}:{CONTROL_ACCOUNT}:cluster:{name}"
    may = allow("rds:CreateDBCluster", "rds:DescribeDBClusters", "rds:AddTagsToResource", "rds:DeleteDBCluster", resource=own)
    arn = role(cloud, WORKLOAD_ACCOUNT, name, root, may)
    whole = session_of(cloud, arn)
    create_cluster(whole("rds"), name)
    tags = {"Tags": [{"Key": "a", "Value": "b"}]}
    whole("rds").add_tags_to_resource(ResourceName=foreign.replace(CONTROL_ACCOUNT, WORKLOAD_ACCOUNT), **tags)
    assert denied(whole("rds").add_tags_to_resource, ResourceName=foreign, **tags) == "AccessDenied"
    assert denied(whole("rds").describe_db_instances) == "AccessDenied"
    assert denied(whole("ec2").describe_instances) == "UnauthorizedOperation"
    assert denied(whole("ecs").list_clusters) == denied(whole("drs").describe_jobs, filters={}) == "AccessDeniedException"

    narrow = session_of(cloud, arn, Policy=document(allow("rds:DescribeDBClusters", "rds:DescribeDBInstances")))
    assert name in cluster_names(narrow("rds"))
    assert denied(narrow("rds").describe_db_instances) == "AccessDenied", "the session's policy gives no right that the role has not"
    assert denied(narrow("rds").delete_db_cluster, DBClusterIdentifier=name, SkipFinalSnapshot=True) == "AccessDenied"

    iam = cloud.client("iam", STANDBY_REGION, WORKLOAD_ACCOUNT)
    boundary = iam.create_policy(PolicyName=name, PolicyDocument=document(allow("rds:DescribeDBClusters")))["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary)
    bounded = session_of(cloud, arn)
    assert name in cluster_names(bounded("rds"))
    assert denied(bounded("rds").delete_db_cluster, DBClusterIdentifier=name, SkipFinalSnapshot=True) == "AccessDenied"


def test_a_key_that_nobody_was_given_is_refused(cloud: LocalCloud) -> None:
    stranger = boto3.client(
        "rds",
        region_name=STANDBY_REGION,
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id="AKIA0000000000000000",
        aws_secret_access_key="guessed",
    )
    with pytest.raises(ClientError) as refused:
        stranger.describe_db_clusters()
    assert refused.value.response["Error"]["Code"] == "InvalidClientTokenId"


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("glue", "get_databases", {}),  # a service that is not here
        ("rds", "describe_tenant_databases", {}),  # query
        ("ec2", "describe_vpn_concentrators", {}),  # ec2
        ("ecs", "stop_service_deployment", {"serviceDeploymentArn": "arn:aws:ecs:us-west-2:1:x"}),  # json
    ],
)
def test_what_is_not_implemented_is_said_in_the_protocol_of_the_service(
    cloud: LocalCloud, service: str, operation: str, parameters: dict[str, str]
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(cloud.client(service), operation)(**parameters)
    assert refused.value.response["Error"]["Code"] == "NotImplemented"
    assert service in refused.value.response["Error"]["Message"]
    assert last_call(cloud)["status"] == 501


def test_each_call_is_in_the_journal_by_its_operation(cloud: LocalCloud) -> None:
    bucket = f"b-{uuid.uuid4().hex[:8]}"
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": STANDBY_REGION})
    s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"content")
    assert last_call(cloud) | {"time": "", "milliseconds": 0} == {
        "time": "",
        "account": CONTROL_ACCOUNT,
        "region": STANDBY_REGION,
        "service": "s3",
        "operation": "PutObject",
        "backend": "ministack",
        "status": 200,
        "error": None,
        "fault": None,
        "milliseconds": 0,
    }
    assert s3.head_object(Bucket=bucket, Key="a b/ü")["ContentLength"] == 7
    with pytest.raises(ClientError):
        cloud.client("lambda").get_function(FunctionName="missing")
    assert (last_call(cloud)["operation"], last_call(cloud)["error"]) == ("GetFunction", "ResourceNotFoundException")


def test_a_function_calls_aws_through_the_gateway_and_is_reached_by_its_url(cloud: LocalCloud) -> None:
    name = f"f-{uuid.uuid4().hex[:8]}"
    create_cluster(cloud.client("rds", STANDBY_REGION, CONTROL_ACCOUNT), name)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("app.py", HANDLER)
    functions = cloud.client("lambda")
    functions.create_function(
        FunctionName=name,
        Runtime=f"python3.{sys.version_info.minor}",
        Role=role(cloud, CONTROL_ACCOUNT, name, {"Service": "lambda.amazonaws.com"}),
        Handler="app.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=20,
    )
    url = functions.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
        url_only = {"FunctionUrlAuthType": "NONE"} if action == "lambda:InvokeFunctionUrl" else {}
        functions.add_permission(FunctionName=name, StatementId=action.partition(":")[2], Action=action, Principal="*", **url_only)

    answer = httpx.post(
        cloud.function_url(name) + "a/b%20c?x=1&x=2",
        content=b"decision=approve",
        headers={"Cookie": "c=3; d=4", "Content-Type": "application/x-www-form-urlencoded"},
        timeout=30,
    )
    assert answer.status_code == 201
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]
    body = answer.json()
    assert name in body["clusters"]
    assert body["event"]["rawQueryString"] == "x=1&x=2"
    assert body["event"]["headers"]["cookie"] == "c=3; d=4"
    assert body["event"]["requestContext"]["http"]["method"] == "POST"
    assert httpx.get(url + "x?y=1", timeout=30).status_code == 201
    assert httpx.get(cloud.function_url("missing"), timeout=30).status_code == 404


def test_an_unsigned_request_is_refused(cloud: LocalCloud) -> None:
    assert httpx.post(cloud.endpoint_url, data={"Action": "DescribeDBClusters"}, timeout=30).status_code == 403
