"""Operations that are accepted and fail later: the one that is asked for, and only that one."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from localcloud.extension import clock, drs, ec2, failures, memorydb, opensearch, rds, rds_backups

from .conftest import Client

ACCOUNT, REGION = "123456789012", "us-west-2"
BACKUP = {"DBInstanceClass": "db.m5.large", "AllocatedStorage": 200, "BackupRetentionPeriod": 7, "Engine": "sqlserver-se"}
SECRET = {"MasterUsername": "admin1", "MasterUserPassword": "secret99"}


def failing(operation: str, parameters: dict[str, Any], call: Callable[[], Any], reason: str | None = None) -> Any:
    """Make a call as the gateway does for a fault: announced on the side of the call on which the operation wants it."""
    wanted = {"operation": operation, "account": ACCOUNT, "region": REGION, "parameters": parameters, "reason": reason}
    after = failures.OPERATIONS[operation].after
    if not after:
        failures.arm(json.dumps(wanted).encode())
    answer = call()
    if after:
        failures.arm(json.dumps(wanted).encode())
    return answer


def test_a_recovery_fails_to_launch_and_the_next_does_not(aws: Client, time: clock.ManualClock) -> None:
    client = aws("drs", REGION)
    client.initialize_service()
    server = drs.add_source_server(ACCOUNT, REGION, "web-1")
    time.advance(drs.INITIATE_SECONDS + drs.SYNC_SECONDS)
    parameters = {"sourceServers": [{"sourceServerID": server}]}

    def launch_status(job: dict[str, Any]) -> str:
        time.advance(drs.START_JOB_SECONDS + drs.LAUNCH_SECONDS + drs.END_JOB_SECONDS)
        found = client.describe_jobs(filters={"jobIDs": [job["job"]["jobID"]]})["items"][0]
        return str(found["participatingServers"][0]["launchStatus"])

    failed = failing("drs:StartRecovery", parameters, lambda: client.start_recovery(**parameters), "no capacity")
    assert launch_status(failed) == "FAILED"
    assert launch_status(client.start_recovery(**parameters)) == "LAUNCHED"


def test_an_instance_stops_again_and_the_next_start_is_well(aws: Client, time: clock.ManualClock) -> None:
    client = aws("ec2", REGION)
    image = client.register_image(Name="image", RootDeviceName="/dev/xvda")["ImageId"]
    instance = client.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    time.advance(ec2.START_SECONDS)
    client.stop_instances(InstanceIds=[instance])
    time.advance(ec2.STOP_SECONDS)

    def found() -> Any:
        return client.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]

    failing(
        "ec2:StartInstances", {"InstanceId.1": instance}, lambda: client.start_instances(InstanceIds=[instance]), "Server.InternalError"
    )
    assert found()["State"]["Name"] == "pending"
    time.advance(ec2.START_SECONDS)
    assert (found()["State"]["Name"], found()["StateReason"]["Code"]) == ("stopped", "Server.InternalError")
    client.start_instances(InstanceIds=[instance])
    time.advance(ec2.START_SECONDS)
    assert found()["State"]["Name"] == "running"


def test_a_change_of_a_domain_fails(aws: Client, time: clock.ManualClock) -> None:
    client = aws("opensearch", REGION)
    one = {"InstanceType": "r6g.large.search", "InstanceCount": 1}
    ebs = {"EBSEnabled": True, "VolumeType": "gp3", "VolumeSize": 50}
    client.create_domain(DomainName="search", ClusterConfig=one, EBSOptions=ebs)
    time.advance(opensearch.CREATE_SECONDS)
    parameters = {"DomainName": "search", "ClusterConfig": one | {"InstanceCount": 2}}
    failing("es:UpdateDomainConfig", parameters, lambda: client.update_domain_config(**parameters), "no room")
    time.advance(opensearch.CHANGE_SECONDS)
    progress = client.describe_domain_change_progress(DomainName="search")["ChangeProgressStatus"]
    assert (progress["Status"], progress["ChangeProgressStages"][0]["Description"]) == ("FAILED", "no room")


def test_a_memorydb_cluster_fails_and_the_next_does_not(aws: Client, time: clock.ManualClock) -> None:
    client = aws("memorydb", REGION)
    for name, asked in (("a", True), ("b", False)):
        parameters = {"ClusterName": name, "NodeType": "db.r6g.large", "ACLName": "open-access"}
        if asked:
            failing("memorydb:CreateCluster", parameters, lambda given=parameters: client.create_cluster(**given))  # type: ignore[misc]
        else:
            client.create_cluster(**parameters)
    time.advance(memorydb.CREATE_CLUSTER_SECONDS)
    assert [cluster["Status"] for cluster in client.describe_clusters()["Clusters"]] == ["create-failed", "available"]


@pytest.mark.parametrize(
    ("operation", "method", "parameters", "status"),
    [
        ("rds:CreateDBInstance", "create_db_instance", {"DBInstanceIdentifier": "new", **BACKUP, **SECRET}, "failed"),
        (
            "rds:RestoreDBInstanceToPointInTime",
            "restore_db_instance_to_point_in_time",
            {"TargetDBInstanceIdentifier": "new", "SourceDBInstanceIdentifier": "ledger", "UseLatestRestorableTime": True},
            "incompatible-restore",
        ),
    ],
)
def test_a_database_instance_is_made_and_then_fails(
    aws: Client, time: clock.ManualClock, operation: str, method: str, parameters: dict[str, Any], status: str
) -> None:
    client = aws("rds", REGION)
    client.create_db_instance(DBInstanceIdentifier="ledger", **BACKUP, **SECRET)
    time.advance(3600)

    def states() -> list[str]:
        return [str(instance["DBInstanceStatus"]) for instance in client.describe_db_instances()["DBInstances"]]

    failing(operation, parameters, lambda: getattr(client, method)(**parameters))
    assert states() == ["available", "creating"]
    time.advance(max(rds.CREATE_INSTANCE_SECONDS, rds_backups.RESTORE_SECONDS))
    assert states() == ["available", status]


def test_a_resource_that_is_not_there_is_an_error(aws: Client) -> None:
    del aws
    with pytest.raises(LookupError):
        failures.arm(json.dumps({"operation": "rds:DeleteDBCluster", "account": ACCOUNT, "region": REGION, "parameters": {}}).encode())
