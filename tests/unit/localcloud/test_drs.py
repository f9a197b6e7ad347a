"""DRS in the local cloud: states that take time, calls that AWS refuses, and machines whose behaviour tags decide."""

from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import werkzeug.test
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.model import OperationModel, StructureShape
from botocore.validate import ParamValidator

from localcloud import extension
from localcloud.extension import clock, drs, drs_responses
from localcloud.extension.__main__ import Server
from tests.unit.localcloud.conftest import Client

ACCOUNT, WEST, EAST = "123456789012", "us-west-2", "us-east-1"
SYNC = drs.INITIATE_SECONDS + drs.SYNC_SECONDS
JOB = drs.START_JOB_SECONDS + drs.LAUNCH_SECONDS + drs.END_JOB_SECONDS


def in_shape(parsed: dict[str, Any], model: OperationModel, **_: object) -> None:
    """Hold an answer against the operation's output shape, patterns and lengths included."""
    if parsed.get("Error") or model.output_shape is None:
        return
    answer = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
    report = ParamValidator().validate(answer, model.output_shape)
    assert not report.has_errors(), report.generate_report()
    assert isinstance(model.output_shape, StructureShape)
    assert set(answer) <= set(model.output_shape.members)


@pytest.fixture
def west(aws: Client) -> Any:
    """DRS where the machines are replicated to."""
    made = aws("drs", WEST)
    made.meta.events.register("after-call.*.*", in_shape)
    made.initialize_service()
    return made


@pytest.fixture
def east(aws: Client) -> Any:
    """DRS where they come from."""
    made = aws("drs", EAST)
    made.meta.events.register("after-call.*.*", in_shape)
    return made


def add(west: Any, time: clock.ManualClock, name: str = "web-1", **tags: str) -> str:
    """A machine of us-east-1, replicated; by the way that is open over HTTP."""
    described = {drs.HOSTNAME_TAG: name, drs.ORIGIN_REGION_TAG: EAST, **tags}
    arn = f"arn:aws:drs:{EAST}:{ACCOUNT}:source-server/s-00000000000000000"
    made = west.create_extended_source_server(sourceServerArn=arn, tags=described)["sourceServer"]
    time.advance(SYNC)
    return str(made["sourceServerID"])


def recover(west: Any, time: clock.ManualClock, *ids: str, drill: bool = False) -> dict[str, Any]:
    """A recovery, to its end; the job."""
    job = west.start_recovery(sourceServers=[{"sourceServerID": one} for one in ids], isDrill=drill, tags={"why": "test"})["job"]
    time.advance(JOB)
    found: dict[str, Any] = west.describe_jobs(filters={"jobIDs": [job["jobID"]]})["items"][0]
    return found


def server(client: Any) -> dict[str, Any]:
    """The Region's only source server."""
    (found,) = client.describe_source_servers()["items"]
    return dict(found)


def instance(client: Any) -> dict[str, Any]:
    """The Region's only recovery instance."""
    (found,) = client.describe_recovery_instances()["items"]
    return dict(found)


def refused(code: str) -> Any:
    return pytest.raises(ClientError, match=code)


def test_nothing_is_served_before_the_service_is_initialized(aws: Client) -> None:
    client = aws("drs", WEST)
    with refused("UninitializedAccountException"):
        client.describe_source_servers()
    client.initialize_service()
    assert client.describe_source_servers()["items"] == []


def test_a_machine_replicates_over_time(west: Any, time: clock.ManualClock) -> None:
    drs.add_source_server(ACCOUNT, WEST, "web-1", origin_region=EAST, tags={"Environment": "DR"})
    seen = []
    for seconds in (0, drs.INITIATE_SECONDS, drs.SYNC_SECONDS):
        time.advance(seconds)
        seen.append(server(west)["dataReplicationInfo"]["dataReplicationState"])
    assert seen == ["INITIATING", "INITIAL_SYNC", "CONTINUOUS"]
    found = server(west)
    assert found["dataReplicationInfo"]["lagDuration"] == "PT0S"
    assert found["sourceProperties"]["identificationHints"]["hostname"] == "web-1"
    assert found["sourceCloudProperties"]["originRegion"] == EAST
    assert found["tags"] == {"Environment": "DR"}


def test_accounts_and_regions_are_apart(west: Any, east: Any, time: clock.ManualClock) -> None:
    add(west, time)
    drs.add_source_server("210987654321", WEST, "other")
    east.initialize_service()
    assert len(west.describe_source_servers()["items"]) == 1
    assert east.describe_source_servers()["items"] == []


def test_a_recovery_takes_time_and_makes_an_instance_in_ec2(west: Any, aws: Client, time: clock.ManualClock) -> None:
    server_id = add(west, time)
    job = west.start_recovery(sourceServers=[{"sourceServerID": server_id}])["job"]
    seen = [(job["status"], job["participatingServers"][0]["launchStatus"])]
    for seconds in (drs.START_JOB_SECONDS, drs.LAUNCH_SECONDS, drs.END_JOB_SECONDS):
        time.advance(seconds)
        (job,) = west.describe_jobs()["items"]
        seen.append((job["status"], job["participatingServers"][0]["launchStatus"]))
    assert seen == [("PENDING", "PENDING"), ("STARTED", "IN_PROGRESS"), ("STARTED", "LAUNCHED"), ("COMPLETED", "LAUNCHED")]
    assert len(job["jobID"]) == 24
    made = instance(west)
    assert (made["ec2InstanceState"], made["isDrill"], made["jobID"], made["originEnvironment"]) == ("RUNNING", False, job["jobID"], "AWS")
    (found,) = aws("ec2", WEST).describe_instances(InstanceIds=[made["ec2InstanceID"]])["Reservations"]
    assert found["Instances"][0]["State"]["Name"] == "running"
    assert server(west)["recoveryInstanceId"] == made["recoveryInstanceID"]
    assert server(west)["lifeCycle"]["lastLaunch"]["status"] == "LAUNCHED"
    events = [entry["event"] for entry in west.describe_job_log_items(jobID=job["jobID"])["items"]]
    assert events == ["JOB_START", "LAUNCH_START", "JOB_END"]


def test_a_launch_replaces_the_instance_of_an_earlier_one(west: Any, time: clock.ManualClock) -> None:
    server_id = add(west, time)
    recover(west, time, server_id, drill=True)
    first = instance(west)
    assert first["isDrill"]
    recover(west, time, server_id)
    assert instance(west)["recoveryInstanceID"] != first["recoveryInstanceID"]
    assert [job["initiatedBy"] for job in west.describe_jobs()["items"]] == ["START_RECOVERY", "START_DRILL"]


def test_a_launch_can_be_made_to_fail(west: Any, time: clock.ManualClock) -> None:
    good, bad = add(west, time), add(west, time, "app-1")
    west.tag_resource(resourceArn=f"arn:aws:drs:{WEST}:{ACCOUNT}:source-server/{bad}", tags={drs.LAUNCH_FAILS_TAG: "no capacity"})
    job = recover(west, time, good, bad)
    assert job["status"] == "COMPLETED"
    assert [part["launchStatus"] for part in job["participatingServers"]] == ["LAUNCHED", "FAILED"]
    log = west.describe_job_log_items(jobID=job["jobID"])["items"]
    assert [entry["eventData"].get("rawError") for entry in log if entry["event"] == "LAUNCH_FAILED"] == ["no capacity"]


def test_a_lag_and_a_stall_can_be_set_and_taken_back(west: Any, time: clock.ManualClock) -> None:
    add(west, time)
    arn = server(west)["arn"]
    west.tag_resource(resourceArn=arn, tags={drs.LAG_TAG: "PT10M", drs.STALLED_TAG: "AGENT_NOT_SEEN"})
    info = server(west)["dataReplicationInfo"]
    assert (info["dataReplicationState"], info["lagDuration"]) == ("STALLED", "PT10M")
    assert info["dataReplicationError"] == {"error": "AGENT_NOT_SEEN"}
    west.untag_resource(resourceArn=arn, tagKeys=[drs.LAG_TAG, drs.STALLED_TAG])
    assert server(west)["dataReplicationInfo"]["dataReplicationState"] == "CONTINUOUS"
    assert drs.LAG_TAG not in west.list_tags_for_resource(resourceArn=arn)["tags"]


def test_recoveries_that_are_refused(west: Any, time: clock.ManualClock) -> None:
    server_id = add(west, time)
    wanted = {"sourceServers": [{"sourceServerID": server_id}]}
    with refused("ConflictException"):  # there is no ResourceNotFoundException
        west.start_recovery(sourceServers=[{"sourceServerID": "s-00000000000000000"}])
    with refused("ConflictException"):
        west.start_recovery(sourceServers=[{"sourceServerID": server_id, "recoverySnapshotID": "pit-00000000000000000"}])
    west.start_recovery(**wanted)
    with refused("ConflictException"):
        west.start_recovery(**wanted)
    for call in (west.stop_replication, west.disconnect_source_server, west.delete_source_server):
        with refused("ConflictException"):
            call(sourceServerID=server_id)
    time.advance(JOB)
    west.stop_replication(sourceServerID=server_id)
    with refused("ConflictException"):
        west.start_recovery(**wanted)
    west.start_replication(sourceServerID=server_id)
    with refused("ConflictException"):
        west.start_recovery(**wanted)  # nothing has been copied yet
    time.advance(SYNC)
    west.start_recovery(**wanted)


def test_jobs_have_limits(west: Any, time: clock.ManualClock) -> None:
    ids = [{"sourceServerID": drs.add_source_server(ACCOUNT, WEST, f"host-{number}")} for number in range(drs.SERVERS_PER_JOB + 1)]
    time.advance(SYNC)
    with refused("ServiceQuotaExceededException"):
        west.start_recovery(sourceServers=ids)
    for one in ids[: drs.JOBS_AT_ONCE]:
        west.start_recovery(sourceServers=[one])
    with refused("ServiceQuotaExceededException"):
        west.start_recovery(sourceServers=[ids[-1]])


def test_a_server_goes_only_step_by_step(west: Any, time: clock.ManualClock) -> None:
    server_id = add(west, time)
    recover(west, time, server_id, drill=True)
    with refused("ConflictException"):
        west.disconnect_source_server(sourceServerID=server_id)  # it has a recovery instance
    job = west.terminate_recovery_instances(recoveryInstanceIDs=[instance(west)["recoveryInstanceID"]])["job"]
    time.advance(drs.START_JOB_SECONDS + drs.TERMINATE_SECONDS)
    assert west.describe_jobs(filters={"jobIDs": [job["jobID"]]})["items"][0]["participatingServers"][0]["launchStatus"] == "TERMINATED"
    assert west.describe_recovery_instances()["items"] == []
    with refused("ConflictException"):
        west.delete_source_server(sourceServerID=server_id)
    west.stop_replication(sourceServerID=server_id)
    assert west.describe_recovery_snapshots(sourceServerID=server_id)["items"] == []
    with refused("ConflictException"):
        west.delete_source_server(sourceServerID=server_id)
    found = west.disconnect_source_server(sourceServerID=server_id)
    assert found["dataReplicationInfo"]["dataReplicationState"] == "DISCONNECTED"
    assert "lagDuration" not in found["dataReplicationInfo"]
    west.delete_source_server(sourceServerID=server_id)
    assert west.describe_source_servers()["items"] == []
    with refused("ResourceNotFoundException"):
        west.delete_source_server(sourceServerID=server_id)


def test_replication_is_reversed_to_the_region_of_origin_and_back(west: Any, east: Any, time: clock.ManualClock) -> None:
    recover(west, time, add(west, time))
    made = instance(west)
    assert made["dataReplicationInfo"]["dataReplicationState"] == "NOT_STARTED"
    with refused("UninitializedAccountException"):
        west.reverse_replication(recoveryInstanceID=made["recoveryInstanceID"])
    east.initialize_service()
    arn = west.reverse_replication(recoveryInstanceID=made["recoveryInstanceID"])["reversedDirectionSourceServerArn"]
    with refused("ConflictException"):
        west.reverse_replication(recoveryInstanceID=made["recoveryInstanceID"])
    time.advance(SYNC)
    copy = server(east)
    assert (copy["arn"], copy["replicationDirection"]) == (arn, "FAILBACK")
    assert copy["sourceProperties"]["identificationHints"]["awsInstanceID"] == made["ec2InstanceID"]
    assert instance(west)["dataReplicationInfo"]["dataReplicationState"] == "CONTINUOUS"
    with refused("ConflictException"):
        west.terminate_recovery_instances(recoveryInstanceIDs=[made["recoveryInstanceID"]])  # its copy lives on it

    recover(east, time, copy["sourceServerID"])
    again = east.reverse_replication(recoveryInstanceID=instance(east)["recoveryInstanceID"])["reversedDirectionSourceServerArn"]
    found = server(west)  # the same one as before
    assert (found["arn"], found["dataReplicationInfo"]["dataReplicationState"]) == (again, "RESCAN")
    time.advance(drs.RESCAN_SECONDS)
    assert server(west)["dataReplicationInfo"]["dataReplicationState"] == "CONTINUOUS"


def test_a_site_is_failed_back_to_by_its_client(west: Any, time: clock.ManualClock) -> None:
    server_id = drs.add_source_server(ACCOUNT, WEST, "web-1")
    time.advance(SYNC)
    recover(west, time, server_id)
    made = instance(west)["recoveryInstanceID"]
    with refused("ValidationException"):
        west.reverse_replication(recoveryInstanceID=made)
    with refused("ConflictException"):
        west.start_failback_launch(recoveryInstanceIDs=[made])
    west.tag_resource(resourceArn=server(west)["arn"], tags={drs.FAILBACK_CLIENT_TAG: "paired"})
    seen = [instance(west)["failback"]["state"]]
    time.advance(drs.SYNC_SECONDS)
    seen.append(instance(west)["failback"]["state"])
    west.start_failback_launch(recoveryInstanceIDs=[made], tags={"why": "test"})
    time.advance(JOB)
    assert [*seen, instance(west)["failback"]["state"]] == ["FAILBACK_IN_PROGRESS", "FAILBACK_READY_FOR_LAUNCH", "FAILBACK_COMPLETED"]
    assert west.describe_jobs()["items"][0]["initiatedBy"] == "FAILBACK"
    west.stop_failback(recoveryInstanceID=made)
    assert instance(west)["failback"]["state"] == "FAILBACK_NOT_STARTED"


def test_an_instance_is_forgotten_only_once_disconnected(west: Any, aws: Client, time: clock.ManualClock) -> None:
    recover(west, time, add(west, time))
    made = instance(west)["recoveryInstanceID"]
    with refused("ConflictException"):
        west.delete_recovery_instance(recoveryInstanceID=made)
    west.disconnect_recovery_instance(recoveryInstanceID=made)
    assert instance(west)["dataReplicationInfo"]["dataReplicationState"] == "DISCONNECTED"
    west.delete_recovery_instance(recoveryInstanceID=made)
    assert west.describe_recovery_instances()["items"] == []
    (found,) = aws("ec2", WEST).describe_instances(InstanceIds=[made])["Reservations"]
    assert found["Instances"][0]["State"]["Name"] == "running"
    for call in (west.disconnect_recovery_instance, west.reverse_replication, west.stop_failback):
        with refused("ResourceNotFoundException"):
            call(recoveryInstanceID=made)


def test_lists_come_in_pages(west: Any, time: clock.ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drs_responses, "PAGE_SIZE", 2)
    ids = {add(west, time, f"host-{number}") for number in range(5)}
    first = west.describe_source_servers(maxResults=50)
    assert len(first["items"]) == 2
    pages = list(west.get_paginator("describe_source_servers").paginate())
    assert {item["sourceServerID"] for page in pages for item in page["items"]} == ids
    assert "nextToken" not in pages[-1]
    (found,) = west.describe_source_servers(filters={"sourceServerIDs": [min(ids)]})["items"]
    assert found["sourceServerID"] == min(ids)


def test_snapshots_and_launch_settings(west: Any, time: clock.ManualClock) -> None:
    server_id = add(west, time)
    time.advance(1300)
    taken = west.describe_recovery_snapshots(sourceServerID=server_id)["items"]
    assert len(taken) == 3
    assert taken[0]["timestamp"] > taken[-1]["timestamp"]
    ascending = west.describe_recovery_snapshots(sourceServerID=server_id, order="ASC")["items"]
    assert ascending == taken[::-1]
    west.start_recovery(sourceServers=[{"sourceServerID": server_id, "recoverySnapshotID": taken[1]["snapshotID"]}])
    assert west.get_launch_configuration(sourceServerID=server_id)["launchDisposition"] == "STARTED"
    west.update_launch_configuration(sourceServerID=server_id, launchDisposition="STOPPED")
    assert west.get_launch_configuration(sourceServerID=server_id)["launchDisposition"] == "STOPPED"


def test_jobs_can_be_asked_for_by_date_and_deleted(west: Any, time: clock.ManualClock) -> None:
    server_id = add(west, time)
    first = recover(west, time, server_id)
    time.advance(3600)
    second = west.start_recovery(sourceServers=[{"sourceServerID": server_id}])["job"]
    since = first["endDateTime"]
    assert [job["jobID"] for job in west.describe_jobs(filters={"fromDate": since})["items"]] == [second["jobID"]]
    with refused("ConflictException"):
        west.delete_job(jobID=second["jobID"])
    west.delete_job(jobID=first["jobID"])
    with refused("ResourceNotFoundException"):
        west.delete_job(jobID=first["jobID"])


def test_motos_server_serves_it_too() -> None:
    """As the gateway sends it on: told apart by the signature, the account in a header."""
    extension.install()
    server = werkzeug.test.Client(Server())

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        parts = urlsplit(request.url)
        headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}
        headers["x-moto-account-id"] = "333333333333"
        answer = server.open(parts.path, method=request.method, headers=headers, data=request.body)
        return AWSResponse(
            request.url, answer.status_code, HTTPHeaders.from_pairs(answer.headers), SimpleNamespace(stream=lambda: iter([answer.data]))
        )

    west = boto3.client("drs", region_name=WEST, aws_access_key_id="testing", aws_secret_access_key="testing")
    west.meta.events.register_first("before-send.drs.*", send)
    west.initialize_service()
    tags = {drs.HOSTNAME_TAG: "web-1"}
    made = west.create_extended_source_server(sourceServerArn=f"arn:aws:drs:{EAST}:{ACCOUNT}:source-server/s-{0:017}", tags=tags)
    arn = made["sourceServer"]["arn"]
    assert arn.split(":")[3:5] == [WEST, "333333333333"]
    west.tag_resource(resourceArn=arn, tags={drs.LAG_TAG: "PT1M"})
    assert west.list_tags_for_resource(resourceArn=arn)["tags"] == {**tags, drs.LAG_TAG: "PT1M"}


def test_every_operation_that_is_served_is_one_of_drs() -> None:
    known = set(boto3.client("drs", region_name=WEST).meta.method_to_api_mapping)
    ours = {name for name in vars(drs_responses.DRSResponse) if not name.startswith("_")} - {"backend", "call_action"}
    assert ours <= known
