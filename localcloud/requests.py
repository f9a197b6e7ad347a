"""Requests on a local cloud, by put-events as an operator makes them, and the executions that they lead to."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dr_core.state import Table
from localcloud.cloud import LocalCloud

_LOOK_SECONDS: Final = 0.2


class NotStartedError(Exception):
    """A request led to no execution; the text says why."""


def put(cloud: LocalCloud, entries: Sequence[Mapping[str, Any]]) -> None:
    """Put the requests, as PutEvents takes them, on the bus. Raises NotStartedError when it does not take one."""
    answer = cloud.client("events").put_events(Entries=entries)
    if answer["FailedEntryCount"]:
        raise NotStartedError(f"the bus did not take the request: {answer['Entries']}")


def started(cloud: LocalCloud, table: Table, application: str, token: str, timeout_seconds: float = 60.0) -> str:
    """The id of the execution that a client token started. Raises NotStartedError when there is none in time, or it was refused."""
    deadline = time.monotonic() + timeout_seconds
    while (execution_id := table.by_token(application, token)) is None:
        if time.monotonic() > deadline:
            log = cloud.state_dir / "ministack.log"
            raise NotStartedError(f"the request of {application} led to nothing within {timeout_seconds:.0f} s; see {log}")
        time.sleep(_LOOK_SECONDS)
    if refusal := table.refusal(execution_id):
        raise NotStartedError(f"{application} was refused: " + "; ".join(refusal.problems))
    return execution_id
