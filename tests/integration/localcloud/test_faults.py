"""Faults against the real emulators: what is struck, what is carried out, and who is killed."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from localcloud.control_plane import ROOT_SECRET
from localcloud.faults import Effect, Fault, FaultError, When
from localcloud.journal import read
from tests.integration.localcloud.functions import make_function

pytestmark = pytest.mark.integration

WRITES = """
import boto3
dynamodb = boto3.client("dynamodb")
def handler(event, context):
    dynamodb.put_item(TableName=event["table"], Item={"id": {"S": event["id"]}})
    return "written"
"""


@pytest.fixture(autouse=True)
def _without_faults(cloud: LocalCloud) -> Iterator[None]:
    yield
    cloud.faults.clear()


@pytest.fixture(scope="module")
def table(cloud: LocalCloud) -> str:
    name = f"faults-{uuid.uuid4().hex[:8]}"
    cloud.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def once(cloud: LocalCloud, service: str, region: str = STANDBY_REGION, account: str = CONTROL_ACCOUNT) -> Any:
    """A client that does not try again."""
    make: Any = boto3.client
    return make(
        service,
        region_name=region,
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id=account,
        aws_secret_access_key=ROOT_SECRET,
        config=Config(retries={"total_max_attempts": 1}),
    )


def ids(cloud: LocalCloud, table: str) -> set[str]:
    return {item["id"]["S"] for item in cloud.client("dynamodb").scan(TableName=table)["Items"]}


def test_a_caller_that_retries_gets_through_throttling(cloud: LocalCloud, table: str) -> None:
    position = cloud.journal.stat().st_size
    with cloud.faults.during(Fault(effect=Effect.THROTTLE, service="dynamodb", operation="PutItem", last=2)) as (name,):
        cloud.client("dynamodb").put_item(TableName=table, Item={"id": {"S": "throttled"}})
    assert "throttled" in ids(cloud, table)
    puts = [(entry.status, entry.error, entry.fault) for entry in read(cloud.journal, position) if entry.operation == "PutItem"]
    assert puts == [(400, "ProvisionedThroughputExceededException", name)] * 2 + [(200, None, None)]


def test_a_call_that_was_carried_out_but_not_answered(cloud: LocalCloud, table: str) -> None:
    position = cloud.journal.stat().st_size
    with cloud.faults.during(Fault(effect=Effect.CUT_AFTER, service="dynamodb")) as (name,), pytest.raises(ConnectionClosedError):
        once(cloud, "dynamodb").put_item(TableName=table, Item={"id": {"S": "unanswered"}})
    assert "unanswered" in ids(cloud, table)
    assert [(entry.status, entry.fault) for entry in read(cloud.journal, position) if entry.operation == "PutItem"] == [(200, name)]


def test_a_dark_region_is_dark_for_all_but_what_is_spared(cloud: LocalCloud) -> None:
    position = cloud.journal.stat().st_size
    with cloud.faults.during(Fault(effect=Effect.DARK, region=PRIMARY_REGION, spared=("sts",))):
        for service, operation in (("rds", "describe_db_clusters"), ("ssm", "describe_parameters"), ("iam", "list_roles")):
            with pytest.raises(HTTPClientError):
                getattr(once(cloud, service, PRIMARY_REGION, WORKLOAD_ACCOUNT), operation)()
        with pytest.raises(HTTPClientError):
            once(cloud, "iam").list_roles()  # IAM is in us-east-1, whoever asks
        cloud.client("sts", PRIMARY_REGION).get_caller_identity()
        cloud.client("rds", STANDBY_REGION, WORKLOAD_ACCOUNT).describe_db_clusters()
    cloud.client("rds", PRIMARY_REGION, WORKLOAD_ACCOUNT).describe_db_clusters()
    struck = [entry for entry in read(cloud.journal, position) if entry.fault]
    assert len(struck) == 4
    assert {(entry.status, entry.error) for entry in struck} == {(0, None)}


@pytest.mark.parametrize("when", When)
def test_a_function_is_killed_on_either_side_of_a_call(cloud: LocalCloud, table: str, when: When) -> None:
    name = f"crash-{uuid.uuid4().hex[:8]}"
    make_function(cloud, name, WRITES)
    functions = cloud.client("lambda")

    def invoke(item: str) -> str | None:
        payload = f'{{"table": "{table}", "id": "{item}"}}'
        error: str | None = functions.invoke(FunctionName=name, Payload=payload).get("FunctionError")
        return error

    crash = Fault(effect=Effect.CRASH, when=when, service="dynamodb", operation="PutItem", function=name, last=1)
    with cloud.faults.during(crash):
        cloud.client("dynamodb").put_item(TableName=table, Item={"id": {"S": "by-hand"}})  # nobody else is killed
        assert invoke(f"{name}-1") == "Unhandled"
        assert invoke(f"{name}-2") is None
    assert f"{name}-2" in ids(cloud, table)
    assert (f"{name}-1" in ids(cloud, table)) is (when is When.AFTER)


def test_an_operation_fails_after_it_was_accepted(cloud: LocalCloud) -> None:
    def state(client: Any, name: str) -> str:
        return str(client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]["DBInstanceStatus"])

    rds = cloud.client("rds", STANDBY_REGION, WORKLOAD_ACCOUNT)
    names = [f"i-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    with cloud.faults.during(Fault(effect=Effect.FAIL_LATER, service="rds", operation="CreateDBInstance", last=1)):
        for name in names:
            rds.create_db_instance(
                DBInstanceIdentifier=name,
                Engine="mysql",
                DBInstanceClass="db.m5.large",
                AllocatedStorage=20,
                MasterUsername="admin",
                MasterUserPassword="secret99",
            )
    assert [state(rds, name) for name in names] == ["failed", "available"]


def test_a_replication_group_ends_as_failed(cloud: LocalCloud) -> None:
    elasticache = cloud.client("elasticache", STANDBY_REGION, WORKLOAD_ACCOUNT)
    name = f"g-{uuid.uuid4().hex[:8]}"
    with cloud.faults.during(Fault(effect=Effect.FAIL_LATER, service="elasticache", operation="CreateReplicationGroup", last=1)):
        elasticache.create_replication_group(
            ReplicationGroupId=name, ReplicationGroupDescription="d", CacheNodeType="cache.m5.large", Engine="redis"
        )
    found = elasticache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
    assert found["Status"] == "create-failed"


def test_an_instance_stops_again_and_starts_the_next_time(cloud: LocalCloud) -> None:
    ec2 = cloud.client("ec2", STANDBY_REGION, WORKLOAD_ACCOUNT)
    image = ec2.register_image(Name=f"image-{uuid.uuid4().hex[:8]}", RootDeviceName="/dev/xvda")["ImageId"]
    instance = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]

    def state() -> str:
        return str(ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"])

    assert state() == "running"
    ec2.stop_instances(InstanceIds=[instance])
    assert state() == "stopped"
    with cloud.faults.during(Fault(effect=Effect.FAIL_LATER, service="ec2", operation="StartInstances", last=1)):
        ec2.start_instances(InstanceIds=[instance])
        assert state() == "stopped"
        ec2.start_instances(InstanceIds=[instance])
        assert state() == "running"


def test_a_fault_that_the_cloud_does_not_take_says_why(cloud: LocalCloud) -> None:
    cloud.faults.add(Fault(effect=Effect.CUT, name="mine", service="drs"))
    with pytest.raises(FaultError, match="there is a fault mine already"):
        cloud.faults.add(Fault(effect=Effect.CUT, name="mine", service="drs"))
    with pytest.raises(FaultError, match="there is no fault yours"):
        cloud.faults.remove("yours")


def drctl(cloud: LocalCloud, *words: str) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("drctl")), "local", *words, "--state-dir", str(cloud.state_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_faults_are_set_by_hand(cloud: LocalCloud) -> None:
    assert drctl(cloud, "fault", "list") == (0, "No faults\n")
    code, said = drctl(
        cloud, "fault", "add", "error", "InternalFailure", "--service", "ssm", "--account", CONTROL_ACCOUNT, "--name", "mine"
    )
    assert (code, said) == (0, f"mine: error InternalFailure --account {CONTROL_ACCOUNT} --service ssm\n")
    with pytest.raises(ClientError, match="InternalFailure"):
        once(cloud, "ssm").describe_parameters()
    assert "fault mine: error InternalFailure" in drctl(cloud, "status")[1]
    assert "(struck 1 of 1 calls)" in drctl(cloud, "fault", "list")[1]
    assert drctl(cloud, "fault", "add", "slow", "--service", "ssm") == (2, "slow needs seconds\n")
    assert drctl(cloud, "fault", "add", "cut", "3") == (2, "cut takes no argument\n")
    assert drctl(cloud, "fault", "clear", "yours") == (1, "there is no fault yours\n")
    assert drctl(cloud, "fault", "clear", "mine") == (0, "")
    cloud.client("ssm").describe_parameters()
