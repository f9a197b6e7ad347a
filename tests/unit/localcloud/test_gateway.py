"""Which emulator the gateway asks, and what it does on the way there."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import boto3
import pytest
from aiohttp import web
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.model import OperationModel
from botocore.serialize import create_serializer
from botocore.session import get_session

from localcloud import faults, repeats
from localcloud.gateway import Backend, Gateway, backend_of
from localcloud.journal import Journal, read
from localcloud.wire import Call


def call(service: str, operation: str = "Something") -> Call:
    return Call("AKIA1", "123456789012", "us-west-2", service, operation)


def statistics(protocol: str, namespace: str) -> bytes:
    """The body of GetMetricStatistics, as an SDK sends it."""
    model: OperationModel = get_session().get_service_model("cloudwatch").operation_model("GetMetricStatistics")
    wanted = {"Namespace": namespace, "MetricName": "Lag", "StartTime": 0, "EndTime": 60, "Period": 60}
    body = create_serializer(protocol).serialize_to_request(wanted, model)["body"]
    return body if isinstance(body, bytes) else urlencode(body).encode()


@pytest.mark.parametrize(
    ("service", "backend"),
    [
        ("rds", Backend.MOTO),
        ("elasticache", Backend.MOTO),
        ("ssm", Backend.MINISTACK),
        ("monitoring", Backend.MINISTACK),
        ("x", Backend.GATEWAY),
    ],
)
def test_a_service_has_one_home(service: str, backend: Backend) -> None:
    assert backend_of(call(service), b"AWS/RDS") is backend


@pytest.mark.parametrize("protocol", ["smithy-rpc-v2-cbor", "json", "query"])
@pytest.mark.parametrize(
    ("namespace", "backend"),
    [
        ("AWS/RDS", Backend.MOTO),
        ("AWS/ElastiCache", Backend.MOTO),
        ("AWS/States", Backend.MINISTACK),
        ("DROrchestrator", Backend.MINISTACK),
    ],
)
def test_a_metric_is_read_where_its_resource_is(protocol: str, namespace: str, backend: Backend) -> None:
    body = statistics(protocol, namespace)
    assert backend_of(call("monitoring", "GetMetricStatistics"), body) is backend
    assert backend_of(call("monitoring", "GetMetricData"), body) is backend
    assert backend_of(call("monitoring", "ListMetrics"), body) is backend


def test_an_alarm_on_such_a_metric_stays_with_all_the_others() -> None:
    body = json.dumps({"Namespace": "AWS/RDS"}).encode()
    for operation in ("PutMetricAlarm", "DescribeAlarmsForMetric", "PutMetricData"):
        assert backend_of(call("monitoring", operation), body) is Backend.MINISTACK
    assert backend_of(call("ssm", "GetMetricData"), body) is Backend.MINISTACK


# On the way: a gateway whose two emulators are one server, which keeps what it is asked.


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[tuple[str, list[tuple[str, bytes]], Path]]:
    asked: list[tuple[str, bytes]] = []

    async def emulate(request: web.Request) -> web.Response:
        body = await request.read()
        asked.append((request.headers["X-Amz-Target"].rpartition(".")[2], body))
        entries = json.loads(body).get("Entries", [])
        taken = {"FailedEntryCount": 0, "Entries": [{"EventId": entry["DetailType"]} for entry in entries]}
        return web.json_response(taken, status=400 if asked[-1][0] == "DescribeRule" else 200)

    path = tmp_path / "journal.jsonl"
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        emulator = await stack.enter_async_context(served(emulate))
        journal = stack.enter_context(Journal(path))
        gateway = Gateway(session, journal, ministack=emulator, moto=emulator, account="111111111111")
        yield await stack.enter_async_context(served(gateway.handle)), asked, path


@asynccontextmanager
async def served(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application(client_max_size=4_000_000)
    app.router.add_route("*", "/{path:.*}", handler)
    listener = socket.create_server(("127.0.0.1", 0))
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await runner.cleanup()


async def ask(url: str, service: str, operation: str, **parameters: Any) -> Any:
    made: Any = boto3.client(
        service,  # type: ignore[call-overload]
        region_name="us-west-2",
        endpoint_url=url,
        aws_access_key_id="111111111111",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    return await asyncio.to_thread(getattr(made, operation), **parameters)


def entry(name: str, detail: str = "{}") -> dict[str, str]:
    return {"Source": "s", "DetailType": name, "Detail": detail}


def test_only_the_entries_that_are_right_reach_the_emulator(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as (url, asked, _):
            answer = await ask(url, "events", "put_events", Entries=[entry("a"), entry("b", "no"), entry("c")])
            assert answer["FailedEntryCount"] == 1
            assert [one.get("EventId", one.get("ErrorCode")) for one in answer["Entries"]] == ["a", "MalformedDetail", "c"]
            assert [one["DetailType"] for one in json.loads(asked[0][1])["Entries"]] == ["a", "c"]
            asked.clear()
            assert (await ask(url, "events", "put_events", Entries=[entry("b", "no")]))["FailedEntryCount"] == 1
            assert asked == []

    asyncio.run(story())


def test_what_is_refused_does_not_reach_the_emulator(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as (url, asked, path):
            with pytest.raises(ClientError, match="Rule r does not exist on EventBus b"):
                await ask(url, "events", "enable_rule", Name="r", EventBusName="b")
            assert [operation for operation, _ in asked] == ["DescribeRule"]  # the gateway's own question
            last = read(path)[-1]
            assert (last.operation, last.status, last.error, last.fault) == ("EnableRule", 400, "ResourceNotFoundException", None)

    asyncio.run(story())


def test_a_fault_is_in_the_journal_with_what_became_of_the_call(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as (url, asked, path), aiohttp.ClientSession() as session:
            for effect in ("cut", "cut-after", "throttle"):
                await session.post(url + faults.PATH, json={"effect": effect, "name": effect, "last": 1})
            for seen in (ConnectionClosedError, ConnectionClosedError, ClientError):
                with pytest.raises(seen):
                    await ask(url, "ecs", "list_clusters")
            await ask(url, "ecs", "list_clusters")
            assert [operation for operation, _ in asked] == ["ListClusters"] * 2
            told = [(entry.status, entry.error, entry.fault) for entry in read(path)]
            assert told == [(0, None, "cut"), (200, None, "cut-after"), (400, "ThrottlingException", "throttle"), (200, None, None)]

    asyncio.run(story())


def test_what_is_carried_out_twice_is_in_the_journal_twice_but_not_what_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as (url, asked, path), aiohttp.ClientSession() as session:
            await session.put(url + repeats.PATH, json=["events:PutEvents"])
            await ask(url, "events", "put_events", Entries=[entry("a")])
            assert [operation for operation, _ in asked] == ["PutEvents"] * 2
            with pytest.raises(ClientError):
                await ask(url, "events", "put_events", Entries=[entry("a", json.dumps({"x": "y" * 2_000_000}))])
            assert [entry.status for entry in read(path)] == [200, 200, 400]

    asyncio.run(story())


def test_a_journal_of_an_earlier_version_can_be_read(tmp_path: Path) -> None:
    line = {"account": None, "region": "r", "service": "s", "operation": "o", "status": 200, "error": None}
    (tmp_path / "journal.jsonl").write_text(json.dumps(line) + "\n")
    assert read(tmp_path / "journal.jsonl")[0].fault is None
