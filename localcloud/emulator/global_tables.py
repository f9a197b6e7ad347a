"""Global tables of DynamoDB, replicated as AWS does it: item by item, some time after the write, the last writer wins.

ministack writes to all replicas at once, which would hide what a replica may look like when a Region is lost, and its CloudFormation makes
no replicas. Checked against ministack 1.5.33. `localcloud/replication.py` is how tests speak to this.
"""

import asyncio
import copy
import json
import random
import time
from fnmatch import fnmatchcase
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners
from own_path import Application, with_path  # beside this file

PATH = "/_localcloud/replication"

_GLOBAL_TABLE = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::GlobalTable"]
_create, _update = _GLOBAL_TABLE["create"], _GLOBAL_TABLE["update"]


class Replication:
    """The writes that are under way to other replicas, and those held up on the way."""

    def __init__(self) -> None:
        self.seconds = 0.2
        self.held: list[str] = []
        self._dice = random.Random(0)  # noqa: S311 - dice
        self._stopped: list[tuple[Any, ...]] = []
        self._under_way = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        # Of each item of each replica: when what it holds was written, and where.
        self._stamps: dict[tuple[str, str, str, str, str], tuple[float, str]] = {}

    def write(self, table: Any, _event: str, old: Any, new: Any) -> None:
        """Send what was just written here to the other replicas."""
        regions = dynamodb._replica_group(table)
        if not regions:
            return
        account, home, name = get_account_id(), get_region(), table["TableName"]
        item = old if new is None else new
        key = tuple(dynamodb._extract_key_val(item.get(table[which])) for which in ("pk_name", "sk_name"))
        stamp = (time.time(), home)
        self._stamps[(account, home, name, *key)] = stamp
        for region in regions:
            if region != home:
                self._send((account, region, name, key, stamp, copy.deepcopy(new)))

    def _send(self, write: tuple[Any, ...]) -> None:
        self._under_way += 1
        seconds = self._dice.uniform(0, self.seconds)
        assert self._loop is not None, "the server has started"
        # A timer of the loop may be set by its own thread alone.
        self._loop.call_soon_threadsafe(lambda: asyncio.get_running_loop().call_later(seconds, self._arrive, write))

    def _arrive(self, write: tuple[Any, ...]) -> None:
        self._under_way -= 1
        if any(fnmatchcase(write[3][1], pattern) for pattern in self.held):
            self._stopped.append(write)
            return
        account, region, name, key, stamp, new = write
        if stamp <= self._stamps.get((account, region, name, *key), (0.0, "")):
            return  # what is here was written later
        with request_scope(account, region):
            replica = dynamodb._tables.get(name)
            if replica is None:
                return
            self._stamps[(account, region, name, *key)] = stamp
            before = replica["items"].get(key[0], {}).get(key[1])
            if new is None:
                dynamodb._remove_item(replica, *key)
            else:
                dynamodb._set_item(replica, *key, new)
            if new is not None or before is not None:
                event = "REMOVE" if new is None else "MODIFY" if before else "INSERT"
                dynamodb._emit_stream_event(name, event, before, copy.deepcopy(new), replicate=False)

    def configure(self, wanted: Any) -> None:
        """From now on each write takes at most `seconds`, and those to items whose sort key matches one of `held` wait."""
        self.seconds, self.held = float(wanted["seconds"]), list(wanted["held"])
        stopped, self._stopped = self._stopped, []
        for write in stopped:
            self._under_way += 1
            self._arrive(write)

    def status(self) -> dict[str, Any]:
        """What is set, and how many writes are on their way or held."""
        return {"seconds": self.seconds, "held": self.held, "underWay": self._under_way, "stopped": len(self._stopped)}

    def serve(self, app: Application) -> Application:
        """The server, which also answers PUT and GET under PATH."""
        answering = with_path(app, PATH, self._answer)

        async def with_replication(scope: Any, receive: Any, send: Any) -> None:
            self._loop = asyncio.get_running_loop()
            await answering(scope, receive, send)

        return with_replication

    def _answer(self, method: str, body: bytes) -> tuple[int, object]:
        if method == "PUT":
            self.configure(json.loads(body))
        return 200, self.status()


def _with_replicas(made: Any, properties: Any) -> Any:
    """Give the table that CloudFormation has made or updated the replicas of its template, and no others."""
    name = made[0]
    table, home = dynamodb._tables[name], get_region()
    wanted = {one["Region"] for one in properties["Replicas"]} - {home}
    there = set(dynamodb._replica_group(table)) - {home}
    updates = [{"Create": {"RegionName": region}} for region in sorted(wanted - there)]
    updates += [{"Delete": {"RegionName": region}} for region in sorted(there - wanted)]
    if updates and (error := dynamodb._apply_replica_updates(name, table, updates)):
        raise ValueError(f"AWS::DynamoDB::GlobalTable replicas failed: {error[2]!r}")
    return made


def install() -> Replication:
    """Replace what ministack does."""
    replication = Replication()
    dynamodb._replicate_write = replication.write
    _GLOBAL_TABLE["create"] = lambda logical_id, props, stack: _with_replicas(_create(logical_id, props, stack), props)
    _GLOBAL_TABLE["update"] = lambda physical_id, old, new, stack: _with_replicas(_update(physical_id, old, new, stack), new)
    return replication
