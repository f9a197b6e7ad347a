"""AuroraMySQL, what holds in every phase."""

import pytest

from dr_core.phases import Phase
from dr_modules.aurora_mysql import AuroraMySQL
from tests.support import scenes
from tests.support.aws import PRIMARY, World
from tests.support.scenes import AURORA, CLUSTER

READERS = {**AURORA, "DBInstanceIdentifier": ["reader-1", "Reader-2"]}
INSTANTIATE, ACTIVATE, CLEANUP, REPLICATE = Phase.INSTANTIATE, Phase.ACTIVATE, Phase.CLEANUP, Phase.REPLICATE


def test_what_was_before_is_recorded(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    before = world.module(AuroraMySQL, ACTIVATE).record_before(AURORA)
    assert before == [{"globalWriter": scenes.arn(PRIMARY), "instances": {"reader-1": "db.r6g.large"}}]


@pytest.mark.parametrize(
    ("phase", "raw", "keys"),
    [
        (INSTANTIATE, AURORA, ["DBInstanceIdentifier"]),
        (CLEANUP, AURORA, ["DBInstanceIdentifier"]),
        (REPLICATE, {"DBClusterIdentifier": CLUSTER}, ["GlobalClusterIdentifier"]),
        (ACTIVATE, {"DBClusterIdentifier": CLUSTER}, ["GlobalClusterIdentifier"]),
        (ACTIVATE, {"DBClusterIdentifier": CLUSTER, "DBInstanceIdentifier": "two"}, []),
        (ACTIVATE, AURORA, []),
        (INSTANTIATE, READERS, []),
        (REPLICATE, AURORA, []),
    ],
)
def test_what_a_phase_needs(phase: Phase, raw: object, keys: list[str]) -> None:
    assert [key for key, _, _ in AuroraMySQL.check_parameters(phase, AuroraMySQL.parse(raw)[0])] == keys
