"""A request for approval as a person meets it: an execution with a rich preflight, and the page on loopback, by the real handler's code."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from dr_core.approvals import SignIn, link_for, respond
from dr_core.items import EXECUTION_SK, ExecutionItem
from dr_core.links import LinkSigner
from dr_core.mapping import item_of
from dr_core.records import Approval, ExecutionStatus, Resource
from dr_engine.preflight import document
from dr_people import approval_views
from tests.support.control_plane import ID, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.reports import obstacle, planned, report, warning

SIGNER = LinkSigner("the-secret")
SLOW = warning("LongTtl", "the TTL is 3600 s")


def ran(cloud: Cloud, number: int, seconds: float, **values: Any) -> None:
    """An execution that is over, and took so long."""
    began = T0 - timedelta(days=number)
    times = {"requested_at": began, "started_at": began, "ended_at": began + timedelta(seconds=seconds)}
    past = an_execution(**{"status": ExecutionStatus.SUCCEEDED, "application": "storefront", "due_at": None, **times, **values})
    item_of(ExecutionItem, past, f"EXEC#01PAST{number}", EXECUTION_SK).save()


def resources() -> list[Resource]:
    """Two layers of a storefront."""
    return [
        a_resource(1, 1, name="database-failover", module="AuroraMySQL"),
        a_resource(2, 1, name="dns-update", module="R53Record"),
        a_resource(2, 2, name="nightly-jobs", module="EventBridge"),
    ]


def request(cloud: Cloud, **approval: Any) -> None:
    """Somebody asks for an ACTIVATE that has something in its way, and a past."""
    values = {"requested_by": "olga", "reason": "us-east-1 answers no calls since 11:40", "application": "storefront"}
    known = resources()
    for number, seconds in ((1, 505.0), (2, 431.0), (3, 1260.0)):
        ran(cloud, number, seconds)
    layers = [a_layer(1), a_layer(2, 2)]
    execution = an_execution(**values, layers_total=2)
    assert cloud.table.create(execution, layers, known, an_approval(manifest_sha256="5ha", **approval), T0)
    failover = planned("rds:FailoverGlobalCluster", GlobalClusterIdentifier="storefront-global", TargetDbClusterIdentifier="storefront")
    reports = [
        report(calls=(failover,), irreversible=True, lag_seconds=4.2, note="what follows depends on the answers"),
        report(
            calls=(planned("route53:ChangeResourceRecordSets", HostedZoneId="Z1"),), findings=(warning("LongTtl", "the TTL is 3600 s"),)
        ),
        report(findings=(obstacle("RuleMissing", "nightly-jobs (EventBridge): there is no rule nightly in us-west-2"),), progress=None),
    ]
    cloud.table.keep_preflight(ID, {one.id: document(one, said) for one, said in zip(known, reports, strict=True)}, T0)


def approval_of(cloud: Cloud) -> Approval:
    """What has been decided."""
    found = cloud.table.approval(ID)
    assert found
    return found


class Site:
    """The approval page on loopback."""

    def __init__(self, cloud: Cloud, address: str) -> None:
        self.cloud, self.address = cloud, address
        self.sign_in: SignIn | None = None
        self.asked: list[str] = []
        self.origins: list[str | None] = []

    def link(self, **values: Any) -> str:
        """The link that an approver gets."""
        state = self.cloud.table.load(ID)
        assert state
        return link_for(state.execution, approval_of(self.cloud), SIGNER, self.address, **values)


@contextmanager
def served(cloud: Cloud) -> Iterator[Site]:
    """The page, as a function URL gives it: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html"""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            event = {
                "rawPath": parts.path,
                "requestContext": {"http": {"method": self.command}, "domainName": self.headers["Host"]},
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "queryStringParameters": dict(parse_qsl(parts.query)),
                "body": body,
            }
            site.asked.append(self.command)
            site.origins += [self.headers.get("Origin")] if self.command == "POST" else []
            if parts.path not in ("/", "/sign-in", "/signed-in"):  # such as /favicon.ico
                self.send_error(404)
                return
            response = respond(event, cloud.table, SIGNER, cloud.clock, page_url=site.address, sign_in=site.sign_in)
            said: Any = approval_views.answer(response, cloud.table)
            self.send_response(said["statusCode"])
            for name, value in said["headers"].items():
                self.send_header(name, value)
            for cookie in said.get("cookies", ()):
                self.send_header("Set-Cookie", cookie)
            content = said["body"].encode()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = _answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(cloud, f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join(5)
