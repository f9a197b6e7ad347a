"""`drctl deploy-check`: active is whatever has not ended."""

import json

import pytest

from dr_core.triggers import Vote
from tests.support.desk import ID, SHA, Desk


def test_nothing_is_active(desk: Desk) -> None:
    result = desk.run("deploy-check")
    assert (result.exit_code, result.stdout) == (0, "no execution is active\n")


@pytest.mark.failure("A deployment during a run")
def test_an_execution_is_active_until_it_has_ended(desk: Desk) -> None:
    desk.request([("database-tier", "AuroraMySQL")])
    waiting = desk.run("deploy-check")
    assert waiting.exit_code == 1
    assert waiting.stdout.split()[:4] == [ID, "ACTIVATE", "of", "storefront"] and "PENDING_APPROVAL" in waiting.stdout
    desk.approve()
    (running,) = json.loads(desk.run("deploy-check", "-o", "json").stdout)
    assert (running["id"], running["status"], running["currentLayer"], running["layersTotal"]) == (ID, "RUNNING", 1, 1)
    desk.command("pause", "a look first")
    assert "PAUSED" in desk.run("deploy-check").stdout


def test_what_has_ended_is_not_active(desk: Desk) -> None:
    desk.request([("database-tier", "AuroraMySQL")])
    desk.move(Vote(False, "ann", "not now", SHA))
    assert desk.run("deploy-check").exit_code == 0
