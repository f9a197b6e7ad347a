"""A stand-in for Slack's Web API on loopback: it refuses what Slack would refuse, and keeps what it was sent.

Limits and error codes: https://docs.slack.dev/reference/methods and https://docs.slack.dev/reference/block-kit/blocks
"""

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

TOKEN, CHANNEL, SIGNING_SECRET = "xoxb-the-token", "C0123456789", "8f742231b10e8888abcd99yyyzzz85a5"
_MOST_BLOCKS, _LONGEST_TEXT, _LONGEST_VALUE, _LONGEST_METADATA = 50, 3000, 2000, 3000


@dataclass
class Workspace:
    """Its channels, their messages by timestamp, the dialogs that were opened and what single people were told."""

    url: str = ""
    channels: set[str] = field(default_factory=lambda: {CHANNEL})
    members: set[str] = field(default_factory=lambda: {"U0ANN", "U0BOB", "U0EVE"})
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    dialogs: list[dict[str, Any]] = field(default_factory=list)
    whispers: list[tuple[str, str]] = field(default_factory=list)
    triggers: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    broken: str = ""

    @property
    def message(self) -> dict[str, Any]:
        """The only message."""
        (found,) = self.messages.values()
        return found

    def button(self, action: str) -> dict[str, Any]:
        """A button of the only message."""
        elements = [one for block in self.message["blocks"] if block["type"] == "actions" for one in block["elements"]]
        return next(one for one in elements if one["action_id"] == action)

    def words(self) -> str:
        """All that the only message says."""
        return json.dumps(self.message["blocks"], ensure_ascii=False)

    # --- what a person does ---

    def click(self, user: str, action: str, button: dict[str, Any] | None = None) -> dict[str, Any]:
        """The payload that Slack sends when somebody clicks."""
        trigger = f"{next(self.numbers)}.trigger"
        self.triggers.add(trigger)
        clicked = button or self.button(action)
        return {
            "type": "block_actions",
            "user": {"id": user, "username": "whoever", "team_id": "T1"},
            "api_app_id": "A1",
            "token": "a verification token that is out of use",
            "container": {"type": "message", "message_ts": "1", "channel_id": CHANNEL},
            "trigger_id": trigger,
            "team": {"id": "T1", "domain": "testteamnow"},
            "channel": {"id": CHANNEL, "name": "dr"},
            "response_url": "https://hooks.slack.com/actions/T1/1/x",
            "actions": [{"type": "button", "block_id": "decision", "action_ts": "1", **clicked}],
        }

    def submit(self, user: str, dialog: dict[str, Any], **typed: str) -> dict[str, Any]:
        """The payload that Slack sends when somebody submits a dialog."""
        values = {
            block["block_id"]: {block["element"]["action_id"]: {"type": "plain_text_input", "value": typed.get(block["block_id"])}}
            for block in dialog["blocks"]
            if block["type"] == "input"
        }
        view = {
            "id": f"V{next(self.numbers)}",
            "type": "modal",
            "callback_id": dialog["callback_id"],
            "private_metadata": dialog["private_metadata"],
        }
        return {"type": "view_submission", "user": {"id": user}, "team": {"id": "T1"}, "view": {**view, "state": {"values": values}}}

    # --- the API ---

    async def serve_one(self, request: web.Request) -> web.Response:
        """Answer one call of the Web API, as Slack does: 200 with ok or an error's code."""
        sent = await request.json()
        if self.broken == "500":
            return web.Response(status=500)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse("invalid_auth")
        if self.broken:
            return self._refuse(self.broken)
        answer = {
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.postEphemeral": self._whisper,
            "views.open": self._open,
        }[request.match_info["method"]](sent)
        return self._refuse(answer) if isinstance(answer, str) else web.json_response({"ok": True, **answer})

    def _refuse(self, code: str) -> web.Response:
        self.refusals.append(code)
        return web.json_response({"ok": False, "error": code})

    def _post(self, sent: dict[str, Any]) -> dict[str, Any] | str:
        if sent["channel"] not in self.channels:
            return "channel_not_found"
        if wrong := _wrong(sent):
            return wrong
        timestamp = f"1700000000.{len(self.messages):06}"
        self.messages[timestamp] = sent
        return {"channel": sent["channel"], "ts": timestamp}

    def _update(self, sent: dict[str, Any]) -> dict[str, Any] | str:
        if sent["channel"] != CHANNEL or sent["ts"] not in self.messages:
            return "message_not_found"
        if wrong := _wrong(sent):
            return wrong
        self.messages[sent["ts"]] = sent
        return {"channel": CHANNEL, "ts": sent["ts"]}

    def _whisper(self, sent: dict[str, Any]) -> dict[str, Any] | str:
        if sent["channel"] != CHANNEL:
            return "channel_not_found"
        if sent["user"] not in self.members:
            return "user_not_in_channel"
        self.whispers.append((sent["user"], sent["text"]))
        return {"message_ts": "1"}

    def _open(self, sent: dict[str, Any]) -> dict[str, Any] | str:
        if sent["trigger_id"] not in self.triggers:
            return "invalid_trigger"
        self.triggers.discard(sent["trigger_id"])
        view = json.loads(sent["view"]) if isinstance(sent["view"], str) else sent["view"]
        if wrong := wrong_view(view):
            return wrong
        self.dialogs.append(view)
        return {"view": {"id": "V1"}}


def _wrong(sent: dict[str, Any]) -> str:
    """Slack's code for what is wrong with a message; empty if nothing is."""
    if not sent.get("text"):
        return "no_text"
    return wrong_blocks(sent.get("blocks", []))


def wrong_blocks(blocks: list[dict[str, Any]]) -> str:
    """The same for blocks."""
    if len(blocks) > _MOST_BLOCKS:
        return "invalid_blocks"
    if any(len(text) > _LONGEST_TEXT for text in _texts(blocks)):
        return "invalid_blocks"
    parsed = Block.parse_all(blocks)
    if len(parsed) != len(blocks):
        return "invalid_blocks"
    try:
        for block in parsed:
            block.validate_json()
    except SlackObjectFormationError:
        return "invalid_blocks"
    values = [one.get("value", "") for block in blocks if block["type"] == "actions" for one in block["elements"]]
    return "invalid_blocks" if any(len(value) > _LONGEST_VALUE for value in values) else ""


def wrong_view(view: dict[str, Any]) -> str:
    """The same for a dialog."""
    try:
        View(**view).validate_json()
    except SlackObjectFormationError:
        return "invalid_arguments"
    too_long = len(view["title"]["text"]) > 24 or len(view.get("private_metadata", "")) > _LONGEST_METADATA
    return "invalid_arguments" if too_long else wrong_blocks(view["blocks"])


def _texts(blocks: list[dict[str, Any]]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block.get("text"), dict):
            yield block["text"]["text"]
        yield from (one["text"] for one in block.get("elements", []) if isinstance(one.get("text"), str))


@contextmanager
def running() -> Iterator[Workspace]:
    """A workspace that answers at its `url`."""
    made = Workspace()
    loop = asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/api/{method}", made.serve_one)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield made
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def signed(body: str, timestamp: int, secret: str = SIGNING_SECRET) -> dict[str, str]:
    """The headers with which Slack sends the body: as its documentation says, not as our code does it."""
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:{body}".encode(), hashlib.sha256).hexdigest()
    return {"x-slack-signature": f"v0={digest}", "x-slack-request-timestamp": str(timestamp)}


def form(payload: object) -> str:
    """A payload as Slack puts it into a body."""
    return urlencode({"payload": json.dumps(payload)})
