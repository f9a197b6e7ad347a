"""Child processes of the local cloud: started in groups of their own, found again later, and ended for good."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PATIENCE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Process:
    """A started process; `birth` tells it from a later process with the same id."""

    pid: int
    birth: str

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # a dead child of ours would otherwise stay as a zombie
        return _birth(self.pid) == self.birth


def listening_socket() -> socket.socket:
    """Open a listening socket on a free loopback port; a child that inherits it cannot lose the port to anybody."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    listener.set_inheritable(True)
    return listener


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    inherited: Sequence[int],
    die_with_parent: bool,
) -> Process:
    """Start a command in a session of its own, with its output in `log`, some open descriptors inherited."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
            start_new_session=True,
            preexec_fn=_parent_death_signal() if die_with_parent else None,
        )
    # Popen would complain at its end about a child that runs on; this one is meant to, and is waited for in is_alive.
    child.returncode = 0
    return Process(child.pid, _birth(child.pid) or "")


def end(processes: Sequence[Process]) -> None:
    """End the processes and everything they started; return when all are gone."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            # Also for a leader that is gone: what it started may live on in its group.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, kind)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if not any(process.is_alive() or _group_exists(process.pid) for process in processes):
                return
            time.sleep(0.02)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _parent_death_signal() -> Callable[[], None] | None:
    """Have the kernel kill a child when its parent dies; only Linux can."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask_kernel


def _birth(pid: int) -> str | None:
    """When a process was started, in the words of the system; None when it does not run."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()  # the command's name, in brackets, may itself hold blanks
        return None if fields[0] == "Z" else fields[19]
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None
