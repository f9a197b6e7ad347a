"""Which of the emulated Lambda functions makes a call.

The control plane's emulator runs each function as a process of its own on this machine, so a connection to the gateway leads to it:
from the port at the other end to the socket, and from the socket to the process that has it open. Only Linux tells, in /proc.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

AVAILABLE: Final = sys.platform == "linux"

_NAME: Final = b"AWS_LAMBDA_FUNCTION_NAME="
_GONE: Final = (FileNotFoundError, PermissionError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that runs a function."""

    pid: int
    function: str

    def kill(self) -> None:
        """End it where it stands, as a time-out or a lack of memory would."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def worker_of(request: web.Request) -> Worker | None:
    """The worker at the other end of a request's connection; None where it is not a function that calls."""
    transport = request.transport
    if transport is None or not AVAILABLE:
        return None
    inode = _inode(transport.get_extra_info("peername")[1], transport.get_extra_info("sockname")[1])
    if inode is None:
        return None
    link = f"socket:[{inode}]"
    return next((worker for worker in _workers() if _has_open(worker.pid, link)), None)


def _inode(local_port: int, remote_port: int) -> str | None:
    """The socket of a loopback connection, as its client has it."""
    ends = f":{local_port:04X}", f":{remote_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1].endswith(ends[0]) and columns[2].endswith(ends[1]):
            return columns[9]
    return None


def _workers() -> Iterator[Worker]:
    """Every process that runs a function; nothing else is ever killed."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(*_GONE):
            for variable in (process / "environ").read_bytes().split(b"\0"):
                if variable.startswith(_NAME):
                    yield Worker(int(process.name), variable.removeprefix(_NAME).decode())


def _has_open(pid: int, link: str) -> bool:
    with suppress(*_GONE):
        return any(str(descriptor.readlink()) == link for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    return False
