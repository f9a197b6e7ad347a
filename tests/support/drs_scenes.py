"""What stands in Elastic Disaster Recovery before a story begins."""

import json
from collections.abc import Mapping
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from botocore.model import OperationModel
from botocore.response import StreamingBody

from localcloud.applications.drs_solution import index
from localcloud.extension import drs
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World

HOSTS = ("web-1", "app-1")
SERVERS = {"HostNames": list(HOSTS)}
SERVER_ID = "s-0123456789abcdef0"
PLAN = {"Method": "OrchestrationSolution", "FunctionName": "execution-handler", "PlanId": "plan-1"}
SYNC_SECONDS = drs.INITIATE_SECONDS + drs.SYNC_SECONDS
JOB_SECONDS = drs.START_JOB_SECONDS + drs.LAUNCH_SECONDS + drs.END_JOB_SECONDS


def servers(
    world: World,
    *names: str,
    region: str = STANDBY,
    origin: str | None = PRIMARY,
    tags: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Source servers of `region`, CONTINUOUS, of machines in `origin` (None: on premises). Returns their ids by name."""
    found = {name: drs.add_source_server(ACCOUNT, region, name, origin_region=origin, tags=tags) for name in names or HOSTS}
    world.time.advance(SYNC_SECONDS)
    return found


def recover(world: World, *ids: str, region: str = STANDBY, drill: bool = False, tags: Mapping[str, str] | None = None) -> str:
    """A job that somebody else has started, and that has ended. Returns its id."""
    wanted = [{"sourceServerID": server_id} for server_id in ids]
    job = world.client("drs", region).start_recovery(sourceServers=wanted, isDrill=drill, tags=dict(tags or {}))["job"]
    world.time.advance(JOB_SECONDS)
    return str(job["jobID"])


def failed_over(world: World, *names: str, origin: str | None = PRIMARY) -> dict[str, str]:
    """The machines run on recovery instances in the standby Region, and DRS is ready where they came from. Returns their servers' ids."""
    if origin is not None:
        world.client("drs", origin).initialize_service()
    found = servers(world, *names, origin=origin)
    recover(world, *found.values())
    return found


def reversed_back(world: World, *names: str) -> dict[str, str]:
    """Failed over, and replicated back to the primary Region."""
    found = failed_over(world, *names)
    for instance in instances(world).values():
        world.client("drs").reverse_replication(recoveryInstanceID=instance["recoveryInstanceID"])
    world.time.advance(SYNC_SECONDS)
    return found


def failed_back(world: World, *names: str) -> dict[str, str]:
    """Failed over, and back again: the primary Region serves, on recovery instances of its own."""
    found = reversed_back(world, *names)
    recover(world, *(item["sourceServerID"] for item in source_servers(world, PRIMARY).values()), region=PRIMARY)
    return found


def misbehave(world: World, server_id: str, tags: Mapping[str, str], region: str = STANDBY) -> None:
    """Set the emulator's own tags on a source server."""
    arn = f"arn:aws:drs:{region}:{ACCOUNT}:source-server/{server_id}"
    world.client("drs", region).tag_resource(resourceArn=arn, tags=dict(tags))


def behave(world: World, server_id: str, *tags: str, region: str = STANDBY) -> None:
    """Take them back."""
    arn = f"arn:aws:drs:{region}:{ACCOUNT}:source-server/{server_id}"
    world.client("drs", region).untag_resource(resourceArn=arn, tagKeys=list(tags))


def source_servers(world: World, region: str = STANDBY) -> dict[str, dict[str, Any]]:
    """The Region's source servers by host name."""
    client = world.client("drs", region)
    client.initialize_service()
    return {item["sourceProperties"]["identificationHints"]["hostname"]: item for item in client.describe_source_servers()["items"]}


def instances(world: World, region: str = STANDBY) -> dict[str, dict[str, Any]]:
    """The Region's recovery instances by the id of their source server."""
    return {item["sourceServerID"]: item for item in world.client("drs", region).describe_recovery_instances()["items"]}


def jobs(world: World, region: str = STANDBY) -> list[dict[str, Any]]:
    """The Region's jobs, the latest first."""
    found: list[dict[str, Any]] = world.client("drs", region).describe_jobs()["items"]
    return found


def solution(world: World) -> None:
    """The stand-in for the DRS Orchestration Solution answers every call of a function, by the world's clock."""
    setattr(index, "time", SimpleNamespace(time=lambda: 1_000_000.0 + world.time()))  # noqa: B010
    function = {"FunctionName": "execution-handler", "State": "Active"}
    world.answer("lambda", "GetFunctionConfiguration", function)
    answered = world.answered

    def by_handler(model: OperationModel) -> tuple[Any, dict[str, Any]] | None:
        if model.name != "Invoke":
            return answered(model)
        event = json.loads(world.calls[-1].parameters["Payload"])
        return returned(index.lambda_handler(event, None))

    setattr(world, "answered", by_handler)  # noqa: B010


def returned(answer: object, **more: str) -> tuple[Any, dict[str, Any]]:
    """What Lambda answers when a function has returned this."""
    body = json.dumps(answer).encode()
    payload = StreamingBody(BytesIO(body), len(body))
    metadata = {"HTTPStatusCode": 200, "RequestId": "answered"}
    return SimpleNamespace(status_code=200), {"StatusCode": 200, "Payload": payload, "ResponseMetadata": metadata, **more}


def server_answer(state: str = "CONTINUOUS", **info: Any) -> dict[str, Any]:
    """A DescribeSourceServers answer with web-1."""
    hints = {"identificationHints": {"hostname": "web-1"}}
    return {
        "items": [{"sourceServerID": SERVER_ID, "sourceProperties": hints, "dataReplicationInfo": {"dataReplicationState": state, **info}}]
    }
