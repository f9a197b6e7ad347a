"""Takes an operator's command: it is carried out once, or refused with the reason, and either way told in the timeline."""

from dataclasses import dataclass, replace
from datetime import datetime

from dr_core import flow
from dr_core.commands import Command, NotAllowedError, elsewhere
from dr_core.errors import InvalidInputError, OrchestratorError
from dr_core.events import Incoming
from dr_core.execution import decide
from dr_core.moves import RESOURCES_PER_MOVE
from dr_core.observability import logger
from dr_core.records import DetailType, Event, Execution, Kind, Move, State
from dr_core.requests import CommandRequested
from dr_core.state import Receipt, Table
from dr_core.takeover import give_up, take_over, tidied

# The state may move between reading and writing; a command is decided anew on what it is then.
_TRIES = 10


@dataclass(frozen=True)
class Control:
    """Takes commands for the executions in `table`."""

    table: Table
    clock: flow.Clock

    def take(self, incoming: Incoming) -> Receipt | None:
        """Carry out or refuse a `Command Requested` from the bus, whose actor is a claim.

        None where there is nobody to tell: no valid request, or no such execution; the log says so.
        """
        try:
            request = CommandRequested.parse(incoming.detail)
        except InvalidInputError as error:
            logger.error("command not understood", extra={"problems": [str(problem) for problem in error.problems]})
            return None
        return self.carry_out(request, incoming.id, verified=False)

    def carry_out(self, request: CommandRequested, event_id: str, *, verified: bool) -> Receipt | None:
        """Carry out or refuse a command. The same event or client token twice is one command.

        `verified`: AWS has said who `requested_by` is. None if there is no such execution.
        """
        logger.append_keys(execution_id=request.execution_id)
        token = request.client_token or event_id
        command = Command(request.command, request.requested_by, request.reason, request.resource_ids)
        for _ in range(_TRIES):
            if earlier := self.table.receipt(request.execution_id, token):
                logger.info("command came before", extra={"outcome": earlier.outcome})
                return earlier
            state = self.table.load(request.execution_id)
            if state is None:
                logger.error("command for an execution that there is not", extra={"command": command.name})
                return None
            now = self.clock()
            about = {
                "command": command.name,
                "resourceIds": list(command.resource_ids),
                "actor": command.actor,
                "actorVerified": verified,
                "reason": command.reason,
            }
            try:
                move = self._decide(state, command, now)
                receipt = Receipt(token, command.name, command.actor, "ACCEPTED", actor_verified=verified)
                told = Move(move.changes, (Event(DetailType.COMMAND_ACCEPTED, about), *move.events))
            except NotAllowedError as error:
                receipt = Receipt(token, command.name, command.actor, "REFUSED", str(error), verified)
                told = Move((), (Event(DetailType.COMMAND_REFUSED, {**about, "why": str(error)}),))
            # What follows is told by the Region that takes the command, and under the fence that it gives.
            if self.table.commit(_moved(state.execution, told, self.table.region), told, now, receipt):
                flow.tell(state, told, now)
                return receipt
        raise OrchestratorError(f"execution {request.execution_id} moved {_TRIES} times while {command.name} was decided")

    def _decide(self, state: State, command: Command, now: datetime) -> Move:
        """What carries out the command. Raises NotAllowedError."""
        if command.name == "takeover":
            return self._take_over(state.execution.id, command, now)
        if not flow.at_home(self.table, state):
            if command.name == "abandon":
                return give_up(self.table.replica(state.execution.id), command, self.table.region, now)
            raise elsewhere(command, state.execution, self.table.region)
        if command.name == "retry" and not command.resource_ids:
            return self._retry_all(state, command, now)
        return _obeyed(state, command, now)

    def _retry_all(self, state: State, command: Command, now: datetime) -> Move:
        """Retry the failed resources of a large layer, as many as a move has room for at a time, and give the move for the last ones.

        Whoever takes the command again, since this function died before that, finds the others failed still.
        """
        failed = [r.id for r in state.resources if r.status.is_failure]
        conflicts = 0
        while len(failed) > RESOURCES_PER_MOVE:
            first, rest = failed[:RESOURCES_PER_MOVE], failed[RESOURCES_PER_MOVE:]
            move = _obeyed(state, replace(command, resource_ids=tuple(first)), now)
            if self.table.commit(state.execution, move, now):
                flow.tell(state, move, now)
                failed, conflicts = rest, 0
            elif (conflicts := conflicts + 1) == _TRIES:
                raise OrchestratorError(f"execution {state.execution.id} moved {_TRIES} times while {command.name} was decided")
            state = self.table.load(state.execution.id) or state
            still = {r.id for r in state.resources if r.status.is_failure}
            failed = [id for id in failed if id in still]
        return _obeyed(state, replace(command, resource_ids=tuple(failed)), now)

    def _take_over(self, execution_id: str, command: Command, now: datetime) -> Move:
        """Bring what belongs to closed layers to its end, and give the move that takes over the rest."""
        region, conflicts = self.table.region, 0
        while conflicts < _TRIES:
            replica = self.table.replica(execution_id)
            move = take_over(replica, command, region, now)
            tidy = tidied(replica, region, now)
            if tidy is None:
                return move
            # A big execution takes many such moves: each leaves less to do, and only those that fail are tries.
            conflicts += not self.table.commit(replace(replica.execution, home_region=region), tidy, now)
        raise OrchestratorError(f"execution {execution_id} moved {_TRIES} times while it was taken over")


def _obeyed(state: State, command: Command, now: datetime) -> Move:
    move = decide(state, command, now)
    assert move is not None  # a command is carried out or refused
    return move


def _moved(execution: Execution, move: Move, region: str) -> Execution:
    """The execution as its events tell of it: at home where the command is taken, with the fence that the move gives it."""
    fences = [change.values["fence"] for change in move.changes if change.kind is Kind.EXECUTION and "fence" in change.values]
    fence = fences[0] if fences else execution.fence
    assert isinstance(fence, int)
    return replace(execution, home_region=region, fence=fence)
