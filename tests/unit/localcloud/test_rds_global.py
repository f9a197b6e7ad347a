"""Aurora global clusters: who writes, and how that changes over time."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.extension import clock, rds, rds_global

from .conftest import Client
from .test_rds import code, create_cluster, create_instance


class Orders:
    """A global cluster with its writer in us-east-1 and a reader in us-west-2, each with an instance."""

    def __init__(self, aws: Client, time: clock.ManualClock) -> None:
        self.east, self.west, self.time = aws("rds", "us-east-1"), aws("rds", "us-west-2"), time
        create_cluster(self.east)
        create_instance(self.east, "orders-east-1")
        time.advance(rds.CREATE_INSTANCE_SECONDS)
        self.east_arn = self.cluster(self.east)["DBClusterArn"]
        self.east.create_global_cluster(GlobalClusterIdentifier="shop", SourceDBClusterIdentifier=self.east_arn)
        self.west.create_db_cluster(DBClusterIdentifier="orders", Engine="aurora-mysql", GlobalClusterIdentifier="shop")
        create_instance(self.west, "orders-west-1")
        time.advance(rds.CREATE_INSTANCE_SECONDS)
        self.west_arn = self.cluster(self.west)["DBClusterArn"]

    @staticmethod
    def cluster(client: Any) -> Any:
        return client.describe_db_clusters(DBClusterIdentifier="orders")["DBClusters"][0]

    def described(self) -> Any:
        return self.west.describe_global_clusters(GlobalClusterIdentifier="shop")["GlobalClusters"][0]

    def writers(self) -> list[str]:
        return [member["DBClusterArn"] for member in self.described()["GlobalClusterMembers"] if member["IsWriter"]]

    def synchronization(self) -> dict[str, str]:
        members = self.described()["GlobalClusterMembers"]
        return {member["DBClusterArn"]: member["SynchronizationStatus"] for member in members}


@pytest.fixture
def orders(aws: Client, time: clock.ManualClock) -> Orders:
    return Orders(aws, time)


def test_the_source_writes_and_the_other_region_reads(orders: Orders) -> None:
    writer, reader = orders.described()["GlobalClusterMembers"]
    assert (writer["DBClusterArn"], writer["IsWriter"], writer["Readers"]) == (orders.east_arn, True, [orders.west_arn])
    assert (reader["DBClusterArn"], reader["IsWriter"]) == (orders.west_arn, False)
    assert reader["GlobalWriteForwardingStatus"] == "disabled"
    assert not any(member["IsClusterWriter"] for member in orders.cluster(orders.west)["DBClusterMembers"])


def test_a_missing_global_cluster_is_not_found(orders: Orders) -> None:
    with pytest.raises(ClientError) as error:
        orders.west.describe_global_clusters(GlobalClusterIdentifier="missing")
    assert code(error) == "GlobalClusterNotFoundFault"
    with pytest.raises(ClientError) as joining:
        orders.west.create_db_cluster(DBClusterIdentifier="x", Engine="aurora-mysql", GlobalClusterIdentifier="missing")
    assert code(joining) == "GlobalClusterNotFoundFault"


@pytest.mark.parametrize("by_failover_call", [False, True])
def test_a_switchover_moves_the_writer_when_it_ends(orders: Orders, by_failover_call: bool) -> None:
    move = orders.west.failover_global_cluster if by_failover_call else orders.west.switchover_global_cluster
    move(GlobalClusterIdentifier="shop", TargetDbClusterIdentifier=orders.west_arn)
    assert orders.described()["Status"] == "switching-over"
    assert orders.described()["FailoverState"] == {
        "Status": "pending",
        "FromDbClusterArn": orders.east_arn,
        "ToDbClusterArn": orders.west_arn,
        "IsDataLossAllowed": False,
    }
    orders.time.advance(rds_global.VERIFY_SECONDS)
    assert orders.described()["FailoverState"]["Status"] == "failing-over"
    assert orders.writers() == [orders.east_arn]
    assert orders.cluster(orders.west)["Status"] == "switching-over"

    orders.time.advance(rds_global.GLOBAL_FAILOVER_SECONDS - rds_global.VERIFY_SECONDS)
    assert orders.writers() == [orders.west_arn]
    assert orders.described()["Status"] == "available"
    assert "FailoverState" not in orders.described()
    assert orders.cluster(orders.east)["Status"] == orders.cluster(orders.west)["Status"] == "available"
    assert [member["IsClusterWriter"] for member in orders.cluster(orders.west)["DBClusterMembers"]] == [True]


def test_after_an_unplanned_failover_the_old_primary_is_rebuilt_as_a_reader(orders: Orders) -> None:
    orders.west.failover_global_cluster(GlobalClusterIdentifier="shop", TargetDbClusterIdentifier=orders.west_arn, AllowDataLoss=True)
    assert orders.described()["Status"] == "failing-over"
    orders.time.advance(rds_global.GLOBAL_FAILOVER_SECONDS)
    assert orders.writers() == [orders.west_arn]
    assert orders.synchronization() == {orders.east_arn: "pending-resync", orders.west_arn: "connected"}
    assert orders.cluster(orders.east)["Status"] == "resynchronizing"
    with pytest.raises(ClientError) as too_early:
        orders.west.switchover_global_cluster(GlobalClusterIdentifier="shop", TargetDbClusterIdentifier=orders.east_arn)
    assert code(too_early) == "InvalidDBClusterStateFault"

    orders.time.advance(rds_global.RESYNCHRONISE_SECONDS)
    assert orders.synchronization() == {orders.east_arn: "connected", orders.west_arn: "connected"}
    assert orders.cluster(orders.east)["Status"] == "available"


def test_the_writer_a_stranger_and_a_busy_cluster_are_no_targets(orders: Orders) -> None:
    for target, expected in (
        (orders.east_arn, "InvalidDBClusterStateFault"),
        (orders.west_arn.replace("orders", "other"), "DBClusterNotFoundFault"),
    ):
        with pytest.raises(ClientError) as error:
            orders.west.switchover_global_cluster(GlobalClusterIdentifier="shop", TargetDbClusterIdentifier=target)
        assert code(error) == expected
    orders.west.switchover_global_cluster(GlobalClusterIdentifier="shop", TargetDbClusterIdentifier=orders.west_arn)
    with pytest.raises(ClientError) as busy:
        orders.west.failover_global_cluster(GlobalClusterIdentifier="shop", TargetDbClusterIdentifier=orders.west_arn, AllowDataLoss=True)
    assert code(busy) == "InvalidGlobalClusterStateFault"


def test_a_secondary_without_an_instance_cannot_become_the_writer(orders: Orders) -> None:
    orders.west.delete_db_instance(DBInstanceIdentifier="orders-west-1")
    orders.time.advance(rds.DELETE_INSTANCE_SECONDS)
    with pytest.raises(ClientError) as error:
        orders.west.failover_global_cluster(GlobalClusterIdentifier="shop", TargetDbClusterIdentifier=orders.west_arn, AllowDataLoss=True)
    assert code(error) == "InvalidDBClusterStateFault"


def test_members_leave_the_writer_last_and_a_member_is_not_deleted(orders: Orders) -> None:
    with pytest.raises(ClientError) as member:
        orders.west.delete_db_instance(DBInstanceIdentifier="orders-west-1")
        orders.west.delete_db_cluster(DBClusterIdentifier="orders", SkipFinalSnapshot=True)
    assert code(member) == "InvalidDBClusterStateFault"
    with pytest.raises(ClientError) as writer:
        orders.east.remove_from_global_cluster(GlobalClusterIdentifier="shop", DbClusterIdentifier=orders.east_arn)
    assert code(writer) == "InvalidGlobalClusterStateFault"
    with pytest.raises(ClientError) as not_empty:
        orders.east.delete_global_cluster(GlobalClusterIdentifier="shop")
    assert code(not_empty) == "InvalidGlobalClusterStateFault"

    for client, arn in ((orders.west, orders.west_arn), (orders.east, orders.east_arn)):
        client.remove_from_global_cluster(GlobalClusterIdentifier="shop", DbClusterIdentifier=arn)
        assert orders.cluster(client)["Status"] == "promoting"
        orders.time.advance(rds_global.REMOVE_SECONDS)
        assert orders.cluster(client)["Status"] == "available"
    orders.east.delete_global_cluster(GlobalClusterIdentifier="shop")
    assert orders.described()["Status"] == "deleting"
    orders.time.advance(rds_global.DELETE_SECONDS)
    assert orders.east.describe_global_clusters()["GlobalClusters"] == []


def test_a_region_has_one_member_and_a_protected_cluster_stays(orders: Orders) -> None:
    with pytest.raises(ClientError) as second:
        orders.west.create_db_cluster(DBClusterIdentifier="two", Engine="aurora-mysql", GlobalClusterIdentifier="shop")
    assert code(second) == "InvalidGlobalClusterStateFault"
    orders.east.modify_global_cluster(GlobalClusterIdentifier="shop", DeletionProtection=True)
    with pytest.raises(ClientError) as protected:
        orders.east.delete_global_cluster(GlobalClusterIdentifier="shop")
    assert code(protected) == "InvalidParameterCombination"
