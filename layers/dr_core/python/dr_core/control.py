"""Takes an operator's command: it is carried out once, or refused with the reason, and either way told in the timeline."""

from dataclasses import dataclass

from dr_core import flow
from dr_core.commands import Command, NotAllowedError
from dr_core.errors import InvalidInputError, OrchestratorError
from dr_core.events import CommandRequested, Incoming
from dr_core.execution import decide
from dr_core.observability import logger
from dr_core.records import DetailType, Event, Move
from dr_core.state import Receipt, Table

# The state may move between reading and writing; a command is decided anew on what it is then.
_TRIES = 10


@dataclass(frozen=True)
class Control:
    """Takes commands for the executions in `table`."""

    table: Table
    clock: flow.Clock

    def take(self, incoming: Incoming) -> Receipt | None:
        """Carry out or refuse a `Command Requested`. The same event or client token twice is one command.

        None where there is nobody to tell: no valid request, or no such execution; the log says so.
        """
        try:
            request = CommandRequested.parse(incoming.detail)
        except InvalidInputError as error:
            logger.error("command not understood", extra={"problems": [str(problem) for problem in error.problems]})
            return None
        logger.append_keys(execution_id=request.execution_id)
        token = request.client_token or incoming.id
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
            about = {"command": command.name, "resourceIds": list(command.resource_ids), "actor": command.actor, "reason": command.reason}
            try:
                move = decide(state, command, now)
                assert move is not None  # a command is carried out or refused
                receipt = Receipt(token, command.name, command.actor, "ACCEPTED")
                told = Move(move.changes, (Event(DetailType.COMMAND_ACCEPTED, about), *move.events))
            except NotAllowedError as error:
                receipt = Receipt(token, command.name, command.actor, "REFUSED", str(error))
                told = Move((), (Event(DetailType.COMMAND_REFUSED, {**about, "why": str(error)}),))
            if self.table.commit(state.execution, told, now, receipt):
                flow.log_move(told)
                return receipt
        raise OrchestratorError(f"execution {request.execution_id} moved {_TRIES} times while {command.name} was decided")
