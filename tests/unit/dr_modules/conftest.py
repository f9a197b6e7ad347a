"""Every test of a module has a world of its own and no network."""

from tests.support.aws import world

__all__ = ["world"]
