"""What the state table tells: timelines in order, executions newest first, what is due oldest first."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from dr_core.errors import OrchestratorError
from dr_core.events import new_event_id
from dr_core.items import EXECUTION_SK, ExecutionItem
from dr_core.mapping import item_of
from dr_core.moves import on_execution, on_resource
from dr_core.phases import Phase
from dr_core.records import DetailType, Event, ExecutionStatus, Move, ResourceStatus
from dr_core.state import Refusal, Table
from tests.support.control_plane import HOME, ID, OTHER, T0, Cloud, a_layer, a_resource, an_approval, an_execution


@pytest.fixture
def table(cloud: Cloud) -> Table:
    """A table with one execution of two resources, of which nothing is due."""
    execution = an_execution(due_at=None, current_layer=1, status=ExecutionStatus.RUNNING)
    assert cloud.table.create(execution, [a_layer(1, 2)], [a_resource(1, 1), a_resource(1, 2)], an_approval(due_at=None), T0)
    return cloud.table


def later(seconds: float) -> Event:
    return Event(DetailType.EXECUTION_PAUSED, {"at": seconds})


def test_a_timeline_is_in_the_order_of_what_happened(table: Table) -> None:
    state = table.load(ID)
    assert state
    for seconds in (3, 1, 2):
        several = tuple(later(seconds + n / 10) for n in range(5))
        assert table.commit(state.execution, Move((on_execution(state.execution),), several), T0 + timedelta(seconds=seconds))
    told = [float(entry.detail.split('"at":')[1].rstrip("}")) for entry in table.timeline(ID) if '"at"' in entry.detail]
    assert told == sorted(told) and len(told) == 15
    since = table.timeline(ID, since=T0 + timedelta(seconds=2))
    assert [entry.id for entry in since] == [entry.id for entry in table.timeline(ID)][-10:]
    assert table.timeline(ID, since=T0 + timedelta(seconds=3, milliseconds=1)) == []


def test_event_ids_rise_within_a_millisecond() -> None:
    ids = [new_event_id(T0) for _ in range(1000)]
    assert ids == sorted(ids) and len(set(ids)) == 1000


def test_executions_and_refusals_newest_first(table: Table) -> None:
    def at(minutes: int) -> dict[str, object]:
        return {
            "requested_at": T0 + timedelta(minutes=minutes),
            "source_region": f"eu-west-{minutes}",
            "target_region": f"eu-north-{minutes}",
        }

    for name, minutes in (("01C", 3), ("01B", 1)):
        assert table.create(an_execution(name, phase=Phase.CLEANUP, **at(minutes)), [a_layer()], [], an_approval(), T0)
    assert table.refuse(Refusal("01R", "shop", T0 + timedelta(minutes=2), ["no"], {}), HOME, None, [], T0)
    assert table.create(an_execution("01D", application="blog", **at(9)), [a_layer()], [], an_approval(), T0)
    found = table.executions("shop")
    assert [(name, status, phase) for name, status, phase, _ in found] == [
        ("01C", "PENDING_APPROVAL", "CLEANUP"),
        ("01R", "REFUSED", ""),
        ("01B", "PENDING_APPROVAL", "CLEANUP"),
        (ID, "RUNNING", "ACTIVATE"),
    ]
    assert found[0][3] == T0 + timedelta(minutes=3)
    assert [name for name, *_ in table.executions("shop", limit=2)] == ["01C", "01R"]
    assert table.executions("nobody") == []


def test_what_is_overdue_in_one_execution_hides_no_other(table: Table) -> None:
    """The limit is one of executions."""
    late = [a_resource(1, index, status=ResourceStatus.REQUESTED, due_at=T0) for index in range(1, 31)]
    assert table.create(an_execution("01MANY", application="many", due_at=None), [a_layer(total=30)], late, None, T0)
    moment = T0 + timedelta(seconds=1)
    assert table.create(an_execution("01LATER", application="later", due_at=moment), [a_layer()], [], None, T0)
    found = table.due(HOME, moment, limit=10)
    assert {"01MANY", "01LATER"} <= set(found) and len(found) == len(set(found))
    assert table.due(HOME, moment, limit=1) == found[:1]


def test_past_runs_are_read_page_by_page_and_not_to_the_end(table: Table, cloud: Cloud) -> None:
    def past(number: int, **values: Any) -> ExecutionItem:
        began = T0 - timedelta(hours=number)
        times = {"requested_at": began, "started_at": began, "ended_at": began + timedelta(seconds=number)}
        over = an_execution(f"01P{number:03}", **{"status": ExecutionStatus.SUCCEEDED, "due_at": None, **times, **values})
        return item_of(ExecutionItem, over, f"EXEC#{over.id}", EXECUTION_SK)

    others: dict[int, dict[str, Any]] = {2: {"phase": Phase.CLEANUP}, 3: {"application": "other"}, 4: {"ended_at": None}}
    with ExecutionItem.batch_write() as batch:
        for number in range(1, 450):
            dry = {} if number in (7, 150, 440) else {"started_at": None, "dry_run": True}
            batch.save(past(number, **others.get(number, dry)))
    cloud.calls.clear()
    runs = table.past_runs("shop", Phase.ACTIVATE)
    assert cloud.calls == []
    first = next(runs)
    assert (first.id, first.running_seconds, first.mode, first.requested_at) == ("01P007", 7.0, "planned", T0 - timedelta(hours=7))
    assert len(cloud.calls) == 1
    assert [one.id for one in runs] == ["01P150"], "what is older than 400 executions is not looked for"
    assert [call.operation for call in cloud.calls] == ["Query"] * 4 and {call.parameters["Limit"] for call in cloud.calls} == {100}
    assert [one.id for one in table.past_runs("shop", Phase.ACTIVATE, T0 - timedelta(hours=7))] == ["01P150"]


def test_what_is_due_is_found_when_it_is_due(table: Table, cloud: Cloud) -> None:
    def due(seconds: float) -> list[str]:
        return table.due(HOME, T0 + timedelta(seconds=seconds))

    state = table.load(ID)
    assert state and due(10**6) == []
    first, second = state.resources
    assert table.commit(state.execution, Move((on_resource(first, due_at=T0 + timedelta(seconds=60)),)), T0)
    assert (due(59.999), due(60), due(10**6)) == ([], [ID], [ID])
    assert table.commit(state.execution, Move((on_execution(state.execution, due_at=T0 + timedelta(seconds=30)),)), T0)
    assert (due(29), due(30), due(100)) == ([], [ID], [ID]), "once, however much of it is due"
    moved = on_resource(first, due_at=None, status=ResourceStatus.SUCCEEDED)
    assert table.commit(state.execution, Move((on_execution(state.execution, due_at=None), moved)), T0)
    assert due(10**6) == [] and not [item for item in cloud.items() if "due_pk" in item or "due_at" in item]
    assert table.commit(state.execution, Move((on_resource(second, detail="seen"),)), T0)
    assert due(10**6) == []


def test_the_oldest_is_due_first_and_only_at_home(table: Table) -> None:
    for name, seconds, home in (("01B", 3, HOME), ("01A", 1, HOME), ("01C", 2, HOME), ("01X", 0, OTHER)):
        moment = T0 + timedelta(seconds=seconds)
        execution = an_execution(name, application=f"app-{name}", home_region=home, due_at=moment)
        approval = an_approval(due_at=moment + timedelta(seconds=10))
        assert table.create(execution, [a_layer()], [a_resource(due_at=moment)], approval, T0)
    assert table.due(HOME, T0 + timedelta(seconds=60)) == ["01A", "01C", "01B"]
    assert table.due(OTHER, T0 + timedelta(seconds=60)) == ["01X"]
    assert table.due(HOME, T0 + timedelta(seconds=60), limit=2) == ["01A", "01C"]


def test_an_executor_reads_the_execution_and_one_resource(table: Table) -> None:
    state = table.load_resource(ID, "0001-002")
    assert state
    assert (state.execution.status, [r.id for r in state.resources], state.layers) == (ExecutionStatus.RUNNING, ["0001-002"], ())


def test_what_a_batch_leaves_for_later_is_read_too(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("dr_core.state.time", SimpleNamespace(sleep=waited.append))
    client: Any = table._connection.client
    read = client.batch_get_item

    def one_at_a_time(RequestItems: Any) -> Any:
        ((name, asked),) = RequestItems.items()
        answer = read(RequestItems={name: {**asked, "Keys": asked["Keys"][:1]}})
        return {**answer, "UnprocessedKeys": {name: {**asked, "Keys": asked["Keys"][1:]}} if asked["Keys"][1:] else {}}

    monkeypatch.setattr(client, "batch_get_item", one_at_a_time)
    state = table.load_resource(ID, "0001-002")
    assert state and (state.execution.id, state.resources[0].id) == (ID, "0001-002")
    assert len(waited) == 1, "once, before the second of two items"


def test_what_a_batch_never_reads_is_an_error(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("dr_core.state.time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setattr(table._connection.client, "batch_get_item", lambda RequestItems: {"Responses": {}, "UnprocessedKeys": RequestItems})
    with pytest.raises(OrchestratorError, match="the table left 2 items unread over 10 tries"):
        table.load_resource(ID, "0001-002")
    assert len(waited) == 10 and all(0.02 <= pause <= 1 for pause in waited)


def test_what_decides_is_read_consistently_and_layers_before_resources(table: Table, cloud: Cloud) -> None:
    cloud.calls.clear()
    table.load(ID)
    table.load_resource(ID, "0001-001")
    table.approval(ID)
    table.by_token("shop", "t")
    table.locked_by("shop", [HOME])
    assert {call.parameters.get("ConsistentRead") for call in cloud.made("GetItem", "Query")} == {True}
    (together,) = cloud.made("BatchGetItem")
    assert [keys["ConsistentRead"] for keys in together.parameters["RequestItems"].values()] == [True]
    read = [str(call.parameters.get("ExpressionAttributeValues", call.parameters.get("Key"))) for call in cloud.calls[:3]]
    assert ["LAYER#" in read[0], "META" in read[1], "RES#0001-" in read[2]] == [True] * 3
