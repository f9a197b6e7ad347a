"""EventArchive."""

from dr_core.phases import Phase
from dr_modules.event_archive import EventArchive
from tests.support import compute_scenes as scenes
from tests.support.stories import Stories, run

_REPLAY = {"ArchiveName": scenes.ARCHIVE, "EventStartTime": "2026-03-01T06:00:00Z"}

STORIES: Stories = {Phase.ACTIVATE: [run(EventArchive, Phase.ACTIVATE, _REPLAY, lambda world: scenes.archive(world))]}
