"""What threads of one function read and commit at the same time shares a call, and comes out as if each had been alone."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Lock
from typing import TypeVar

import pytest
from pynamodb.exceptions import TransactWriteError
from pynamodb.transactions import TransactWrite

from dr_core.moves import about, on_execution, on_resource
from dr_core.records import Change, DetailType, Event, Execution, ExecutionStatus, Kind, Move, Resource, ResourceStatus
from dr_core.state import Table
from dr_core.together import Together
from tests.support.control_plane import ID, T0, Cloud, a_layer, a_resource, an_execution, cancelled

R = TypeVar("R")


def meanwhile(shared: "Together[object, object]", *work: Callable[[], R]) -> "list[Future[R]]":
    """All work, begun while another call is under way: it shares the next one."""
    threads = ThreadPoolExecutor(len(work))
    with shared._turn:
        begun = []
        for one in work:
            begun.append(threads.submit(one))
            while len(shared._waiting) < len(begun):
                pass
    return begun


def committed(table: Table, execution: Execution, *moves: Move) -> "list[Future[bool]]":
    """The moves, committed at the same time."""
    work = [lambda move=move: table.commit(execution, move, T0) for move in moves]
    return meanwhile(table._commit_together, *work)  # type: ignore[arg-type]


RUNNING = replace(an_execution(), status=ExecutionStatus.RUNNING, current_layer=1)


@pytest.fixture
def table(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Table:
    """A table with an execution that runs, its layer of ten resources asked for."""
    one_at_a_time, transact = Lock(), cloud.table._transact  # moto's table is not made for threads

    def guarded(write: Callable[[TransactWrite], None]) -> bool:
        with one_at_a_time:
            return transact(write)

    monkeypatch.setattr(cloud.table, "_transact", guarded)
    resources = [replace(a_resource(1, number), status=ResourceStatus.REQUESTED, attempt=1) for number in range(10)]
    assert cloud.table.create(RUNNING, [a_layer(1, 10)], resources, None, T0)
    cloud.calls.clear()
    return cloud.table


def claim(resource: Resource, owner: str = "me") -> Move:
    """As executors claim: on the condition that the execution still runs."""
    claimed = on_resource(resource, status=ResourceStatus.STARTING, lease_owner=owner)
    return Move((on_execution(RUNNING), claimed), (about(resource, DetailType.RESOURCE_STARTED),))


def test_claims_of_one_batch_are_one_transaction(table: Table, cloud: Cloud) -> None:
    assert all(one.result(20) for one in committed(table, RUNNING, *map(claim, table.resources(ID))))
    (call,) = cloud.made("TransactWriteItems")
    kinds = [next(iter(item)) for item in call.parameters["TransactItems"]]
    assert sorted(kinds) == ["ConditionCheck"] + 10 * ["Put"] + 10 * ["Update"], "the execution is asked for once"
    assert {one.status for one in table.resources(ID)} == {ResourceStatus.STARTING}
    started = [entry.detail for entry in table.timeline(ID) if entry.detail_type == "Resource Started"]
    assert len(started) == len(set(started)) == 10


def test_one_that_comes_too_late_does_not_hold_up_the_others(table: Table, cloud: Cloud) -> None:
    resources = table.resources(ID)
    late = replace(resources[4], attempt=7)
    cloud.calls.clear()
    done = committed(table, RUNNING, *map(claim, [*resources[:4], late, *resources[5:]]))
    assert [one.result(20) for one in done] == [True] * 4 + [False] + [True] * 5
    assert len(cloud.made("TransactWriteItems")) == 11, "together in vain, then each by itself"
    assert [one.status for one in table.resources(ID)].count(ResourceStatus.STARTING) == 9


def test_of_two_who_want_the_same_only_one_has_it(table: Table) -> None:
    resource = table.resources(ID)[0]
    done = committed(table, RUNNING, claim(resource, "me"), claim(resource, "you"))
    assert sorted(one.result(20) for one in done) == [False, True]
    assert table.resources(ID)[0].lease_owner in ("me", "you")


def test_who_changes_the_execution_does_not_share_with_those_who_rely_on_it(table: Table) -> None:
    cancelling = Move((on_execution(RUNNING, status=ExecutionStatus.CANCELLING),), ())
    over, *claimed = committed(table, RUNNING, cancelling, *map(claim, table.resources(ID)))
    assert over.result(20)
    taken = sum(one.result(20) for one in claimed)
    assert [one.status for one in table.resources(ID)].count(ResourceStatus.STARTING) == taken


@pytest.mark.parametrize("error", [TransactWriteError, ValueError])
def test_what_cannot_be_written_is_an_error_of_who_wrote_it_alone(table: Table, error: type[Exception]) -> None:
    resources = table.resources(ID)
    huge = "x" * 500_000  # an item has at most 400 KB, an event 16
    change, event = Change(Kind.RESOURCE, resources[0].id, {}, {"detail": huge}), Event(DetailType.RESOURCE_STARTED, {"x": huge})
    wrong, *right = committed(table, RUNNING, Move((change,), () if error is TransactWriteError else (event,)), *map(claim, resources[1:]))
    with pytest.raises(error):
        wrong.result(20)
    assert all(one.result(20) for one in right)


def test_a_conflict_is_tried_again_together(table: Table, cloud: Cloud) -> None:
    resources = table.resources(ID)
    cloud.calls.clear()
    cloud.answer("dynamodb", "TransactWriteItems", cancelled("TransactionConflict"))
    assert all(one.result(20) for one in committed(table, RUNNING, *map(claim, resources)))
    assert [len(call.parameters["TransactItems"]) for call in cloud.made("TransactWriteItems")] == [21, 21]


def test_more_than_a_transaction_takes_is_not_put_into_one(table: Table, cloud: Cloud) -> None:
    resources = table.resources(ID)
    moves = [replace(claim(one), events=claim(one).events * 11) for one in resources]
    cloud.calls.clear()
    assert all(one.result(20) for one in committed(table, RUNNING, *moves))
    assert len(cloud.made("TransactWriteItems")) == 10


def test_resources_that_are_read_at_the_same_time_are_read_in_one_call(table: Table, cloud: Cloud) -> None:
    ids = [one.id for one in table.resources(ID)][:9]
    cloud.calls.clear()
    work = [lambda id=id: table.load_resource(ID, id) for id in [*ids, "0009-009"]]
    *found, missing = [one.result(20) for one in meanwhile(table._load_together, *work)]  # type: ignore[arg-type]
    assert [(state.execution, state.resources[0].id) for state in found if state] == [(RUNNING, id) for id in ids]
    assert missing is None
    (call,) = cloud.made("BatchGetItem")
    ((_, asked),) = call.parameters["RequestItems"].items()
    assert len(asked["Keys"]) == 11, "the execution once"
