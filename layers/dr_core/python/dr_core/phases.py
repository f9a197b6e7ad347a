"""The four phases of a recovery, and the ways in which one can be run."""

from enum import StrEnum


class Phase(StrEnum):
    """A phase of the disaster-recovery lifecycle; each has one manifest per application."""

    INSTANTIATE = "INSTANTIATE"
    ACTIVATE = "ACTIVATE"
    CLEANUP = "CLEANUP"
    REPLICATE = "REPLICATE"

    @property
    def file_name(self) -> str:
        """The manifest's file name, such as `Instantiate.json`."""
        return f"{self.value.capitalize()}.json"


class Mode(StrEnum):
    """How a phase is run.

    `planned`: both Regions are healthy, no data may be lost. `unplanned`: the source Region may be dark, nothing calls it, data loss is
    accepted. `drill`: production is left untouched.
    """

    PLANNED = "planned"
    UNPLANNED = "unplanned"
    DRILL = "drill"
