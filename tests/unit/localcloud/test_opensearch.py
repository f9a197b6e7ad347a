"""OpenSearch Service: domains and their changes take time, one change at a time, and what AWS refuses is refused."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.test import Client as HttpClient

from localcloud.extension import clock, opensearch

from .conftest import Client
from .test_rds import code

ACCOUNT, WEST = "123456789012", "us-west-2"


class Search:
    """A domain of one node, being created."""

    def __init__(self, aws: Client, time: clock.ManualClock, **options: Any) -> None:
        self.client, self.time = aws("opensearch", WEST), time
        cluster = {"InstanceType": "r6g.large.search", "InstanceCount": 1}
        ebs = {"EBSEnabled": True, "VolumeType": "gp3", "VolumeSize": 50}
        self.client.create_domain(DomainName="search", ClusterConfig=cluster, EBSOptions=ebs, **options)

    @property
    def status(self) -> Any:
        return self.client.describe_domain(DomainName="search")["DomainStatus"]

    @property
    def state(self) -> tuple[bool, str, int]:
        status = self.status
        return status["Processing"], status["DomainProcessingStatus"], status["ClusterConfig"]["InstanceCount"]

    def update(self, **options: Any) -> Any:
        """The progress that the answer tells of, or None."""
        return self.client.update_domain_config(DomainName="search", **options)["DomainConfig"].get("ChangeProgressDetails")

    def grow(self, nodes: int = 3) -> str:
        return str(self.update(ClusterConfig={"InstanceCount": nodes})["ChangeId"])

    def progress(self, **which: str) -> Any:
        return self.client.describe_domain_change_progress(DomainName="search", **which).get("ChangeProgressStatus")


@pytest.fixture
def search(aws: Client, time: clock.ManualClock) -> Iterator[Search]:
    made = Search(aws, time)
    time.advance(opensearch.CREATE_SECONDS)
    yield made


def test_a_domain_is_created_over_time(aws: Client, time: clock.ManualClock) -> None:
    search = Search(aws, time)
    assert (search.state[:2], search.status["Created"]) == ((True, "Creating"), False)
    with pytest.raises(ClientError) as error:
        search.grow()
    assert code(error) == "ValidationException"
    time.advance(opensearch.CREATE_SECONDS)
    assert (search.state[:2], search.status["Created"]) == ((False, "Active"), True)
    assert search.progress() is None


def test_a_change_runs_through_its_stages(search: Search) -> None:
    change = search.grow()
    assert search.state == (True, "Modifying", 3)  # the configuration shows at once, the nodes are not there yet
    found = search.progress(ChangeId=change)
    assert (found["Status"], found["ConfigChangeStatus"], found["PendingProperties"]) == ("PENDING", "Pending", ["ClusterConfig"])
    search.time.advance(opensearch.VALIDATE_SECONDS)
    found = search.progress(ChangeId=change)
    assert (found["Status"], found["ConfigChangeStatus"]) == ("PROCESSING", "ApplyingChanges")
    assert [stage["Status"] for stage in found["ChangeProgressStages"]] == ["COMPLETED", "PENDING", "PENDING", "PENDING"]
    search.time.advance(opensearch.CHANGE_SECONDS)
    found = search.progress()
    assert (found["ChangeId"], found["Status"], found["CompletedProperties"]) == (change, "COMPLETED", ["ClusterConfig"])
    assert search.state == (False, "Active", 3)
    assert search.status["ChangeProgressDetails"]["ConfigChangeStatus"] == "Completed"


def test_one_change_at_a_time(search: Search) -> None:
    first = search.grow()
    with pytest.raises(ClientError, match="A change/update is in progress") as error:
        search.grow(5)
    assert code(error) == "ValidationException"
    search.time.advance(opensearch.CHANGE_SECONDS)
    second = search.grow(5)
    assert search.progress()["ChangeId"] == second
    assert search.progress(ChangeId=first)["Status"] == "COMPLETED"


def test_what_changes_nothing_begins_no_change(search: Search) -> None:
    assert search.update(ClusterConfig={"InstanceCount": 1}) is None
    assert search.state == (False, "Active", 1)


def test_members_that_are_not_given_stay(search: Search) -> None:
    search.update(ClusterConfig={"DedicatedMasterEnabled": True, "DedicatedMasterType": "m6g.large.search", "DedicatedMasterCount": 3})
    search.time.advance(opensearch.CHANGE_SECONDS)
    search.update(EBSOptions={"EBSEnabled": True, "VolumeSize": 100}, AutoTuneOptions={"DesiredState": "DISABLED"})
    search.time.advance(opensearch.CHANGE_SECONDS)
    status = search.status
    assert (status["ClusterConfig"]["DedicatedMasterCount"], status["ClusterConfig"]["InstanceType"]) == (3, "r6g.large.search")
    assert status["EBSOptions"] == {"EBSEnabled": True, "VolumeType": "gp3", "VolumeSize": 100}
    assert status["AutoTuneOptions"] == {"State": "DISABLED"}
    search.update(ClusterConfig={"DedicatedMasterEnabled": False})
    assert "DedicatedMasterCount" not in search.status["ClusterConfig"]


def test_a_change_can_fail_and_leaves_the_domain_as_it_was(search: Search) -> None:
    opensearch.fail_next_change(ACCOUNT, WEST, "search", "Insufficient capacity")
    change = search.grow()
    search.time.advance(opensearch.VALIDATE_SECONDS)
    found = search.progress(ChangeId=change)
    assert (found["Status"], found["ConfigChangeStatus"]) == ("FAILED", "ValidationFailed")
    assert found["ChangeProgressStages"][0]["Description"] == "Insufficient capacity"
    assert search.state == (False, "Active", 1)
    search.time.advance(opensearch.CHANGE_SECONDS)
    assert search.progress(ChangeId=change)["Status"] == "FAILED"
    search.grow()
    search.time.advance(opensearch.CHANGE_SECONDS)
    assert search.progress()["Status"] == "COMPLETED"


@pytest.mark.parametrize(
    "options",
    [
        {"ClusterConfig": {"ZoneAwarenessEnabled": True}},
        {"ClusterConfig": {"DedicatedMasterEnabled": True}},
        {"EBSOptions": {"EBSEnabled": False, "VolumeSize": 10}},
        {"VPCOptions": {"SubnetIds": ["subnet-1"]}},
    ],
)
def test_what_aws_refuses(search: Search, options: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as error:
        search.update(**options)
    assert (code(error), search.state) == ("ValidationException", (False, "Active", 1))


def test_subnets_must_be_as_many_as_zones(aws: Client, time: clock.ManualClock) -> None:
    search = Search(aws, time, VPCOptions={"SubnetIds": ["subnet-1"]})
    time.advance(opensearch.CREATE_SECONDS)
    zones = {"InstanceCount": 2, "ZoneAwarenessEnabled": True, "ZoneAwarenessConfig": {"AvailabilityZoneCount": 2}}
    with pytest.raises(ClientError, match="exactly 2 subnets"):
        search.update(ClusterConfig=zones)
    search.update(ClusterConfig=zones, VPCOptions={"SubnetIds": ["subnet-1", "subnet-2"]})
    assert search.status["VPCOptions"]["SubnetIds"] == ["subnet-1", "subnet-2"]


def test_domains_and_changes_that_are_not_there(search: Search, aws: Client) -> None:
    calls: list[Callable[[], object]] = [
        lambda: search.progress(ChangeId="0" * 8 + "-0000-0000-0000-" + "0" * 12),
        lambda: aws("opensearch", "us-east-1").describe_domain(DomainName="search"),
        lambda: search.client.update_domain_config(DomainName="missing", ClusterConfig={"InstanceCount": 2}),
        lambda: search.client.describe_domain_change_progress(DomainName="missing"),
    ]
    for call in calls:
        with pytest.raises(ClientError) as error:
            call()
        assert code(error) == "ResourceNotFoundException"


def test_motos_server_serves_the_progress(aws: Client) -> None:
    """The server takes the addresses of the service that signs, es, and knows no other."""
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential=testing/20260301/{WEST}/es/aws4_request"}
    server = HttpClient(create_backend_app("es"))
    answer = server.get("/2021-01-01/opensearch/domain/missing/progress", headers=signed)
    assert (answer.status_code, "Domain not found" in answer.get_data(as_text=True)) == (409, True)
