"""SQLServer."""

from dr_core.phases import Phase
from dr_modules.sql_server import SqlServer
from tests.support import sqlserver_scenes as scenes
from tests.support.aws import PRIMARY, World
from tests.support.stories import Stories, drilled, run

_SQLSERVER = scenes.SQLSERVER


def _ready(world: World) -> None:
    scenes.ready(world)


STORIES: Stories = {
    Phase.ACTIVATE: [run(SqlServer, Phase.ACTIVATE, _SQLSERVER, _ready)],
    Phase.CLEANUP: [
        run(SqlServer, Phase.CLEANUP, _SQLSERVER, scenes.failed_over, region=PRIMARY),
        drilled(SqlServer, Phase.ACTIVATE, _SQLSERVER, _ready),
    ],
    Phase.REPLICATE: [run(SqlServer, Phase.REPLICATE, _SQLSERVER, scenes.cleaned_up, region=PRIMARY)],
}
