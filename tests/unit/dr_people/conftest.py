"""Every test has a control plane of its own and no network."""

from tests.support.control_plane import cloud

__all__ = ["cloud"]
