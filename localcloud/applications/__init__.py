"""The applications that fail over in the local cloud: a module or package each, beside the manifests in manifests/<name>."""

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from dr_core.phases import Phase
from localcloud.cloud import REPOSITORY, LocalCloud

_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Step:
    """A phase of a demonstration: the entries of put-events that request it, and the facts that must hold after it."""

    phase: Phase
    entries: Sequence[Mapping[str, str]]
    expected: Mapping[str, str]


class Application(Protocol):
    """What a sample application offers: `create` makes it in both Regions, `observe` gives the same facts each time."""

    NAME: str

    def create(self, cloud: LocalCloud) -> None:
        """Make the application through the AWS APIs, and return when it is as `steps` expects it."""

    def observe(self, cloud: LocalCloud) -> dict[str, str]:
        """What the cloud itself says of the application: one line for each fact."""

    def steps(self) -> tuple[Step, ...]:
        """The phases in the order in which they are demonstrated."""


def names() -> list[str]:
    """The applications that there are: those with manifests."""
    return sorted(path.parent.name for path in (REPOSITORY / "manifests").glob("*/application.json"))


def load(name: str) -> Application:
    """An application by its name. Raises ModuleNotFoundError where there is none."""
    return cast(Application, importlib.import_module(f"{__name__}.{name}"))


def wait_until(observe: Callable[[], Mapping[str, str]], wanted: Mapping[str, str]) -> None:
    """Return when the facts wanted hold. Raises TimeoutError with those that do not."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while missed := {fact: seen[fact] for seen in [observe()] for fact in wanted if seen[fact] != wanted[fact]}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the application did not come up within {_WAIT_SECONDS:.0f} s: {missed}")
        time.sleep(0.1)
