"""`drctl dashboard`: the troubleshooting board in a browser, from the state table, without CloudWatch and without the stack's functions."""

import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

import boto3
import typer

from dr_people import board_shells, wellbeing
from dr_people.board import Board
from drctl.cloud import Cloud, cloud_of
from drctl.failures import WrongUseError, explain

_HOST = "127.0.0.1"


def dashboard(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On this machine; 0 for any that is free.")] = 8480,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in your browser.")] = True,
) -> None:
    """Serve the troubleshooting board on this machine, until Ctrl-C.

    It shows what the CloudWatch dashboard shows, from the state table alone: what runs, what failed, which command mends it.
    It listens on 127.0.0.1 only, changes nothing, and asks AWS with your own rights.

    Examples:

    * `drctl dashboard`
    * `drctl --region us-west-2 dashboard --port 0 --no-open`
    """
    cloud = cloud_of(context)
    try:
        server = make_server(lambda: board_of(cloud), port)
    except OSError as error:
        raise WrongUseError(f"cannot listen on port {port}: {error.strerror}", "choose another one with --port, or --port 0") from error
    with server:
        address = f"http://{_HOST}:{server.server_port}/"
        board_of(cloud)  # what is wrong with credentials or stack is said here, not in the browser
        typer.echo(f"{address}   (Ctrl-C ends it)")
        if open_browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("")


def board_of(cloud: Cloud) -> Board:
    """The board as this drctl sees it."""
    region = boto3.Session().region_name or ""
    queues = {"DeadLetterQueue": cloud.output("DeadLetterQueueUrl"), "UndeliveredQueue": cloud.output("UndeliveredQueueUrl")}
    return Board(
        table=cloud.table,
        region=region,
        stack=cloud.stack_name,
        state_machine_arn=cloud.output("ApprovalStateMachineArn"),
        command=cloud.command,
        clock=cloud.clock,
        wellbeing=lambda: wellbeing.look(cloud.stack_name, queues, cloud.clock()),
    )


def make_server(board: Callable[[], Board], port: int) -> HTTPServer:
    """A server on this machine's loopback; one request after the other."""

    class Handler(BaseHTTPRequestHandler):
        """Shows a page; whatever goes wrong on the way to AWS is said in it."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            # Another site's name may have been made to lead here; its scripts are not to read what this page says.
            if (self.headers.get("Host") or "").rpartition(":")[0] not in (_HOST, "localhost"):
                self._send(board_shells.nothing("Open this page under 127.0.0.1.", 421))
            elif parts.path != "/":
                self._send(board_shells.nothing("There is no such page.", 404))
            else:
                try:
                    self._send(board_shells.page(dict(parse_qsl(parts.query)), board()))
                except Exception as error:  # noqa: BLE001  (said to whoever looks; the next request may go better)
                    message, remedy, _ = explain(error)
                    self._send(board_shells.nothing(f"{message}. {remedy}".strip(), 502))

        do_HEAD = do_GET

        def _send(self, answer: board_shells.Page) -> None:
            body = answer.body.encode()
            self.send_response(answer.status)
            for name, value in board_shells.HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the terminal is the operator's."""

    return HTTPServer((_HOST, port), Handler)
