"""The processes in which the local cloud runs a function; only Linux tells."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, PermissionError, ProcessLookupError)


def workers(endpoint_url: str, function: str) -> dict[int, float]:
    """The processes of a function of the cloud at `endpoint_url`: each with the moment it began, on the clock of time.monotonic."""
    wanted = {f"AWS_ENDPOINT_URL={endpoint_url}".encode(), f"AWS_LAMBDA_FUNCTION_NAME={function}".encode()}
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(*_GONE):
            if wanted <= set((process / "environ").read_bytes().split(b"\0")):
                found[int(process.name)] = _began(process)
    return found


def kill(pid: int) -> None:
    """End a process where it stands."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _began(process: Path) -> float:
    ticks = int((process / "stat").read_text().rpartition(")")[2].split()[19])
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic() - (since_boot - ticks / _TICKS)
