"""RDS: instances and clusters come and go over time, and AWS's refusals are made."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.extension import clock, rds

from .conftest import Client


@pytest.fixture
def database(aws: Client) -> Any:
    return aws("rds", "us-west-2")


def create_cluster(client: Any, name: str = "orders") -> None:
    client.create_db_cluster(DBClusterIdentifier=name, Engine="aurora-mysql", MasterUsername="admin", MasterUserPassword="secret99")


def create_instance(client: Any, name: str, cluster: str = "orders") -> None:
    client.create_db_instance(DBInstanceIdentifier=name, DBClusterIdentifier=cluster, DBInstanceClass="db.r6g.large", Engine="aurora-mysql")


def status(client: Any, name: str) -> str:
    return str(client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]["DBInstanceStatus"])


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_an_instance_is_creating_then_available_then_deleting_then_gone(database: Any, time: clock.ManualClock) -> None:
    create_cluster(database)
    create_instance(database, "orders-1")
    assert status(database, "orders-1") == "creating"
    time.advance(rds.CREATE_INSTANCE_SECONDS)
    assert status(database, "orders-1") == "available"

    database.delete_db_instance(DBInstanceIdentifier="orders-1", SkipFinalSnapshot=True)
    assert status(database, "orders-1") == "deleting"
    with pytest.raises(ClientError) as again:
        database.delete_db_instance(DBInstanceIdentifier="orders-1", SkipFinalSnapshot=True)
    assert code(again) == "InvalidDBInstanceState"
    time.advance(rds.DELETE_INSTANCE_SECONDS)
    with pytest.raises(ClientError) as gone:
        status(database, "orders-1")
    assert code(gone) == "DBInstanceNotFound"


def test_with_a_scale_of_zero_everything_has_happened_at_the_next_call(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clock.TIME_SCALE_VARIABLE, "0")
    create_cluster(database)
    create_instance(database, "orders-1")
    assert status(database, "orders-1") == "available"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"DBSubnetGroupName": "nowhere"}, "DBSubnetGroupNotFoundFault"),
        ({"DBClusterParameterGroupName": "nothing"}, "DBClusterParameterGroupNotFound"),
        ({"DBSubnetGroupName": "default", "DBClusterParameterGroupName": "default.aurora-mysql8.0"}, None),
    ],
)
def test_a_cluster_needs_the_groups_that_it_names(database: Any, named: dict[str, str], said: str | None) -> None:
    asked = {"DBClusterIdentifier": "orders", "Engine": "aurora-mysql", "MasterUsername": "admin", "MasterUserPassword": "secret99"}
    if said is None:
        database.create_db_cluster(**asked, **named)
        return
    with pytest.raises(ClientError) as error:
        database.create_db_cluster(**asked, **named)
    assert code(error) == said
    assert database.describe_db_clusters()["DBClusters"] == []


def test_an_instance_of_a_missing_cluster_is_refused(database: Any) -> None:
    with pytest.raises(ClientError) as error:
        create_instance(database, "orders-1", cluster="missing")
    assert code(error) == "DBClusterNotFoundFault"


def test_a_cluster_is_deleted_only_when_its_instances_are(database: Any, time: clock.ManualClock) -> None:
    create_cluster(database)
    create_instance(database, "orders-1")
    with pytest.raises(ClientError) as error:
        database.delete_db_cluster(DBClusterIdentifier="orders", SkipFinalSnapshot=True)
    assert code(error) == "InvalidDBClusterStateFault"

    database.delete_db_instance(DBInstanceIdentifier="orders-1")
    with pytest.raises(ClientError) as undecided:
        database.delete_db_cluster(DBClusterIdentifier="orders")
    assert code(undecided) == "InvalidParameterCombination"
    database.delete_db_cluster(DBClusterIdentifier="orders", FinalDBSnapshotIdentifier="orders-final")
    assert database.describe_db_clusters(DBClusterIdentifier="orders")["DBClusters"][0]["Status"] == "deleting"
    time.advance(rds.DELETE_CLUSTER_SECONDS)
    with pytest.raises(ClientError) as gone:
        database.describe_db_clusters(DBClusterIdentifier="orders")
    assert code(gone) == "DBClusterNotFoundFault"
    assert database.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier="orders-final")["DBClusterSnapshots"]


def test_a_final_snapshot_is_taken_or_declined(database: Any) -> None:
    database.create_db_instance(
        DBInstanceIdentifier="ledger",
        DBInstanceClass="db.t3.medium",
        Engine="postgres",
        MasterUsername="admin1",
        MasterUserPassword="secret99",
        AllocatedStorage=20,
    )
    with pytest.raises(ClientError) as undecided:
        database.delete_db_instance(DBInstanceIdentifier="ledger")
    assert code(undecided) == "InvalidParameterCombination"
    database.delete_db_instance(DBInstanceIdentifier="ledger", FinalDBSnapshotIdentifier="ledger-final")
    assert database.describe_db_snapshots(DBSnapshotIdentifier="ledger-final")["DBSnapshots"]


def test_a_failover_in_the_region_moves_the_writer_after_a_while(database: Any, time: clock.ManualClock) -> None:
    create_cluster(database)
    create_instance(database, "orders-1")
    create_instance(database, "orders-2")
    time.advance(rds.CREATE_INSTANCE_SECONDS)
    database.failover_db_cluster(DBClusterIdentifier="orders", TargetDBInstanceIdentifier="orders-2")

    def cluster() -> Any:
        return database.describe_db_clusters(DBClusterIdentifier="orders")["DBClusters"][0]

    def writers() -> list[str]:
        return [each["DBInstanceIdentifier"] for each in cluster()["DBClusterMembers"] if each["IsClusterWriter"]]

    assert (cluster()["Status"], writers()) == ("failing-over", ["orders-1"])
    time.advance(rds.FAILOVER_CLUSTER_SECONDS)
    assert (cluster()["Status"], writers()) == ("available", ["orders-2"])


def test_the_reader_takes_over_when_the_writer_is_deleted(database: Any, time: clock.ManualClock) -> None:
    create_cluster(database)
    create_instance(database, "orders-1")
    create_instance(database, "orders-2")
    time.advance(rds.CREATE_INSTANCE_SECONDS)
    database.delete_db_instance(DBInstanceIdentifier="orders-1")
    time.advance(rds.DELETE_INSTANCE_SECONDS)
    members = database.describe_db_clusters(DBClusterIdentifier="orders")["DBClusters"][0]["DBClusterMembers"]
    assert [(each["DBInstanceIdentifier"], each["IsClusterWriter"]) for each in members] == [("orders-2", True)]


def test_a_name_can_be_used_again(database: Any, time: clock.ManualClock) -> None:
    create_cluster(database)
    with pytest.raises(ClientError) as taken:
        create_cluster(database)
    assert code(taken) == "DBClusterAlreadyExistsFault"
    time.advance(rds.CREATE_CLUSTER_SECONDS)
    database.delete_db_cluster(DBClusterIdentifier="orders", SkipFinalSnapshot=True)
    time.advance(rds.DELETE_CLUSTER_SECONDS)
    create_cluster(database)


def test_an_instance_can_be_created_again_within_the_minute(database: Any, time: clock.ManualClock) -> None:
    """An automated snapshot is named by the minute: the second creation must not trip over the first one's."""
    create_cluster(database)
    for _ in range(2):
        create_instance(database, "orders-1")
        database.create_db_instance(DBInstanceIdentifier="alone", DBInstanceClass="db.t3.micro", Engine="mysql", AllocatedStorage=20)
        time.advance(rds.CREATE_INSTANCE_SECONDS)
        for instance in ("orders-1", "alone"):
            database.delete_db_instance(DBInstanceIdentifier=instance, SkipFinalSnapshot=True)
        time.advance(rds.DELETE_INSTANCE_SECONDS)
