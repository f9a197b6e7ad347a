"""Messages that come late, twice or never, as a network may have it: `PUT /_localcloud/deliveries`, `GET` tells what became of them.

Covered are the events of PutEvents, each by itself, and SendMessage of SQS. The body is an `Unreliable`; all shares 0, as at first, is a
network without faults. Whoever sends is told that the message was taken. What a person sends (`dr.operator`) is never lost, since nobody
but the sender could know of it.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from localcloud.control_plane import Answer, ControlPlane
from localcloud.intervention import Onward, Passing

PATH: Final = "/_localcloud/deliveries"

_NEVER_LOST: Final = frozenset({"dr.operator"})
_JSON: Final = {"Content-Type": "application/x-amz-json-1.1"}


class Unreliable(BaseModel):
    """Shares of the messages, each between 0 and 1, that are lost, held up, or come a second time, at most `seconds` later."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    lost: float = Field(0.0, ge=0, le=1)
    late: float = Field(0.0, ge=0, le=1)
    twice: float = Field(0.0, ge=0, le=1)
    seconds: float = Field(5.0, ge=0)


class Deliveries:
    """Decides for each message by dice; keeps how often each thing happened, and which events were put on a bus at all.

    A batch of which some events are not to come now has another body, which the caller has not signed: the gateway puts it itself.
    """

    def __init__(self, session: aiohttp.ClientSession, ministack: str) -> None:
        self._session = session
        self._ministack = ministack
        self._network = Unreliable()
        self._dice = random.Random(0)  # noqa: S311 - dice
        self._counts: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def configure(self, request: web.Request) -> web.Response:
        """Take a network from now on, or tell the counts. 400 says in words what is wrong."""
        if request.method == "GET":
            return web.json_response({"counts": self._counts, "events": self._events, "underWay": len(self._under_way)})
        try:
            self._network = Unreliable.model_validate_json(await request.read())
        except ValidationError as error:
            return web.json_response({"message": str(error)}, status=400)
        self._dice = random.Random(self._network.seed)  # noqa: S311 - dice
        return web.json_response(self._network.model_dump())

    async def __call__(self, passing: Passing, onward: Onward) -> web.StreamResponse:
        """Let a call pass; of what it sends only that which comes now."""
        match f"{passing.call.service}:{passing.call.operation}":
            case "events:PutEvents":
                return await self._put_events(passing, onward)
            case "sqs:SendMessage":
                return await self._send_message(passing, onward)
            case _:
                return await onward(None)

    async def _put_events(self, passing: Passing, onward: Onward) -> web.StreamResponse:
        if passing.call.account is None:
            return await onward(None)  # nobody known: the emulator will say so
        aws, region = ControlPlane(self._session, self._ministack, passing.call.account), passing.call.region
        parameters = passing.parameters()

        def put(chosen: Sequence[Mapping[str, Any]]) -> Awaitable[Answer]:
            return aws.json("events", region, "AWSEvents.PutEvents", {**parameters, "Entries": chosen})

        entries: list[Mapping[str, Any]] = parameters.get("Entries", [])
        now: list[int] = []
        for number, entry in enumerate(entries):
            self._events[_event_id(entry)] += 1
            fate = self._fate(can_be_lost=entry.get("Source") not in _NEVER_LOST)
            self._counts[f"event {fate}"] += 1
            if fate in ("in time", "twice"):
                now.append(number)
            if fate in ("late", "twice"):
                self._later(partial(put, [entry]))
        if len(now) == len(entries):
            return await onward(None)
        results: dict[int, Any] = {number: {"EventId": f"00000000-0000-0000-0000-{number:012d}"} for number in range(len(entries))}
        failed = 0
        if now:
            answer = await put([entries[number] for number in now])
            if answer.status != 200:
                return web.Response(status=answer.status, body=answer.body, headers=_JSON)
            taken = json.loads(answer.body)
            failed = taken["FailedEntryCount"]
            results |= dict(zip(now, taken["Entries"], strict=True))
        together = {"FailedEntryCount": failed, "Entries": [results[number] for number in range(len(entries))]}
        return web.Response(body=json.dumps(together).encode(), headers=_JSON)

    async def _send_message(self, passing: Passing, onward: Onward) -> web.StreamResponse:
        fate = self._fate(can_be_lost=True)
        self._counts[f"message {fate}"] += 1
        if fate in ("late", "twice"):
            self._later(partial(onward, passing.body))
        if fate in ("in time", "twice"):
            return await onward(None)
        return web.Response(body=b'{"MessageId": "00000000-0000-0000-0000-000000000000"}', headers=_JSON)

    def _fate(self, *, can_be_lost: bool) -> str:
        network, dice = self._network, self._dice.random()
        if dice < network.lost:
            return "lost" if can_be_lost else "in time"
        if dice < network.lost + network.late:
            return "late"
        return "twice" if dice < network.lost + network.late + network.twice else "in time"

    def _later(self, deliver: Callable[[], Awaitable[object]]) -> None:
        async def send(seconds: float) -> None:
            await asyncio.sleep(seconds)
            await deliver()

        task = asyncio.ensure_future(send(self._dice.uniform(0, self._network.seconds)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


def _event_id(entry: Mapping[str, Any]) -> str:
    """The orchestrator's own id of an event, empty for what others put."""
    try:
        detail = json.loads(entry.get("Detail", ""))
    except ValueError:
        return ""
    return str(detail.get("eventId", "")) if isinstance(detail, dict) else ""
