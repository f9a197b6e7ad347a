"""Every test has a control plane or an operator's desk of its own, and no network."""

from tests.support.control_plane import cloud
from tests.support.desk import desk

__all__ = ["cloud", "desk"]
