"""`drctl calls`: the journal, as the executors kept it."""

import json
from datetime import timedelta

import pytest

from dr_core.calls import Call
from tests.support.desk import ID, T0, Desk

FIRST = Call("rds:SwitchoverGlobalCluster", "us-west-2", {"GlobalClusterIdentifier": "g"}, "2031-03-01T12:00:05.000Z", True, "req-1", 812)
LAST = Call(
    "ecs:UpdateService", "us-west-2", {}, "2031-03-01T12:00:09.000Z", True, "req-3", 40, "AccessDenied", "User x\nis [red]not allowed"
)
BETWEEN = Call("ecs:UpdateService", "us-west-2", {}, "2031-03-01T12:00:07.000Z", True, "req-2", 41)


@pytest.fixture(autouse=True)
def journal(desk: Desk) -> None:
    desk.request([("database-tier", "AuroraMySQL")], [("web", "ECS")])
    desk.table.keep_calls(ID, "0001-001", 1, [FIRST], T0)
    desk.table.keep_calls(ID, "0002-001", 1, [BETWEEN], T0)
    desk.table.keep_calls(ID, "0001-001", 2, [LAST], T0 + timedelta(seconds=9))


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_lists_the_calls_of_all_resources_in_order_of_time(desk: Desk) -> None:
    result = desk.run("calls", ID)
    assert result.exit_code == 0, result.output
    assert lines(result.stdout) == [
        "2031-03-01 12:00:05Z database-tier attempt 1 rds:SwitchoverGlobalCluster us-west-2 812 ms req-1",
        "2031-03-01 12:00:07Z web attempt 1 ecs:UpdateService us-west-2 41 ms req-2",
        "2031-03-01 12:00:09Z database-tier attempt 2 ecs:UpdateService us-west-2 40 ms req-3 AccessDenied: User x is [red]not allowed",
    ]


@pytest.mark.parametrize("resource", ["0001-001", "database-tier"])
def test_of_one_resource_by_id_or_name(desk: Desk, resource: str) -> None:
    shown = lines(desk.run("calls", ID, resource).stdout)
    assert len(shown) == 2 and all("database-tier" in line for line in shown)


def test_of_all_resources_of_one_name(desk: Desk) -> None:
    desk.request([("web", "ECS")], [("web", "ECS")], [("api", "ECS")], execution_id="01TWIN", application="twins")
    for resource_id in ("0001-001", "0002-001", "0003-001"):
        desk.table.keep_calls("01TWIN", resource_id, 1, [BETWEEN], T0)
    found = json.loads(desk.run("calls", "01TWIN", "web", "-o", "json").stdout)["calls"]
    assert [one["resourceId"] for one in found] == ["0001-001", "0002-001"]


def test_json_has_the_parameters(desk: Desk) -> None:
    document = json.loads(desk.run("calls", ID, "--output", "json").stdout)
    assert (document["schemaVersion"], document["kind"], document["executionId"]) == ("1", "calls", ID)
    assert document["calls"][0] == {
        "resourceId": "0001-001",
        "resourceName": "database-tier",
        "attempt": 1,
        "action": "rds:SwitchoverGlobalCluster",
        "region": "us-west-2",
        "parameters": {"GlobalClusterIdentifier": "g"},
        "at": "2031-03-01T12:00:05.000Z",
        "sent": True,
        "requestId": "req-1",
        "durationMs": 812,
    }


def test_what_there_was_no_room_for_is_counted_where_it_was(desk: Desk) -> None:
    big = Call("ecs:UpdateService", "us-west-2", {"x": "y" * 200_000}, "2031-03-01T12:00:06.000Z")
    desk.table.keep_calls(ID, "0001-001", 1, [big, big, big], T0)
    shown = lines(desk.run("calls", ID).stdout)
    assert shown[2] == "2031-03-01 12:00:06Z database-tier attempt 1 … and 2 further calls, for which there was no room"
    assert len(shown) == 5


def test_no_call_yet_and_no_call_ever(desk: Desk) -> None:
    desk.request([("web", "ECS")], execution_id="01NEW", application="new")
    assert desk.run("calls", "01NEW").stdout == "No call that changes something has been made yet.\n"
    desk.request([("web", "ECS")], execution_id="01DRY", dry_run=True)
    assert desk.run("calls", "01DRY").stdout == "It was a dry run: no call was made.\n"


def test_a_resource_that_is_not_there_is_wrong_use(desk: Desk) -> None:
    result = desk.run("calls", ID, "nobody")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"drctl: execution {ID} has no resource nobody", f"       drctl status {ID} lists them"]
    assert desk.run("calls", "01NOBODY").exit_code == 2
