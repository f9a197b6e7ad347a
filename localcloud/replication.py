"""The replication of DynamoDB's global tables between the Regions of a local cloud: `PUT` and `GET /_localcloud/replication`.

Each write goes to each other replica by itself, some time later: the items of a transaction come one by one, in any order. What was
written last wins. Writes can be held up on their way, those of some items or all; once let go they arrive, and lose against what was
written after them. Who holds up some, and later all, leaves a torn replica, as a Region that is lost does.
"""

import time
from collections.abc import Sequence
from typing import Final

import httpx
from pydantic import BaseModel, Field

PATH: Final = "/_localcloud/replication"
EVERYTHING: Final = ("*",)

_POLL_SECONDS: Final = 0.05


class Status(BaseModel):
    """How replication goes: a write takes at most `seconds`; `held` are patterns of sort keys; and how many writes have not arrived."""

    seconds: float
    held: tuple[str, ...]
    under_way: int = Field(alias="underWay")
    stopped: int


class Replication:
    """Steers the replication of the local cloud at `endpoint_url`. A cloud that does not answer raises httpx.HTTPError."""

    def __init__(self, endpoint_url: str) -> None:
        self._url = endpoint_url + PATH

    def hold(self, patterns: Sequence[str] = EVERYTHING, seconds: float = 0.2) -> Status:
        """From now on hold up what goes to items whose sort key matches a shell pattern, and let go whatever matches none."""
        answer = httpx.put(self._url, json={"seconds": seconds, "held": list(patterns)}).raise_for_status()
        return Status.model_validate(answer.json())

    def heal(self) -> None:
        """Let everything go, and wait until it has arrived."""
        self.hold(())
        self.settle()

    def settle(self) -> None:
        """Wait until no write is under way but those that are held up."""
        while self.status().under_way:
            time.sleep(_POLL_SECONDS)

    def status(self) -> Status:
        """How it goes."""
        return Status.model_validate(httpx.get(self._url).raise_for_status().json())
