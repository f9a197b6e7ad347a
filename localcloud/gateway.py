"""The one endpoint of the local cloud: a reverse proxy in front of the two emulators.

In:  any signed AWS request (AWS_ENDPOINT_URL points here), function URLs, and a health probe
Out: the emulator's answer: moto for the resources that fail over, ministack for the control plane around them
Each call is recorded in the journal. The request's bytes and Host header stay as they are, so its signature holds; only entries that AWS
would not accept are taken out of a batch, whose signature the emulator does not check.

Run: python -m localcloud.gateway --socket FD --ministack URL --moto URL --account ID --journal FILE
"""

import argparse
import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from localcloud import deliveries, faults, function_urls, repeats, replication, wire
from localcloud.accounts import Accounts, UnknownAccessKeyError
from localcloud.authorisation import Authorisation
from localcloud.control_plane import ControlPlane
from localcloud.deliveries import Deliveries
from localcloud.fault_injection import FaultInjection
from localcloud.function_urls import FunctionUrls, NoFunctionUrlError
from localcloud.intervention import Intervention, Passing, refusal
from localcloud.journal import Journal
from localcloud.repeats import Repeats
from localcloud.strict import Strict
from localcloud.wire import Call

HEALTH_PATH: Final = "/_localcloud/health"
QUEUES_PATH: Final = "/_localcloud/queues"
MAILS_PATH: Final = "/_localcloud/mails"
SERVICE_EVENTS_PATH: Final = "/_localcloud/service-events"  # as in localcloud/emulator/ministack_events.py
MOTO_SERVICES: Final = frozenset(
    {
        "application-autoscaling",
        "autoscaling",
        "drs",
        "ec2",
        "ecs",
        "elasticache",
        "elasticloadbalancing",
        "es",
        "memorydb",
        "rds",
        "servicequotas",
    }
)
# Signing names. A service outside both lists is refused here: ministack takes seconds, and hundreds of megabytes,
# to find out that it does not know a service.
MINISTACK_SERVICES: Final = frozenset(
    {
        "cloudformation",
        "dynamodb",
        "events",
        "iam",
        "kms",
        "lambda",
        "logs",
        "monitoring",
        "organizations",
        "route53",
        "s3",
        "scheduler",
        "secretsmanager",
        "ses",
        "sns",
        "sqs",
        "ssm",
        "states",
        "sts",
        "tagging",
    }
)
# CloudWatch's readings of what moto holds; alarms, dashboards and everybody's own metrics are ministack's.
_MOTO_READINGS: Final = frozenset({"GetMetricData", "GetMetricStatistics", "ListMetrics"})
_MOTO_NAMESPACES: Final = (b"AWS/RDS", b"AWS/ElastiCache")
_NAME_FUNCTION_URLS: Final = frozenset({"cloudformation", "lambda"})
_LARGEST_BODY: Final = 512 * 1024 * 1024  # S3 takes deployment packages
# Headers of one connection, not of the message; Expect has been answered by then.
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "expect", "te", "trailer", "transfer-encoding", "upgrade"})
_ACCOUNT_HEADER: Final = "x-moto-account-id"


class Backend(StrEnum):
    """Who answers a call."""

    GATEWAY = "gateway"
    MINISTACK = "ministack"
    MOTO = "moto"


class Gateway:
    """Routes calls to the emulators.

    What stands between a caller and AWS are interventions, each of which sees a call before the next: injected faults and Region outages,
    then what AWS refuses and an emulator does not, then messages that are lost, late or repeated.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        journal: Journal,
        *,
        ministack: str,
        moto: str,
        account: str,
    ) -> None:
        control_plane = ControlPlane(session, ministack, account)
        self._session = session
        self._account = account
        self._journal = journal
        self._urls = {Backend.MINISTACK: ministack, Backend.MOTO: moto}
        self._accounts = Accounts(control_plane)
        self._authorisation = Authorisation(session, ministack)
        self._function_urls = FunctionUrls(control_plane)
        self._faults = FaultInjection(session, moto)
        self._deliveries = Deliveries(session, ministack)
        self._interventions: Sequence[Intervention] = (self._faults, Strict(session, ministack), self._deliveries)
        self._account = account
        self._repeats = Repeats()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        if request.path == HEALTH_PATH:
            return await self._health()
        if request.path == QUEUES_PATH:
            return await self._forward(request, b"", Backend.MINISTACK, f"/_ministack/sqs/messages?account={self._account}")
        if request.path == replication.PATH:
            return await self._forward(request, await request.read(), Backend.MINISTACK, replication.PATH)
        if request.path == MAILS_PATH:
            return await self._forward(request, b"", Backend.MINISTACK, f"/_ministack/ses/messages?account={self._account}")
        if request.path == SERVICE_EVENTS_PATH:
            return await self._forward(request, await request.read(), Backend.MINISTACK, SERVICE_EVENTS_PATH)
        if request.path == repeats.PATH:
            return await self._repeats.configure(request)
        if request.path == deliveries.PATH:
            return await self._deliveries.configure(request)
        if request.path == faults.PATH or request.path.startswith(faults.PATH + "/"):
            return await self._faults.configure(request)
        if request.path.startswith(function_urls.PREFIX):
            return await self._function_url(request)
        if request.path.startswith(function_urls.EMULATOR_PREFIX):
            return await self._to_function(request, request.raw_path)
        return await self._aws_call(request)

    async def _health(self) -> web.Response:
        """Say whether both emulators answer."""
        healthy = {}
        for backend, path in ((Backend.MINISTACK, "/_ministack/health"), (Backend.MOTO, "/health")):
            try:
                async with self._session.get(self._urls[backend] + path) as answer:
                    healthy[backend.value] = answer.status == 200
            except aiohttp.ClientError:
                healthy[backend.value] = False
        return web.json_response(healthy, status=200 if all(healthy.values()) else 503)

    async def _function_url(self, request: web.Request) -> web.StreamResponse:
        try:
            path = await self._function_urls.emulator_path(request.raw_path)
        except NoFunctionUrlError as error:
            return web.json_response({"message": str(error)}, status=404)
        return await self._to_function(request, path)

    async def _to_function(self, request: web.Request, path: str) -> web.StreamResponse:
        """Send a request on to a function's URL. What the emulator does not check of a signature is checked here."""
        body = await request.read()
        if problem := function_urls.signature_problem(request, body):
            return web.json_response({"Message": problem}, status=403)
        return await self._forward(request, body, Backend.MINISTACK, path)

    async def _aws_call(self, request: web.Request) -> web.StreamResponse:
        started = time.monotonic()
        body = await request.read()
        scope = wire.credential_scope(request.headers, request.query_string)
        if scope is None:
            passing = Passing(Call("", None, "", "", f"{request.method} {request.path}"), body, request)
            refused = refusal(passing.call, 403, "MissingAuthenticationToken", "Request is missing Authentication Token")
            return self._record(passing, refused, started)
        operation = wire.operation_name(scope.service, request.method, request.path, request.query_string, request.headers, body)
        try:
            account = await self._accounts.owner(scope.access_key, scope.region)
        except UnknownAccessKeyError:
            account = None
        cbor = wire.speaks_cbor(request.headers)
        passing = Passing(Call(scope.access_key, account, scope.region, scope.service, operation, cbor), body, request)
        return self._record(passing, await self._pass(passing, body, self._interventions, started), started)

    async def _pass(self, passing: Passing, body: bytes, interventions: Sequence[Intervention], started: float) -> web.StreamResponse:
        """Let a call pass through what stands in its way, and then to its emulator."""
        passing.body = body
        if interventions:

            async def onward(other_body: bytes | None) -> web.StreamResponse:
                return await self._pass(passing, body if other_body is None else other_body, interventions[1:], started)

            return await interventions[0](passing, onward)
        passing.backend = backend = backend_of(passing.call, body)
        try:
            answer = await self._answer(passing, body, backend)
            if self._repeats.cover(passing.call):
                self._record(passing, await self._answer(passing, body, backend), started)
        except aiohttp.ClientError as error:
            answer = refusal(passing.call, 503, "ServiceUnavailable", f"{backend} does not answer: {error}")
        return answer

    async def _answer(self, passing: Passing, body: bytes, backend: Backend) -> web.StreamResponse:
        request, call = passing.request, passing.call
        if backend is Backend.GATEWAY:
            return refusal(call, 501, "NotImplemented", f"{call.service} is not part of the local cloud")
        if backend is Backend.MINISTACK:
            answer = await self._forward(request, body, backend, request.raw_path)
            if call.service in _NAME_FUNCTION_URLS and isinstance(answer.body, bytes):
                answer.body = function_urls.on_loopback(answer.body, request.host)
            return answer
        if call.account is None:
            message = "The security token included in the request is invalid."
            return refusal(call, 403, "InvalidClientTokenId", message)
        denied = await self._authorisation.refusal(passing, call.account)
        if denied is not None:
            return denied
        answer = await self._forward(request, body, backend, request.raw_path, account=call.account)
        if answer.status in (500, 501) and answer.content_type in ("text/plain", "text/html"):
            return _not_served(call, answer)
        return answer

    async def _forward(
        self, request: web.Request, body: bytes, backend: Backend, raw_path: str, *, account: str | None = None
    ) -> web.Response:
        """Send the request on, unchanged, and give back the answer, unchanged."""
        headers = _end_to_end(request.headers)
        headers.popall(_ACCOUNT_HEADER, None)
        if body:
            headers["Content-Length"] = str(len(body))
        if account is not None:
            headers[_ACCOUNT_HEADER] = account
        async with self._session.request(
            request.method,
            URL(self._urls[backend] + raw_path, encoded=True),
            data=body or None,
            headers=headers,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
            answer_headers = _end_to_end(answer.headers)
        if request.method != "HEAD":
            answer_headers.popall("Content-Length", None)
        return web.Response(status=answer.status, reason=answer.reason, headers=answer_headers, body=content)

    def _record(self, passing: Passing, answer: web.StreamResponse, started: float) -> web.StreamResponse:
        error = None
        if answer.status >= 400 and isinstance(answer, web.Response):
            error = wire.error_code(answer.headers, answer.body if isinstance(answer.body, bytes) else b"")
        status = 0 if passing.unanswered else answer.status
        fault = ", ".join(passing.faults) or None
        act = passing.act() if passing.call.account not in (None, self._account) else None
        self._journal.record(
            passing.call,
            backend=passing.backend,
            status=status,
            error=error,
            started=started,
            fault=fault,
            act=act,
            items=wire.dynamodb_items(passing.call, passing.body),
        )
        return answer


def backend_of(call: Call, body: bytes) -> Backend:
    """Who answers a call: the emulator that holds what it is about, or the gateway itself where neither knows the service."""
    if call.service == "monitoring" and call.operation in _MOTO_READINGS and _names(body, _MOTO_NAMESPACES):
        return Backend.MOTO
    if call.service in MOTO_SERVICES:
        return Backend.MOTO
    return Backend.MINISTACK if call.service in MINISTACK_SERVICES else Backend.GATEWAY


def _names(body: bytes, namespaces: Sequence[bytes]) -> bool:
    """Whether a body of CloudWatch names one of these namespaces: as CBOR and JSON write it, or encoded as in a form."""
    return any(word in body for namespace in namespaces for word in (namespace, namespace.replace(b"/", b"%2F")))


def _end_to_end(headers: wire.Headers) -> CIMultiDict[str]:
    """The headers that belong to the message, repeated ones kept."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)


def _not_served(call: Call, answer: web.Response) -> web.Response:
    """Reword moto's page for an unhandled exception, which no AWS SDK can parse."""
    operation = f"{call.service}:{call.operation}"
    if answer.status == 501:
        return refusal(call, 501, "NotImplemented", f"the local cloud does not serve {operation}")
    detail = answer.text if answer.content_type == "text/plain" else "see its log"
    # 500 would be retried by every SDK; the emulator will not do better the next time.
    return refusal(call, 501, "InternalFailure", f"the local cloud's emulator failed in {operation}: {detail}")


async def serve(listener: socket.socket, journal: Path, *, ministack: str, moto: str, account: str) -> None:
    """Serve on an already bound socket until cancelled."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)  # a Lambda invocation may take fifteen minutes
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False))
        gateway = Gateway(session, stack.enter_context(Journal(journal)), ministack=ministack, moto=moto, account=account)
        await stack.enter_async_context(_running(gateway, listener))
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _running(gateway: Gateway, listener: socket.socket) -> AsyncIterator[None]:
    app = web.Application(client_max_size=_LARGEST_BODY)
    app.router.add_route("*", "/{path:.*}", gateway.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description="The gateway of the local cloud.")
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of a bound listening socket")
    parser.add_argument("--ministack", required=True, help="URL of ministack")
    parser.add_argument("--moto", required=True, help="URL of moto")
    parser.add_argument("--account", required=True, help="the control account")
    parser.add_argument("--journal", type=Path, required=True, help="file to which each call is appended")
    arguments = parser.parse_args()
    listener = socket.socket(fileno=arguments.socket)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            serve(
                listener,
                arguments.journal,
                ministack=arguments.ministack,
                moto=arguments.moto,
                account=arguments.account,
            )
        )


if __name__ == "__main__":
    main()
