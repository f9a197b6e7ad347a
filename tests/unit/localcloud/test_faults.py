"""Faults: which calls they cover and strike, and what a caller sees of each."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import boto3
import pytest
from aiohttp import web
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.parsers import ResponseParserError, create_parser
from botocore.session import get_session

from localcloud import callers, faults
from localcloud.callers import Worker
from localcloud.extension import failures
from localcloud.fault_injection import FaultInjection
from localcloud.faults import Effect, Fault, FaultError, When
from localcloud.intervention import Passing
from localcloud.wire import Call, credential_scope, operation_name, speaks_cbor


def call(service: str, operation: str, region: str = "us-west-2", account: str = "111111111111") -> Call:
    return Call("AKIA1", account, region, service, operation)


@pytest.mark.parametrize(
    ("fault", "covered"),
    [
        ({"effect": "cut"}, True),
        ({"effect": "cut", "service": "rds", "operation": "Describe*"}, True),
        ({"effect": "cut", "service": "rds", "operation": "DescribeDBInstances"}, False),
        ({"effect": "cut", "service": "ecs"}, False),
        ({"effect": "cut", "region": "us-west-*"}, True),
        ({"effect": "cut", "region": "us-east-1"}, False),
        ({"effect": "cut", "account": "222222222222"}, False),
        ({"effect": "dark", "region": "us-west-2"}, True),
        ({"effect": "dark", "region": "us-west-2", "spared": ["rds"]}, False),
        ({"effect": "wrong-then-right", "last": 1}, True),
    ],
)
def test_a_fault_covers_what_its_patterns_say(fault: dict[str, Any], covered: bool) -> None:
    assert Fault.parse(fault).covers(call("rds", "DescribeDBClusters")) is covered


def test_only_reads_are_wrong_at_first() -> None:
    assert not Fault.parse({"effect": "wrong-then-right", "last": 1}).covers(call("rds", "CreateDBCluster"))


@pytest.mark.parametrize(("service", "region"), [("iam", "us-east-1"), ("route53", "us-east-1"), ("sts", "us-west-2")])
def test_a_global_service_is_in_its_region(service: str, region: str) -> None:
    asked = call(service, "Something", region="us-west-2")
    for dark in ("us-east-1", "us-west-2"):
        assert Fault(effect=Effect.DARK, region=dark).covers(asked) is (dark == region)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({}, "effect: Field required"),
        ({"effect": "explode"}, "effect: Input should be 'throttle'"),
        ({"effect": "cut", "colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"effect": "slow"}, "slow needs seconds"),
        ({"effect": "crash"}, "crash needs when: before or after"),
        ({"effect": "cut", "seconds": 1}, "cut takes no seconds"),
        ({"effect": "dark"}, "dark needs a region"),
        ({"effect": "cut", "spared": ["sts"]}, "cut takes no spared"),
        ({"effect": "cut", "first": 3, "last": 2}, "the last call, 2, comes before the first, 3"),
        ({"effect": "wrong-then-right"}, "needs last"),
        ({"effect": "wrong-then-right", "last": 1, "service": "ecs", "operation": "UpdateService"}, "for reads"),
        ({"effect": "cut", "service": "dynamdb"}, "dynamdb is no service: is it dynamodb"),
        ({"effect": "cut", "service": "rds", "operation": "DescribeClusters"}, "is it DescribeDBClusters"),
        ({"effect": "error", "service": "ecs", "operation": "UpdateService", "code": "Nope"}, "no error code of ecs:UpdateService"),
        ({"effect": "fail-later", "service": "rds", "operation": "DeleteDBInstance"}, "rds:CreateDBInstance"),
        ({"effect": "cut", "probability": 0}, "probability: Input should be greater than 0"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_in_words(fault: dict[str, Any], said: str) -> None:
    with pytest.raises(FaultError) as refused:
        Fault.parse(fault)
    assert said in str(refused.value)


def test_a_service_may_be_called_as_its_client_is() -> None:
    fault = Fault.parse({"effect": "dark", "region": "us-west-2", "service": "stepfunctions", "spared": ["cloudwatch"]})
    assert (fault.service, fault.spared) == ("states", ("monitoring",))


@pytest.mark.parametrize("name", failures.OPERATIONS)
def test_every_operation_that_can_fail_later_can_be_asked_to(name: str) -> None:
    service, _, operation = name.partition(":")
    assert Fault(effect=Effect.FAIL_LATER, service=service, operation=operation, reason="x").covers(call(service, operation))


# What a caller sees. The emulator behind is a server that counts, and answers every call with an empty body.


class Bench:
    """An injection with a server in front of it, and clients that call it."""

    def __init__(self, injection: FaultInjection, url: str, journal: list[Passing], carried_out: list[str]) -> None:
        self.injection, self.url, self.journal, self.carried_out = injection, url, journal, carried_out
        self.handled = 0

    async def rest(self) -> None:
        """Return when all that came has been handled; it goes on when its caller waits no longer."""
        async with asyncio.timeout(60):
            while self.handled < len(self.journal):
                await asyncio.sleep(0.02)

    async def ask(self, service: str, operation: str, /, **parameters: Any) -> Any:
        """Call an operation once, without retries."""
        return await self.ask_within(60, service, operation, **parameters)

    async def ask_within(self, seconds: float, service: str, operation: str, /, **parameters: Any) -> Any:
        """Call an operation once, and wait so long for its answer."""
        made: Any = boto3.client(
            service,  # type: ignore[call-overload]
            region_name="us-west-2",
            endpoint_url=self.url,
            aws_access_key_id="111111111111",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=seconds),
        )
        return await asyncio.to_thread(getattr(made, operation), **parameters)

    async def configure(self, method: str, path: str = "", body: object = None) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.request(method, self.url + faults.PATH + path, json=body) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def bench(*given: Fault) -> AsyncIterator[Bench]:
    journal: list[Passing] = []
    carried_out: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.startswith(faults.PATH):
            return await injection.configure(request)
        if request.path == failures.PATH:
            carried_out.append(f"armed {(await request.json())['parameters']}")
            return web.Response(text="ok")
        body = await request.read()
        scope = credential_scope(request.headers, request.query_string)
        assert scope is not None
        operation = operation_name(scope.service, request.method, request.path, request.query_string, request.headers, body)
        asked = Call(scope.access_key, "111111111111", scope.region, scope.service, operation, speaks_cbor(request.headers))

        async def onward(_: bytes | None) -> web.StreamResponse:
            carried_out.append(operation)
            return web.Response(body=b"{}", content_type="application/x-amz-json-1.1")

        passing = Passing(asked, body, request)
        journal.append(passing)
        try:
            return await injection(passing, onward)
        finally:
            made.handled += 1

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    # Not aiohttp's test server: it gives up a call when its caller does, the gateway does not.
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    async with aiohttp.ClientSession() as session:
        injection = FaultInjection(session, url)
        made = Bench(injection, url, journal, carried_out)
        for fault in given:
            status, answer = await made.configure("POST", body=fault.model_dump(mode="json"))
            assert status == 201, answer
        try:
            yield made
        finally:
            await runner.cleanup()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "status", "code"),
    [
        ("dynamodb", "list_tables", {}, 400, "ProvisionedThroughputExceededException"),
        ("rds", "describe_db_clusters", {}, 400, "Throttling"),
        ("ec2", "describe_instances", {}, 503, "RequestLimitExceeded"),
        ("ecs", "list_clusters", {}, 400, "ThrottlingException"),
        ("lambda", "list_functions", {}, 429, "TooManyRequestsException"),
        ("route53", "list_hosted_zones", {}, 400, "Throttling"),
        ("s3", "list_buckets", {}, 503, "SlowDown"),
        ("cloudwatch", "list_dashboards", {}, 400, "Throttling"),
        ("memorydb", "describe_clusters", {}, 400, "ThrottlingException"),
        ("drs", "describe_jobs", {}, 429, "ThrottlingException"),
        ("sqs", "list_queues", {}, 403, "RequestThrottled"),
    ],
)
def test_each_service_throttles_in_its_own_words(service: str, operation: str, parameters: dict[str, Any], status: int, code: str) -> None:
    async def story() -> None:
        async with bench(Fault(effect=Effect.THROTTLE, last=1)) as made:
            with pytest.raises(ClientError) as refused:
                await made.ask(service, operation, **parameters)
            assert refused.value.response["Error"]["Code"] == code
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
            assert (made.carried_out, made.journal[0].faults) == ([], ["throttle-1"])

    run(story)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault(effect=Effect.ERROR), 500, "InternalFailure"),
        (
            Fault(effect=Effect.ERROR, service="rds", operation="DescribeDBClusters", code="DBClusterNotFoundFault"),
            404,
            "DBClusterNotFoundFault",
        ),
        (Fault(effect=Effect.ERROR, code="AccessDenied"), 400, "AccessDenied"),
        (Fault(effect=Effect.WRONG_THEN_RIGHT, last=1, code="DBClusterNotFoundFault"), 404, "DBClusterNotFoundFault"),
    ],
)
def test_an_error_has_the_status_that_the_model_gives_it(fault: Fault, status: int, code: str) -> None:
    async def story() -> None:
        async with bench(fault) as made:
            with pytest.raises(ClientError) as refused:
                await made.ask("rds", "describe_db_clusters")
            assert refused.value.response["Error"]["Code"] == code
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status

    run(story)


@pytest.mark.parametrize(
    ("fault", "seen", "carried_out", "unanswered"),
    [
        (Fault(effect=Effect.CUT), ConnectionClosedError, [], True),
        (Fault(effect=Effect.DARK, region="us-west-2"), ConnectionClosedError, [], True),
        (Fault(effect=Effect.CUT_AFTER), ConnectionClosedError, ["UpdateService"], False),
        (Fault(effect=Effect.HANG, seconds=0.2), ConnectionClosedError, [], True),
        (Fault(effect=Effect.HANG, seconds=1.5), ReadTimeoutError, [], True),
        (Fault(effect=Effect.SLOW, seconds=0.1), None, ["UpdateService"], False),
        (Fault(effect=Effect.SLOW, seconds=1.5), ReadTimeoutError, ["UpdateService"], False),
        (Fault(effect=Effect.DARK, region="us-east-1"), None, ["UpdateService"], False),
    ],
)
def test_a_connection_that_is_cut_or_late(fault: Fault, seen: type[Exception] | None, carried_out: list[str], unanswered: bool) -> None:
    async def story() -> None:
        async with bench(fault) as made:
            if seen is None:
                await made.ask("ecs", "update_service", service="s")
            else:
                with pytest.raises(seen):
                    await made.ask_within(1 if seen is ReadTimeoutError else 60, "ecs", "update_service", service="s")
            await made.rest()
            assert made.carried_out == carried_out
            assert made.journal[0].unanswered is unanswered

    run(story)


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "empty"),
    [
        ("rds", "describe_db_clusters", {}, "DBClusters"),
        ("ecs", "describe_services", {"services": ["s"]}, "services"),
        ("ec2", "describe_instances", {}, "Reservations"),
        ("route53", "list_hosted_zones", {}, "HostedZones"),
        ("drs", "describe_jobs", {}, "items"),
        ("memorydb", "describe_clusters", {}, "Clusters"),
        ("cloudwatch", "list_dashboards", {}, "DashboardEntries"),
    ],
)
def test_a_read_that_comes_too_early_finds_nothing_and_then_the_truth(
    service: str, operation: str, parameters: dict[str, Any], empty: str
) -> None:
    async def story() -> None:
        async with bench(Fault(effect=Effect.WRONG_THEN_RIGHT, last=2)) as made:
            for _ in range(2):
                assert (await made.ask(service, operation, **parameters))[empty] == []
            assert made.carried_out == []
            with suppress(ResponseParserError):  # the emulator of this bench speaks JSON only
                await made.ask(service, operation, **parameters)
            assert made.carried_out == [made.journal[0].call.operation]

    run(story)


def test_a_read_in_cbor_finds_nothing_too() -> None:
    async def story() -> None:
        async with bench(Fault(effect=Effect.WRONG_THEN_RIGHT, last=1)) as made, aiohttp.ClientSession() as session:
            headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-west-2/monitoring/aws4_request"}
            path = "/service/GraniteServiceVersion20100801/operation/DescribeAlarms"
            async with session.post(made.url + path, headers=headers | {"smithy-protocol": "rpc-v2-cbor"}) as answer:
                content, status, sent = await answer.read(), answer.status, {name.lower(): value for name, value in answer.headers.items()}
            shape = get_session().get_service_model("cloudwatch").operation_model("DescribeAlarms").output_shape
            assert shape is not None
            parsed = create_parser("smithy-rpc-v2-cbor").parse({"status_code": status, "headers": sent, "body": content}, shape)
            assert parsed["CompositeAlarms"] == parsed["MetricAlarms"] == []

    run(story)


def test_a_read_without_a_list_is_told_that_there_is_no_such_thing() -> None:
    async def story() -> None:
        async with bench(Fault(effect=Effect.WRONG_THEN_RIGHT, last=1)) as made:
            with pytest.raises(ClientError) as refused:
                await made.ask("ssm", "get_parameter", Name="/a")
            assert refused.value.response["Error"]["Code"] == "ParameterNotFound"

    run(story)


def test_only_the_calls_from_first_to_last_are_struck_and_the_rest_go_to_the_next_fault() -> None:
    async def story() -> None:
        second = Fault(name="second", effect=Effect.ERROR, service="ecs", first=2, last=3)
        async with bench(second, Fault(name="other", effect=Effect.THROTTLE, service="ecs", last=1)) as made:
            codes = []
            for _ in range(4):
                try:
                    await made.ask("ecs", "list_clusters")
                    codes.append("")
                except ClientError as error:
                    codes.append(error.response["Error"]["Code"])
            assert codes == ["ThrottlingException", "InternalFailure", "InternalFailure", ""]
            assert [passing.faults for passing in made.journal] == [["other"], ["second"], ["second"], []]
            _, active = await made.configure("GET")
            assert [(one["fault"]["name"], one["covered"], one["struck"]) for one in active] == [("second", 4, 2), ("other", 2, 1)]

    run(story)


def test_the_same_seed_strikes_the_same_calls() -> None:
    async def story() -> None:
        struck = []
        for seed in (7, 7, 8):
            async with bench(Fault(effect=Effect.ERROR, probability=0.5, seed=seed)) as made:
                pattern = ""
                for _ in range(20):
                    try:
                        await made.ask("ecs", "list_clusters")
                        pattern += "."
                    except ClientError:
                        pattern += "x"
                struck.append(pattern)
        assert struck[0] == struck[1] != struck[2]
        assert 4 <= struck[0].count("x") <= 16

    run(story)


def test_what_is_to_fail_later_is_announced_on_the_right_side_of_the_call() -> None:
    async def story() -> None:
        before = Fault(effect=Effect.FAIL_LATER, service="memorydb", operation="CopySnapshot")
        after = Fault(effect=Effect.FAIL_LATER, service="ec2", operation="StartInstances")
        async with bench(before, after) as made:
            await made.ask("memorydb", "copy_snapshot", SourceSnapshotName="a", TargetSnapshotName="b")
            assert made.carried_out == ["armed {'SourceSnapshotName': 'a', 'TargetSnapshotName': 'b'}", "CopySnapshot"]
            made.carried_out.clear()
            form = {"Action": "StartInstances", "InstanceId.1": "i-1"}
            headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-west-2/ec2/aws4_request"}
            async with aiohttp.ClientSession() as session:
                await session.post(made.url, data=form, headers=headers)
            assert [word.split()[0] for word in made.carried_out] == ["StartInstances", "armed"]
            assert "'InstanceId.1': 'i-1'" in made.carried_out[1]

    run(story)


@pytest.mark.parametrize(("when", "carried_out"), [(When.BEFORE, []), (When.AFTER, ["ListClusters"])])
def test_the_function_that_calls_is_killed(when: When, carried_out: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(callers, "worker_of", lambda _: Worker(4711, "dr-orchestrator-start-resource"))
    monkeypatch.setattr(Worker, "kill", lambda worker: killed.append(worker.pid))

    async def story() -> None:
        async with bench(Fault(effect=Effect.CRASH, when=when, function="*-start-resource")) as made:
            with pytest.raises(ConnectionClosedError):
                await made.ask("ecs", "list_clusters")
            assert (made.carried_out, killed) == (carried_out, [4711])

    run(story)


@pytest.mark.parametrize("worker", [None, Worker(4711, "dr-orchestrator-check-resource")])
def test_nobody_else_is_killed_or_meets_a_fault_for_that_function(worker: Worker | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "worker_of", lambda _: worker)

    async def story() -> None:
        crash = Fault(effect=Effect.CRASH, when=When.BEFORE, function="*-start-resource")
        async with bench(crash, Fault(effect=Effect.CUT, function="*-start-resource")) as made:
            await made.ask("ecs", "list_clusters")
            assert made.carried_out == ["ListClusters"]

    run(story)


@pytest.mark.skipif(not callers.AVAILABLE, reason="only Linux tells which process has a connection")
def test_a_caller_that_runs_no_function_is_never_found() -> None:
    async def story() -> None:
        async with bench(Fault(effect=Effect.CRASH, when=When.BEFORE)) as made:  # this very process would be killed
            await made.ask("ecs", "list_clusters")
            assert made.carried_out == ["ListClusters"]

    run(story)


def test_faults_are_configured_by_http() -> None:
    async def story() -> None:
        async with bench() as made:
            assert await made.configure("GET") == (200, [])
            status, added = await made.configure("POST", body={"effect": "cut", "service": "rds"})
            assert (status, added["fault"]["name"], added["struck"]) == (201, "cut-1", 0)
            status, refused = await made.configure("POST", body={"effect": "cut", "name": "cut-1"})
            assert (status, refused) == (400, {"message": "there is a fault cut-1 already"})
            assert (await made.configure("POST", body={"effect": "slow"}))[0] == 400
            assert (await made.configure("POST", body={"effect": "cut", "name": "mine"}))[0] == 201
            assert (await made.configure("DELETE", "/none")) == (404, {"message": "there is no fault none"})
            status, left = await made.configure("DELETE", "/cut-1")
            assert (status, [one["fault"]["name"] for one in left]) == (200, ["mine"])
            assert await made.configure("DELETE") == (200, [])
            assert (await made.configure("PUT", body={}))[0] == 405

    run(story)


def test_a_fault_reads_as_it_is_typed() -> None:
    fault = Fault(effect=Effect.SLOW, seconds=2, service="rds", operation="Describe*", last=3, probability=0.5)
    assert str(fault) == "slow 2 --service rds --operation Describe* --last 3 --probability 0.5"
    assert str(Fault(effect=Effect.DARK, region="us-east-1", spared=("sts",))) == "dark --region us-east-1 --spared sts"
    assert json.loads(fault.model_dump_json())["seconds"] == 2
