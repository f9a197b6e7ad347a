"""The record of every call that passed the gateway: one JSON object per line."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from localcloud.wire import Call


@dataclass(frozen=True)
class Entry:
    """One call: what was asked of whom, and the answer's HTTP status and error code.

    `fault` names the injected fault that it met. The status is the emulator's own answer, also where a fault kept it from the caller,
    and 0 where a fault kept the call from the emulator without an answer. `act`, of what changes something in an account other than the
    control plane's: its `parameters`, and `invocation`, the caller's own number of it, which each try of it carries. `items`: how many
    items a transaction or batch of DynamoDB names, 0 for other calls.
    """

    account: str | None
    region: str
    service: str
    operation: str
    status: int
    error: str | None
    fault: str | None = None
    act: Mapping[str, Any] | None = None
    items: int = 0


def read(path: Path, position: int = 0) -> list[Entry]:
    """The calls recorded in the file since `position`, in bytes."""
    with path.open(encoding="utf-8") as file:
        file.seek(position)
        lines = [json.loads(line) for line in file]
    return [Entry(**{field.name: line.get(field.name, field.default) for field in fields(Entry)}) for line in lines]


class Journal:
    """Appends to a file and flushes each line, so that it can be followed while the cloud runs."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def record(
        self,
        call: Call,
        *,
        backend: str,
        status: int,
        error: str | None,
        started: float,
        fault: str | None = None,
        act: Mapping[str, Any] | None = None,
        items: int = 0,
    ) -> None:
        """Write down one call; `started` is the monotonic time at which it came in."""
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "account": call.account,
            "region": call.region,
            "service": call.service,
            "operation": call.operation,
            "backend": backend,
            "status": status,
            "error": error,
            "fault": fault,
            **({"act": act} if act else {}),
            **({"items": items} if items else {}),
            "milliseconds": round((time.monotonic() - started) * 1000, 1),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
