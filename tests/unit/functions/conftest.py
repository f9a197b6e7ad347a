"""Every test has a control plane of its own and no network; a function is loaded from its file as a cold start does."""

from collections.abc import Callable

import pytest

from tests.support.control_plane import Cloud, cloud
from tests.support.deployed import Function
from tests.support.lit_room import room

__all__ = ["cloud", "function", "room"]


@pytest.fixture
def function(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Function]:
    """Gives the function of that name."""
    return lambda name: Function(name, cloud, monkeypatch)
