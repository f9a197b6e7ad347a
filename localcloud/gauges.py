"""What a local cloud is busy with while it works: how long messages wait in its queues, how much memory and processor time it takes.

Linux only: processes are read from /proc.
"""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from localcloud.cloud import CONTROL_ACCOUNT, STANDBY_REGION, LocalCloud
from localcloud.gateway import QUEUES_PATH

# The emulated functions are children of ministack, each a process of its own.
FUNCTIONS: Final = "functions"

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_INTERVAL_SECONDS: Final = 2.0


@dataclass
class Readings:
    """What was read while it ran: of each queue, for how many seconds the oldest message had been visible, once per reading."""

    ages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    deepest: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    deliveries: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    peak_mib: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    peak_mib_together: float = 0.0
    processor_seconds: dict[str, float] = field(default_factory=dict)
    machine_busy_seconds: float = 0.0  # of all processors together, by whomever
    machine_idle_seconds: float = 0.0
    load_averages: list[float] = field(default_factory=list)  # before it begins, then once per reading

    def oldest(self, queue: str, share: float) -> float:
        """The age that `share` of the readings did not exceed."""
        ages = sorted(self.ages[queue])
        return ages[min(len(ages) - 1, int(share * len(ages)))]


@contextmanager
def reading(cloud: LocalCloud) -> Iterator[Readings]:
    """Read every two seconds for the length of a with statement; the processor time is that of this length."""
    readings, over = Readings(), threading.Event()
    before, (busy, idle) = processor_seconds(cloud), _machine_seconds()
    readings.load_averages.append(os.getloadavg()[0])

    def read() -> None:
        while not over.wait(_INTERVAL_SECONDS):
            _read_queues(cloud, readings)
            _read_memory(cloud, readings)
            readings.load_averages.append(os.getloadavg()[0])

    reader = threading.Thread(target=read, name="gauges")
    reader.start()
    try:
        yield readings
    finally:
        over.set()
        reader.join()
        after = processor_seconds(cloud)
        busy_then, idle_then = _machine_seconds()
        readings.machine_busy_seconds, readings.machine_idle_seconds = busy_then - busy, idle_then - idle
        readings.processor_seconds = {part: seconds - before.get(part, 0.0) for part, seconds in after.items()}


def queues(cloud: LocalCloud) -> dict[str, list[dict[str, Any]]]:
    """Every message in the control account's queues, also those that are hidden, by the queue's name."""
    answer = httpx.get(cloud.endpoint_url + QUEUES_PATH, timeout=60).raise_for_status().json()
    found = answer["messages"].get(CONTROL_ACCOUNT, {}).get(STANDBY_REGION, {})
    return {url.rsplit("/", 1)[-1]: messages for url, messages in found.items()}


def _read_queues(cloud: LocalCloud, readings: Readings) -> None:
    now = time.time()
    for queue, messages in queues(cloud).items():
        waiting = [message for message in messages if message["IsVisible"]]
        oldest = max((now - message["VisibleAt"] for message in waiting), default=0.0)
        readings.ages[queue].append(oldest)
        readings.deepest[queue] = max(readings.deepest[queue], len(waiting))
        readings.deliveries[queue] = max(readings.deliveries[queue], *(message["ReceiveCount"] for message in messages), 0)


def _read_memory(cloud: LocalCloud, readings: Readings) -> None:
    together: dict[str, float] = defaultdict(float)
    for part, pid in _processes(cloud):
        together[part] += _resident_bytes(pid) / 2**20
    for part, mib in together.items():
        readings.peak_mib[part] = max(readings.peak_mib[part], mib)
    readings.peak_mib_together = max(readings.peak_mib_together, sum(together.values()))


def processor_seconds(cloud: LocalCloud) -> Mapping[str, float]:
    """Of each part so far; that of functions which have ended counts as well, once ministack has waited for them."""
    seconds: dict[str, float] = defaultdict(float)
    for part, pid in _processes(cloud):
        own, ended = _times(pid)
        seconds[part] += own
        seconds[FUNCTIONS if part == "ministack" else part] += ended
    return seconds


def _machine_seconds() -> tuple[float, float]:
    """Of all processors together since the machine began: busy, and idle or waiting for a disk (see proc_stat(5))."""
    ticks = [int(word) / _TICKS for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, idle


def _processes(cloud: LocalCloud) -> Iterator[tuple[str, int]]:
    """Every living process with the part of the cloud that it belongs to."""
    children: dict[int, list[int]] = defaultdict(list)
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and (parent := _stat(int(directory.name))):
            children[int(parent[1])].append(int(directory.name))
    for part, process in cloud.parts.items():
        yield part, process.pid
        below = list(children[process.pid])
        while below:
            pid = below.pop()
            below += children[pid]
            yield FUNCTIONS if part == "ministack" else part, pid


def _stat(pid: int) -> list[str]:
    """The fields after the name of the command in /proc/<pid>/stat (see proc(5)); none where the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _times(pid: int) -> tuple[float, float]:
    """Seconds of processor time: the process's own, and that of its children which have ended."""
    fields = _stat(pid)
    if not fields:
        return 0.0, 0.0
    user, system, children_user, children_system = (int(ticks) / _TICKS for ticks in fields[11:15])
    return user + system, children_user + children_system


def _resident_bytes(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[21]) * _PAGE_BYTES if fields else 0
