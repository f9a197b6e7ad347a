"""Every test has a control plane of its own, a room with lamps in the target account, and no network."""

from tests.support.control_plane import cloud
from tests.support.lit_room import room

__all__ = ["cloud", "room"]
