"""Every test has a control plane of its own and no network; a function is loaded from its file as a cold start does."""

from collections.abc import Callable, Iterator

import pytest

from tests.support import deployed
from tests.support.control_plane import Cloud, cloud
from tests.support.deployed import Function
from tests.support.lit_room import room
from tests.support.slack_workspace import CHANNEL, Workspace, running

__all__ = ["cloud", "function", "room"]


@pytest.fixture
def function(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Function]:
    """Gives the function of that name."""
    return lambda name: Function(name, cloud, monkeypatch)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, socket_enabled: None) -> Iterator[Workspace]:
    """A Slack workspace on loopback, and a stack that was deployed with its channel. Asked for after what forbids sockets."""
    with running() as made:
        monkeypatch.setitem(deployed._STANDS_FOR, "SlackChannel", CHANNEL)
        monkeypatch.setitem(deployed._STANDS_FOR, "SlackApiUrl", made.url)
        yield made
