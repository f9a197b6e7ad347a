"""Read, decide, commit: how a wake-up becomes transactions. All that handlers share beyond parsing."""

from collections.abc import Callable, Sequence
from datetime import datetime

from dr_core import queues
from dr_core.errors import OrchestratorError
from dr_core.execution import decide, lost_wake_ups
from dr_core.metrics import Metric, measure, measure_move, measure_of
from dr_core.moves import applied
from dr_core.observability import logger
from dr_core.records import Move, State
from dr_core.state import Once, Table
from dr_core.triggers import Trigger, Wake
from dr_core.watch import watch

Clock = Callable[[], datetime]
# Each step is a transaction: 20 layers with 100 resources in moves of 45 stay far below.
_MOST_STEPS = 500


def advance(table: Table, execution_id: str, clock: Clock) -> State | None:
    """Take every step that the state leads to by itself, until none is left. Gives the state at rest, None if there is no execution."""
    state: State | None = None
    for _ in range(_MOST_STEPS):
        state, now = state or table.load(execution_id), clock()
        move = decide(state, Wake(), now) if state and at_home(table, state) else None
        if state is None or move is None:
            return state
        if table.commit(state.execution, move, now):  # one moment: the events say when what they tell of began and ended
            tell(state, move, now)
            state = carried_on(state, move)
        else:
            measure_of(Metric.JOIN_CONFLICTS, 1, state.execution)
            state = None
    raise OrchestratorError(f"execution {execution_id} did not come to rest in {_MOST_STEPS} steps")


def carried_on(state: State, move: Move) -> State | None:
    """What is known after a move that was just committed; None where it has to be read: another layer, another approval.

    It is as old as what was read before, and as safe to decide on: each change holds only on what it expects.
    """
    after = applied(state, move)
    same = (after.execution.current_layer, after.approval_layer()) == (state.execution.current_layer, state.approval_layer())
    return after if same else None


def at_home(table: Table, state: State) -> bool:
    """Whether this Region may move the execution: a replica of another's is only to be looked at."""
    return state.execution.home_region == table.region


def follow(table: Table, state: State, trigger: Trigger, clock: Clock, once: Sequence[Once] = ()) -> Move | None:
    """Carry out what follows from `trigger` on a state just read, and send the wake-ups that it needs later.

    `once`: what the move uses up. None if nothing follows, or somebody moved first. Raises NotAllowedError as `decide` does.
    """
    now = clock()
    move = decide(state, trigger, now) if at_home(table, state) else None
    if move is None or not table.commit(state.execution, move, now, once=once):
        return None
    tell(state, move, now)
    for event, delay in queues.follow_ups(state, move, now):
        queues.send(state.execution.id, event, delay)
    return move


def sweep(table: Table, region: str, clock: Clock) -> int:
    """Find what is overdue in `region`, step what can step, send again what was lost, note what takes too long.

    Gives the number of wake-ups sent.

    An execution that fails does not hold up the others; at the end an ExceptionGroup tells of all that did.
    """
    sent, errors = 0, []
    for execution_id in table.due(region, clock()):
        logger.append_keys(execution_id=execution_id)
        try:
            sent += _sweep_one(table, execution_id, clock)
        except Exception as error:  # noqa: BLE001  (raised again below)
            logger.exception("execution not swept")
            errors.append(error)
    logger.remove_keys(["execution_id"])
    if errors:
        raise ExceptionGroup(f"{len(errors)} of the executions that are due could not be swept", errors)
    measure(Metric.SWEEPS_COMPLETED, 1)
    return sent


def _sweep_one(table: Table, execution_id: str, clock: Clock) -> int:
    state = advance(table, execution_id, clock)
    lost = lost_wake_ups(state, clock()) if state and at_home(table, state) else ()
    for event in lost:
        logger.warning("lost wake-up sent again", detail_type=event.detail_type, resource_id=event.fields.get("resourceId"))
        queues.send(execution_id, event)
    if state and at_home(table, state):
        now = clock()
        for move in watch(state, now):
            if table.commit(state.execution, move, now):
                tell(state, move, now)
    if state and lost:
        measure_of(Metric.SWEEPER_REPAIRS, len(lost), state.execution)
    return len(lost)


def tell(state: State, move: Move, now: datetime) -> None:
    """Measure a committed move, and log one line for each of its events. `state` is that before the move."""
    measure_move(state, move, now)
    for event in move.events:
        about = {key: event.fields[key] for key in _LOGGED if key in event.fields}
        logger.info("moved", extra={"detail_type": event.detail_type, "about": about})


_LOGGED = ("layer", "resourceId", "resourceName", "module", "attempt", "outcome", "error", "reason")
