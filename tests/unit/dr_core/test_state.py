"""The state table: what is stored is what was meant, all of it or nothing, and only for who was first."""

import json
from dataclasses import fields, replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from pynamodb.exceptions import TransactWriteError

from dr_core.errors import ErrorClass, OrchestratorError
from dr_core.moves import end, on_approval, on_execution, on_layer, on_resource
from dr_core.records import (
    ApprovalStatus,
    Change,
    DetailType,
    Event,
    ExecutionStatus,
    Failure,
    Kind,
    LayerStatus,
    Move,
    Resource,
    ResourceStatus,
)
from dr_core.state import LockedError, Once, Table
from tests.support.control_plane import (
    HOME,
    ID,
    OTHER,
    T0,
    Cloud,
    a_layer,
    a_resource,
    an_approval,
    an_execution,
    cancelled,
    error,
)

PAUSED = Event(DetailType.EXECUTION_PAUSED, {"actor": "olga"})


@pytest.fixture
def table(cloud: Cloud) -> Table:
    """A table with one execution that waits for its approval: two layers, three resources."""
    resources = [a_resource(2, 1), a_resource(1, 2), a_resource(1, 1)]
    assert cloud.table.create(an_execution(client_token="t1"), [a_layer(2), a_layer(1, 2)], resources, an_approval(), T0)
    return cloud.table


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the table waited between its tries, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr("dr_core.state.time", SimpleNamespace(sleep=waited.append))
    return waited


def finished(table: Table, execution_id: str) -> None:
    """The execution ends and frees its locks."""
    state = table.load(execution_id)
    assert state
    move = Move(end(state.execution, ExecutionStatus.CANCELLED, T0, "enough"), (Event(DetailType.EXECUTION_CANCELLED),))
    assert table.commit(state.execution, move, T0)


def running(table: Table) -> None:
    """The execution runs, its first layer is open."""
    state = table.load(ID)
    assert state and state.approval
    opened = on_execution(state.execution, status=ExecutionStatus.RUNNING, current_layer=1)
    assert table.commit(state.execution, Move((opened, on_layer(state.layers[0], status=LayerStatus.RUNNING))), T0)


# --- create ---


def test_what_is_created_is_what_is_loaded(table: Table, cloud: Cloud) -> None:
    state = table.load(ID)
    assert state
    assert state.execution == an_execution(client_token="t1")
    assert state.layers == (a_layer(1, 2), a_layer(2))
    assert state.approval == an_approval()
    assert state.resources == (), "no layer is open yet"
    assert table.resources(ID) == (a_resource(1, 1), a_resource(1, 2), a_resource(2, 1))
    assert table.resources(ID, 2) == (a_resource(2, 1),)
    moments = {item["requested_at"]["S"] for item in cloud.items() if "requested_at" in item}
    assert moments == {"2031-03-01T12:00:00.000Z"}, "text that sorts, and that people can read"
    assert table.locked_by("shop", [HOME, OTHER, "eu-west-1"]) == {HOME: ID, OTHER: ID}
    assert table.by_token("shop", "t1") == ID
    assert [entry.detail_type for entry in table.timeline(ID)] == ["Execution Requested"]


def test_every_field_survives_the_table(table: Table) -> None:
    failure = Failure("Boom", ErrorClass.THROTTLED, 'it said "no" — näää', "req-1")
    resource = replace(
        a_resource(),
        best_effort=True,
        lease_owner="me",
        detail="d",
        percent=7,
        failure=failure,
        handles="[]",
        before="{}",
        lag_seconds=1.5,
        stalled_sweeps=3,
        undoes="[{}]",
    )
    moments = {name: T0 + timedelta(seconds=n, milliseconds=5) for n, name in enumerate(_moments(resource))}
    stored = replace(resource, **moments)  # type: ignore[arg-type]
    assert None not in [getattr(stored, field.name) for field in fields(stored)]
    running(table)
    values = {field.name: getattr(stored, field.name) for field in fields(stored)}
    change = Change(Kind.RESOURCE, stored.id, {}, values)
    assert table.commit(an_execution(), Move((change,)), T0)
    assert table.resources(ID, 1)[0] == stored


def _moments(record: object) -> list[str]:
    return [name for name in type(record).__annotations__ if name.endswith(("_at", "_until"))]


def test_create_twice_is_one_execution(table: Table, cloud: Cloud) -> None:
    running(table)
    (first, _) = table.resources(ID, 1)
    assert table.commit(an_execution(), Move((on_resource(first, status=ResourceStatus.REQUESTED, attempt=1),)), T0)
    before = cloud.items()
    changed = a_resource(1, 1, parameters='{"changed": 1}')
    assert not table.create(an_execution(client_token="t1"), [a_layer(1, 2), a_layer(2)], [changed], an_approval(), T0)
    assert cloud.items() == before, "the resources that run are not planned anew, nor with a manifest that nobody approved"


@pytest.mark.parametrize("resources", [[], [a_resource()]])
def test_what_ended_is_not_begun_again(table: Table, cloud: Cloud, resources: list[Resource]) -> None:
    finished(table, ID)
    before = cloud.items()
    assert not table.create(an_execution(), [a_layer()], resources, an_approval(), T0)
    assert cloud.items() == before


def test_a_lock_that_changed_hands_meanwhile_is_taken_with_the_next_fence(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(table, ID)
    read, missed = type(table)._lock, [HOME, OTHER]

    def late(self: Table, application: str, region: str) -> object:
        if region not in missed:
            return read(self, application, region)
        missed.remove(region)
        return None

    monkeypatch.setattr(type(table), "_lock", late)
    assert table.create(an_execution("01OTHER"), [a_layer()], [a_resource()], an_approval(), T0)
    lock = read(table, "shop", HOME)
    assert lock and (lock.owner, lock.fence) == ("01OTHER", 2)


def test_a_lock_that_is_freed_at_that_moment_is_taken(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = type(table).locked_by

    def freed(self: Table, application: str, regions: list[str], now: datetime) -> dict[str, str]:
        monkeypatch.setattr(type(table), "locked_by", asked)
        finished(table, ID)
        return asked(self, application, regions, now)

    monkeypatch.setattr(type(table), "locked_by", freed)
    assert table.create(an_execution("01OTHER"), [a_layer()], [a_resource()], an_approval(), T0), "the request is not lost"


def test_locks_that_change_hands_for_ever_are_an_error(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(table, ID)
    monkeypatch.setattr(type(table), "_lock", lambda *_: None)
    with pytest.raises(OrchestratorError, match="the locks of shop changed hands over 10 tries"):
        table.create(an_execution("01OTHER"), [a_layer()], [a_resource()], an_approval(), T0)


def test_a_held_lock_names_its_holder_and_nothing_is_created(table: Table) -> None:
    with pytest.raises(LockedError, match=rf"execution {ID} of shop holds the lock on us-east-1, us-west-2"):
        table.create(an_execution("01OTHER"), [a_layer()], [a_resource()], an_approval(), T0)
    assert table.load("01OTHER") is None and table.timeline("01OTHER") == [] and table.approval("01OTHER") is None
    assert table.locked_by("shop", [HOME, OTHER]) == {HOME: ID, OTHER: ID}
    with pytest.raises(LockedError):
        crossing = an_execution("01OTHER", source_region=HOME, target_region="eu-west-1")
        table.create(crossing, [a_layer()], [a_resource()], an_approval(), T0)
    assert table.locked_by("shop", ["eu-west-1"]) == {}, "not half of the locks either"


def test_other_applications_and_regions_do_not_wait(table: Table) -> None:
    assert table.create(an_execution("01OTHER", application="blog"), [a_layer()], [a_resource()], an_approval(), T0)
    elsewhere = an_execution("01ELSE", source_region="eu-west-1", target_region="eu-west-2")
    assert table.create(elsewhere, [a_layer()], [a_resource()], an_approval(), T0)


def test_a_client_token_starts_one_execution(table: Table, cloud: Cloud) -> None:
    finished(table, ID)
    before = [item["sk"] for item in cloud.items() if item["pk"]["S"] != "EXEC#01OTHER"]
    assert not table.create(an_execution("01OTHER", client_token="t1"), [a_layer()], [], an_approval(), T0)
    assert table.load("01OTHER") is None and table.by_token("shop", "t1") == ID
    assert [item["sk"] for item in cloud.items() if item["pk"]["S"] != "EXEC#01OTHER"] == before
    assert table.by_token("blog", "t1") is None, "each application has tokens of its own"


def test_the_fence_rises_with_each_owner(table: Table, cloud: Cloud) -> None:
    def fences() -> list[str]:
        return [item["fence"]["N"] for item in cloud.items() if item["sk"]["S"] == "LOCK"]

    assert fences() == ["1", "1"]
    finished(table, ID)
    assert fences() == ["1", "1"] and table.locked_by("shop", [HOME, OTHER]) == {}
    assert table.create(an_execution("01OTHER"), [a_layer()], [a_resource()], an_approval(), T0)
    assert fences() == ["2", "2"] and table.locked_by("shop", [HOME, OTHER]) == {HOME: "01OTHER", OTHER: "01OTHER"}


def test_the_locks_of_another_are_not_freed(table: Table) -> None:
    late = table.load(ID)
    assert late
    finished(table, ID)
    assert table.create(an_execution("01OTHER"), [a_layer()], [a_resource()], an_approval(), T0)
    freed = Change(Kind.LOCK, HOME, {"owner": ID}, {"owner": None})
    assert not table.commit(late.execution, Move((freed,)), T0)
    assert table.locked_by("shop", [HOME]) == {HOME: "01OTHER"}


def test_a_hundred_resources_are_stored_in_parts(cloud: Cloud) -> None:
    resources = [a_resource(1, index) for index in range(1, 101)]
    assert cloud.table.create(an_execution(), [a_layer(1, 100)], resources, an_approval(), T0)
    sizes = [len(call.parameters["TransactItems"]) for call in cloud.made("TransactWriteItems")]
    assert len(sizes) == 3 and max(sizes) <= 100
    assert cloud.table.resources(ID, 1) == tuple(resources)


def test_a_crash_between_the_parts_is_mended_by_the_second_delivery(cloud: Cloud) -> None:
    cloud.answer("dynamodb", "TransactWriteItems", error("InternalServerError"), status=500)
    with pytest.raises(TransactWriteError):
        cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    assert cloud.table.load(ID) is None and cloud.table.locked_by("shop", [HOME]) == {}
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)


# --- commit ---


@pytest.mark.failure("A handler dies after its transaction")
def test_a_move_and_its_events_are_one(table: Table) -> None:
    state = table.load(ID)
    assert state
    move = Move((on_execution(state.execution, status=ExecutionStatus.PAUSED),), (PAUSED,))
    assert table.commit(state.execution, move, T0 + timedelta(seconds=1))
    after = table.load(ID)
    assert after and after.execution == replace(state.execution, status=ExecutionStatus.PAUSED)
    entry = table.timeline(ID)[-1]
    detail = json.loads(entry.detail)
    assert (entry.source, entry.detail_type) == ("dr.execution", "Execution Paused")
    assert (detail["eventId"], detail["executionId"], detail["actor"]) == (entry.id, ID, "olga")
    assert detail["occurredAt"] == "2031-03-01T12:00:01.000Z"
    assert not table.commit(state.execution, move, T0), "the second of two equal moves is stale"
    assert len(table.timeline(ID)) == 2, "and what did not happen is not told"


EXECUTION, LAYER, RESOURCE, APPROVAL = an_execution(), a_layer(1, 2), a_resource(1, 1), an_approval()


@pytest.mark.parametrize(
    "change",
    [
        on_execution(replace(EXECUTION, status=ExecutionStatus.RUNNING), outcome_detail="x"),
        on_execution(replace(EXECUTION, fence=2), outcome_detail="x"),
        on_execution(replace(EXECUTION, current_layer=1), outcome_detail="x"),
        on_execution(replace(EXECUTION, fence=2)),
        on_layer(replace(LAYER, status=LayerStatus.RUNNING), epoch=1),
        on_layer(replace(LAYER, epoch=1), epoch=2),
        on_layer(replace(LAYER, number=9), epoch=2),
        on_resource(replace(RESOURCE, status=ResourceStatus.WAITING), detail="x"),
        on_resource(replace(RESOURCE, attempt=1), detail="x"),
        on_resource(replace(RESOURCE, check_no=1), detail="x"),
        on_resource(replace(RESOURCE, lease_owner="me"), detail="x"),
        on_resource(replace(RESOURCE, id="0001-009"), detail="x"),
        on_resource(replace(RESOURCE, check_no=1)),
        on_approval(replace(APPROVAL, status=ApprovalStatus.EXPIRED), reason="x"),
        on_approval(replace(APPROVAL, manifest_sha256="other"), reason="x"),
        Change(Kind.APPROVAL, "", {"approver": "ann"}, {"reason": "x"}),
        Change(Kind.LOCK, HOME, {"owner": "01OTHER"}, {"owner": None}),
        Change(Kind.LOCK, "eu-west-1", {"owner": None}, {"owner": ID}),
    ],
    ids=lambda change: f"{change.kind} {change.key} {change.expected}",
)
def test_a_move_holds_only_on_what_was_read(table: Table, cloud: Cloud, change: Change) -> None:
    before = cloud.items()
    harmless = Change(Kind.RESOURCE, "0002-001", {"status": ResourceStatus.PENDING}, {"detail": "done"})
    assert not table.commit(EXECUTION, Move((harmless, change), (PAUSED,)), T0)
    assert cloud.items() == before, "none of its changes is carried out, none of its events stored"


def test_the_absence_of_an_attribute_is_a_condition(table: Table) -> None:
    unheld = on_resource(RESOURCE, lease_owner="me")
    assert table.commit(EXECUTION, Move((unheld,)), T0)
    assert not table.commit(EXECUTION, Move((unheld,)), T0)
    assert table.commit(EXECUTION, Move((on_resource(replace(RESOURCE, lease_owner="me"), lease_owner=None),)), T0)
    assert table.commit(EXECUTION, Move((unheld,)), T0), "and it is absent again"


def test_a_condition_alone_changes_nothing(table: Table, cloud: Cloud) -> None:
    before = cloud.items()
    assert table.commit(EXECUTION, Move((on_execution(EXECUTION), on_layer(LAYER), on_resource(RESOURCE), on_approval(APPROVAL))), T0)
    assert cloud.items() == before


def test_an_event_that_is_too_large_is_no_move(table: Table, cloud: Cloud) -> None:
    before = cloud.items()
    move = Move((on_execution(EXECUTION, status=ExecutionStatus.PAUSED),), (Event(DetailType.EXECUTION_PAUSED, {"x": "ä" * 9000}),))
    with pytest.raises(ValueError, match=r"Execution Paused would have \d+ bytes, more than 16384"):
        table.commit(EXECUTION, move, T0)
    assert cloud.items() == before


@pytest.mark.failure("A storm of colliding transactions")
@pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_conflict_is_tried_again(table: Table, cloud: Cloud, pauses: list[float], reason: str) -> None:
    cloud.answer("dynamodb", "TransactWriteItems", *[cancelled("None", reason)] * 3)
    assert table.commit(EXECUTION, Move((on_execution(EXECUTION, status=ExecutionStatus.PAUSED),), (PAUSED,)), T0)
    assert cloud.events().count("Execution Paused") == 1
    assert len(pauses) == 3 and all(0.02 <= pause <= 1 for pause in pauses)


@pytest.mark.failure("A storm of colliding transactions")
def test_a_conflict_that_stays_is_an_error(table: Table, cloud: Cloud, pauses: list[float]) -> None:
    cloud.answer("dynamodb", "TransactWriteItems", *[cancelled("TransactionConflict")] * 50)
    with pytest.raises(OrchestratorError, match="the table stayed in conflict over 10 tries"):
        table.commit(EXECUTION, Move((on_execution(EXECUTION, fence=2),)), T0)
    assert len(pauses) == 10


@pytest.mark.parametrize(
    "answer", [cancelled("None", "ValidationError"), cancelled("ItemCollectionSizeLimitExceeded"), error("AccessDenied")]
)
def test_what_is_no_conflict_is_raised(table: Table, cloud: Cloud, pauses: list[float], answer: dict[str, object]) -> None:
    cloud.answer("dynamodb", "TransactWriteItems", answer)
    with pytest.raises(TransactWriteError):
        table.commit(EXECUTION, Move((on_execution(EXECUTION, fence=2),)), T0)
    assert pauses == []


def test_a_failed_condition_among_conflicts_is_an_answer(table: Table, cloud: Cloud, pauses: list[float]) -> None:
    cloud.answer("dynamodb", "TransactWriteItems", cancelled("TransactionConflict", "ConditionalCheckFailed"))
    assert not table.commit(EXECUTION, Move((on_execution(EXECUTION, fence=2),)), T0)
    assert pauses == []


def test_what_is_not_there_is_nothing(table: Table) -> None:
    assert table.refusal(ID) is None and table.refusal("01NO") is None
    assert table.approval("01NO") is None and table.load("01NO") is None and table.by_token("shop", "no") is None
    assert table.load_resource("01NO", "0001-001") is None and table.load_resource(ID, "0009-001") is None


def test_what_is_good_once_is_used_up_with_the_move_or_not_at_all(cloud: Cloud) -> None:
    table, one, two = cloud.table, Once("link:a", T0), Once("link:b", T0)
    assert table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    wrong = Move((Change(Kind.APPROVAL, "", {"status": ApprovalStatus.EXPIRED}),))
    assert not table.commit(an_execution(), wrong, T0, once=(one,)) and not table.is_used(one.key)
    assert table.commit(an_execution(), Move(()), T0, once=(one,)) and table.is_used(one.key)
    assert not table.commit(an_execution(), Move(()), T0, once=(two, one)) and not table.is_used(two.key)
    (kept,) = (item for item in cloud.items() if item["sk"]["S"] == "NONCE")
    assert int(kept["ttl"]["N"]) > T0.timestamp() and "link:a" not in kept["pk"]["S"]
