"""Many at once on one table of the emulator: what only one may do, one does."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from dr_core.execution import decide
from dr_core.observability import utc_now
from dr_core.records import ApprovalStatus, ExecutionStatus, LayerStatus, ResourceStatus, State
from dr_core.state import LockedError, Table
from dr_core.triggers import Claim, Expire, Trigger, Vote, Wake
from localcloud.cloud import LocalCloud
from localcloud.faults import Effect, Fault
from tests.support.control_plane import SHA, T0, a_layer, a_resource, an_approval, an_execution
from tests.support.state_table import create_state_table

pytestmark = pytest.mark.integration


@pytest.fixture
def table(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """A table as the template has it, on the emulator."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    yield create_state_table(f"races-{uuid.uuid4().hex[:8]}", cloud.client("dynamodb"))
    cloud.faults.clear()


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What each gives, all begun at the same moment; an exception is given too."""
    start = threading.Barrier(len(acts))

    def one(act: Callable[[], object]) -> object:
        start.wait()
        try:
            return act()
        except LockedError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(one, acts))


def moved(table: Table, state: State, trigger: Trigger) -> Callable[[], object]:
    """Carry out what follows from the trigger on a state that was read before."""
    move = decide(state, trigger, T0)
    assert move is not None
    return lambda: table.commit(state.execution, move, T0)


def loaded(table: Table, execution_id: str) -> State:
    state = table.load(execution_id)
    assert state is not None
    return state


def running(table: Table, execution_id: str, resources: int, status: ResourceStatus) -> State:
    """An execution whose one layer is open, its resources all in one status."""
    execution = an_execution(execution_id, status=ExecutionStatus.RUNNING, current_layer=1, started_at=T0, application=execution_id)
    made = [a_resource(1, index + 1, status=status, attempt=1) for index in range(resources)]
    approval = an_approval(status=ApprovalStatus.APPROVED)
    assert table.create(execution, [a_layer(1, resources, status=LayerStatus.RUNNING, epoch=1, started_at=T0)], made, approval, T0)
    return loaded(table, execution_id)


@pytest.mark.failure("Two close a layer at once")
def test_of_twenty_who_close_a_layer_one_does(table: Table) -> None:
    state = running(table, "01JOIN", 3, ResourceStatus.SUCCEEDED)
    assert at_once(*[moved(table, state, Wake()) for _ in range(20)]).count(True) == 1
    told = [entry.detail_type for entry in table.timeline("01JOIN")]
    assert told.count("Layer Completed") == told.count("Execution Completed") == 1
    assert loaded(table, "01JOIN").execution.status is ExecutionStatus.SUCCEEDED


@pytest.mark.failure("A storm of colliding transactions")
def test_a_hundred_claims_of_one_layer_all_hold(table: Table, cloud: LocalCloud) -> None:
    """Each depends on the same item; a third of the tries meets another transaction. Five share a table, as a function's messages do."""
    state = running(table, "01STORM", 100, ResourceStatus.REQUESTED)
    tables = [Table(table._name) for _ in range(20)]
    storm = Fault(
        effect=Effect.ERROR, code="TransactionCanceledException", service="dynamodb", operation="TransactWriteItems", probability=0.33
    )
    with cloud.faults.during(storm):
        claims = [
            moved(tables[number % 20], state, Claim(resource.id, 1, f"executor-{resource.id}"))
            for number, resource in enumerate(state.resources)
        ]
        assert at_once(*claims) == [True] * 100
        assert cloud.faults.active()[0].struck >= 5
    assert {resource.lease_owner for resource in table.resources("01STORM")} == {f"executor-{r.id}" for r in state.resources}
    assert [entry.detail_type for entry in table.timeline("01STORM")].count("Resource Started") == 100


@pytest.mark.failure("A storm of colliding transactions", "Duplicate event, message delivered again")
def test_of_a_hundred_claims_of_one_resource_one_holds(table: Table) -> None:
    state = running(table, "01ONE", 1, ResourceStatus.REQUESTED)
    claims = [moved(table, state, Claim("0001-001", 1, f"executor-{number}")) for number in range(100)]
    answers = at_once(*claims)
    assert answers.count(True) == 1
    assert table.resources("01ONE")[0].lease_owner == f"executor-{answers.index(True)}"


@pytest.mark.failure("Approval and expiry at once")
def test_a_vote_and_the_timer_at_once_one_counts(table: Table) -> None:
    won = set()
    for number in range(20):
        execution_id = f"01VOTE{number:02}"
        execution = an_execution(execution_id, application=execution_id)
        assert table.create(execution, [a_layer()], [a_resource()], an_approval(), T0)
        state = loaded(table, execution_id)
        acts = [moved(table, state, Vote(True, "ann", "", SHA)), moved(table, state, Expire())]
        answers = at_once(*(acts if number % 2 else acts[::-1]))
        assert sorted(map(str, answers)) == ["False", "True"]
        approval = table.approval(execution_id)
        told = [entry.detail_type for entry in table.timeline(execution_id)]
        assert approval and ("Approval Granted" in told) == (approval.status is ApprovalStatus.APPROVED)
        assert told.count("Approval Granted") + told.count("Approval Expired") == 1
        won.add(approval.status)
    assert won <= {ApprovalStatus.APPROVED, ApprovalStatus.EXPIRED}


@pytest.mark.failure("Two Regions start the same application")
def test_of_two_who_start_the_same_application_one_does(table: Table) -> None:
    one, other = (an_execution(f"01START{number}", requested_at=utc_now()) for number in range(2))
    acts = [lambda it=it: table.create(it, [a_layer()], [a_resource()], an_approval(), T0) for it in (one, replace(other))]
    answers = at_once(*acts)
    assert answers.count(True) == 1
    (refused,) = (answer for answer in answers if isinstance(answer, LockedError))
    winner = (one, other)[answers.index(True)]
    assert winner.id in str(refused)
    assert set(table.locked_by(winner.application, (winner.source_region, winner.target_region)).values()) == {winner.id}
