"""The AWS that runs on a laptop: ministack, moto with our extension, and the gateway in front of both.

In:  a state directory, and how fast time passes for resources
Out: one endpoint for two accounts and two Regions; everything it writes is in the state directory
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import boto3
import httpx

from localcloud import gateway, processes, scratch
from localcloud.control_plane import ROOT_SECRET
from localcloud.extension.clock import TIME_SCALE_VARIABLE
from localcloud.extension.memorydb_s3 import ENDPOINT_VARIABLE
from localcloud.faults import FaultClient
from localcloud.processes import Process
from localcloud.replication import Replication

CONTROL_ACCOUNT: Final = "111111111111"
WORKLOAD_ACCOUNT: Final = "222222222222"
PRIMARY_REGION: Final = "us-east-1"
STANDBY_REGION: Final = "us-west-2"
REPOSITORY: Final = Path(__file__).resolve().parents[1]

_MINISTACK_PYTHON: Final = REPOSITORY / ".local" / "tools" / "ministack" / "bin" / "python"
_MINISTACK_APP: Final = REPOSITORY / "localcloud" / "emulator" / "ministack_app.py"
_STATE_FILE: Final = "cloud.json"
_JOURNAL_FILE: Final = "journal.jsonl"
AUTHORISATIONS_FILE: Final = "authorisations.jsonl"
_START_SECONDS: Final = 30.0


class AlreadyRunningError(Exception):
    """A cloud already runs in this state directory."""


class NotRunningError(Exception):
    """No cloud runs in this state directory."""


class StartError(Exception):
    """A part of the cloud did not come up."""


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """A running local cloud."""

    state_dir: Path
    endpoint_url: str
    time_scale: float
    parts: dict[str, Process]

    @classmethod
    def start(cls, state_dir: Path, *, time_scale: float = 1.0, die_with_parent: bool = False) -> Self:
        """Start a cloud and return when it answers.

        `time_scale` shortens how long resources take: 1.0 is about what AWS takes, 0 is at once. With
        `die_with_parent` (tests) the cloud does not outlive the thread that started it.
        Raises AlreadyRunningError, or StartError with the end of the log of the part that failed.
        """
        state_dir = state_dir.resolve()
        state_dir.mkdir(parents=True, exist_ok=True)
        with _locked(state_dir):
            if (state_dir / _STATE_FILE).exists():
                if cls._read(state_dir).is_running():
                    raise AlreadyRunningError(f"a local cloud already runs in {state_dir}")
                cls._read(state_dir)._end()
            cloud = cls._spawn(state_dir, time_scale, die_with_parent)
            cloud._write()  # before it is known to be healthy, so that `stop` finds it in any case
            try:
                cloud._wait_until_healthy()
            except BaseException:
                cloud._end()
                raise
        return cloud

    @classmethod
    def load(cls, state_dir: Path) -> Self:
        """Find the cloud that runs in a state directory; raise NotRunningError where none does."""
        state_dir = state_dir.resolve()
        if not (state_dir / _STATE_FILE).exists():
            raise NotRunningError(f"no local cloud in {state_dir}")
        cloud = cls._read(state_dir)
        if not cloud.is_running():
            raise NotRunningError(f"the local cloud in {state_dir} has stopped")
        return cloud

    @property
    def journal(self) -> Path:
        """The file with one JSON line per call that passed the gateway."""
        return self.state_dir / _JOURNAL_FILE

    def stop(self) -> None:
        """End every process and remove what they kept on disk, except the logs and the journal."""
        with _locked(self.state_dir):
            self._end()

    def is_running(self) -> bool:
        """Whether every part still runs."""
        return all(process.is_alive() for process in self.parts.values())

    def status(self) -> dict[str, bool]:
        """Say of each part whether it runs and answers."""
        status = {name: process.is_alive() for name, process in self.parts.items()}
        try:
            answers = httpx.get(self.endpoint_url + gateway.HEALTH_PATH, timeout=5).json()
        except httpx.HTTPError:
            return status | {"gateway": False}
        return status | {name: status[name] and bool(answer) for name, answer in answers.items()}

    @property
    def faults(self) -> FaultClient:
        """What stands between callers and this cloud."""
        return FaultClient(self.endpoint_url)

    @property
    def replication(self) -> Replication:
        """What carries the writes to a global table from Region to Region."""
        return Replication(self.endpoint_url)

    def client(self, service: str, region: str = STANDBY_REGION, account: str = CONTROL_ACCOUNT) -> Any:
        """Make a boto3 client that acts as the administrator of an account.

        The type of a client depends on the service's name, hence Any.
        """
        return _client(self.endpoint_url, service, region, account)

    def tell(self, *events: Mapping[str, object]) -> None:
        """Have AWS's services say something: events as EventBridge delivers them, on the default bus of their `account` and `region`."""
        httpx.post(self.endpoint_url + gateway.SERVICE_EVENTS_PATH, json=list(events), timeout=30).raise_for_status()

    def environment(self, account: str = CONTROL_ACCOUNT, region: str = STANDBY_REGION) -> dict[str, str]:
        """The variables that point an AWS SDK or the aws CLI at this cloud as the administrator of an account."""
        return {
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
        }

    def function_url(self, function: str, region: str = STANDBY_REGION) -> str:
        """The URL at which the gateway serves the function URL of a function of the control account."""
        return f"{self.endpoint_url}/_localcloud/url/{region}/{function}/"

    @classmethod
    def _spawn(cls, state_dir: Path, time_scale: float, die_with_parent: bool) -> Self:
        # Nothing of the caller's own environment: it would reach the emulated Lambda functions.
        bare = {
            "HOME": str(state_dir),
            "LANG": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath),
            "TMPDIR": str(state_dir / "tmp"),
        }
        with ExitStack() as stack:
            in_use = scratch.make(state_dir)
            stack.callback(os.close, in_use)  # ours; the children keep theirs
            listeners = {name: stack.enter_context(processes.listening_socket()) for name in ("gateway", "ministack", "moto")}
            urls = {name: f"http://127.0.0.1:{socket.getsockname()[1]}" for name, socket in listeners.items()}
            descriptors = {name: str(socket.fileno()) for name, socket in listeners.items()}
            commands = {
                "ministack": _ministack_command(descriptors["ministack"]),
                "moto": [sys.executable, "-m", "localcloud.extension", "--socket", descriptors["moto"]],
                "gateway": [
                    *(sys.executable, "-m", "localcloud.gateway", "--socket", descriptors["gateway"]),
                    *("--ministack", urls["ministack"], "--moto", urls["moto"]),
                    *("--account", CONTROL_ACCOUNT, "--journal", str(state_dir / _JOURNAL_FILE)),
                ],
            }
            environments = {
                "ministack": bare | _ministack_environment(urls["ministack"], urls["gateway"], state_dir / AUTHORISATIONS_FILE),
                "moto": bare | _moto_environment(time_scale, urls["gateway"]),
                "gateway": bare,
            }
            parts = {
                name: processes.spawn(
                    command,
                    environment=environments[name],
                    log=state_dir / f"{name}.log",
                    inherited=[listeners[name].fileno(), in_use],
                    die_with_parent=die_with_parent,
                )
                for name, command in commands.items()
            }
        return cls(state_dir, urls["gateway"], time_scale, parts)

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for name, process in self.parts.items():
                if not process.is_alive():
                    raise StartError(f"{name} ended: {self._log_end(name)}")
            if all(self.status().values()):
                return
            time.sleep(0.05)
        silent = [name for name, answers in self.status().items() if not answers]
        raise StartError(f"no answer within {_START_SECONDS:.0f} s from {', '.join(silent)}")

    def _log_end(self, name: str) -> str:
        return "\n".join((self.state_dir / f"{name}.log").read_text(errors="replace").splitlines()[-10:])

    def _end(self) -> None:
        processes.end(list(self.parts.values()))
        scratch.remove(self.state_dir)
        (self.state_dir / _STATE_FILE).unlink(missing_ok=True)

    def _write(self) -> None:
        state = {
            "endpoint_url": self.endpoint_url,
            "time_scale": self.time_scale,
            "parts": {name: asdict(process) for name, process in self.parts.items()},
        }
        (self.state_dir / _STATE_FILE).write_text(json.dumps(state, indent=2) + "\n")

    @classmethod
    def _read(cls, state_dir: Path) -> Self:
        state = json.loads((state_dir / _STATE_FILE).read_text())
        parts = {name: Process(**process) for name, process in state["parts"].items()}
        return cls(state_dir, state["endpoint_url"], state["time_scale"], parts)


@cache
def _client(endpoint_url: str, service: str, region: str, account: str) -> Any:
    """A client, made once: it costs a tenth of a second, and many threads may use it."""
    make: Any = boto3.session.Session().client
    return make(
        service,
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=account,
        aws_secret_access_key=ROOT_SECRET,
    )


def _ministack_command(descriptor: str) -> list[str]:
    """ministack's own server, told to serve on an inherited socket, in one process."""
    return [
        *(str(_MINISTACK_PYTHON), "-m", "hypercorn", f"{_MINISTACK_APP}:app"),
        *("--bind", f"fd://{descriptor}", "--workers", "0", "--keep-alive", "75"),
    ]


def _ministack_environment(own_url: str, gateway_url: str, authorisations: Path) -> dict[str, str]:
    return {
        "AUTH": "true",
        # It is inherited by the emulated Lambda functions, which so call AWS through the gateway.
        "AWS_ENDPOINT_URL": gateway_url,
        # With an engine, ministack would pull images and start containers.
        "DOCKER_HOST": "unix:///nonexistent.sock",
        "GATEWAY_PORT": str(urlsplit(own_url).port),
        "IOT_MTLS_ENABLED": "0",
        "LOCALCLOUD_AUTHORISATIONS": str(authorisations),
        "MINISTACK_ACCOUNT_ID": CONTROL_ACCOUNT,
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": STANDBY_REGION,
        "SFTP_ENABLED": "0",
    }


def _moto_environment(time_scale: float, gateway_url: str) -> dict[str, str]:
    return {
        TIME_SCALE_VARIABLE: str(time_scale),
        # MemoryDB exports to S3, which is ministack's.
        ENDPOINT_VARIABLE: gateway_url,
        # Instances start from any image; a list of thousands of them takes a second to load.
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    }


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Keep two commands from starting or stopping the same cloud at the same time."""
    with (state_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
