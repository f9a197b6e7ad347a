"""Starts and checks resources: claims, opens the target, lets the module work, and records what came of it."""

import json
import random
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from dr_core import flow
from dr_core.calls import Recording, journal
from dr_core.checks import check_delay, known_times, least_delay
from dr_core.errors import ErrorClass, ModuleError
from dr_core.events import WakeUp
from dr_core.execution import decide
from dr_core.metrics import Metric, measure_of
from dr_core.moves import applied
from dr_core.observability import logger, utc_now
from dr_core.phases import Mode, Phase
from dr_core.records import Execution, Failure, Resource, ResourceStatus, State
from dr_core.references import SECURE_ACTIONS, holds_reference, resolve_secure
from dr_core.settings import setting
from dr_core.state import Table, table
from dr_core.target import TargetAccess, acting_until, target_access
from dr_core.triggers import Checked, Claim, Outcome, Started
from dr_engine.opening import check_cap, lag_problem, module_in, module_of, open_target
from dr_modules.base import STARTABLE, DRModule, Progress, Status


class Executor:
    """Works on resources through `table` and `access`. `first_check_seconds`: how soon an operation is first looked at."""

    def __init__(self, table: Table, access: TargetAccess, clock: flow.Clock, first_check_seconds: float) -> None:
        self._table = table
        self._access = access
        self._clock = clock
        self._first_check_seconds = first_check_seconds

    def start(self, message: WakeUp, owner: str) -> None:
        """Look, claim the resource, act unless it is done or under way, observe, and record. A second delivery stops at the claim.

        What is looked at before the claim changes nothing, so that several may look; the claim holds only if nobody claimed since the
        resource was read, and stores what was there before the act in the same transaction. `owner` is one that nobody had before.
        """
        state = self._table.load_resource(message.execution_id, message.resource_id)
        if state is None or not self._is_claimable(state, Claim(message.resource_id, message.attempt, owner)):
            return
        resource = state.resources[0]
        with journal() as calls:
            look = self._look(state, resource, calls.secrets)
            claim = Claim(resource.id, resource.attempt, owner, look.before, look.lag_seconds)
            move = flow.follow(self._table, state, claim, self._clock)
            if move is None:
                return
            outcome = look.outcome
            held = applied(state, move)
            current: State | None = held
            if outcome is None:
                with acting_until(held.resources[0].lease_until):
                    outcome = look.act()
                # Only the record's own fences matter now: the execution may have been paused meanwhile.
                current = self._table.load_resource(message.execution_id, message.resource_id)
        handles = json.dumps(look.module.handles) if look.module is not None and look.module.handles else resource.handles
        if current is not None:
            delay = self._delay(current.resources[0])
            started = Started(resource.id, resource.attempt, owner, outcome, handles, delay, random.random())  # noqa: S311
            flow.follow(self._table, current, started, self._clock)
        self._keep(message, resource, calls, outcome)

    def check(self, message: WakeUp) -> None:
        """Observe a waiting resource and record what is seen. A message of an older check or attempt stops here."""
        state = self._table.load_resource(message.execution_id, message.resource_id)
        if state is None:
            return
        resource = state.resources[0]
        if resource.status is not ResourceStatus.WAITING or (resource.attempt, resource.check_no) != (message.attempt, message.check_no):
            return
        if resource.next_at is not None:
            late = (self._clock() - resource.next_at).total_seconds()
            measure_of(Metric.POLL_LAG, max(0.0, late), state.execution)
        with journal() as calls:
            try:
                module, raw = self._open(state, resource, calls.secrets, read_only=True)
                outcome = _outcome_of_status(module.observe(raw))
            except ModuleError as error:
                outcome = _outcome_of_error(error)
        delay = self._delay(resource, reads=calls.reads)
        if outcome.failure is not None and outcome.failure.error_class is ErrorClass.THROTTLED:
            delay = max(delay, min(60.0, 2 * delay))
        checked = Checked(resource.id, resource.attempt, resource.check_no, outcome, delay, random.random())  # noqa: S311
        flow.follow(self._table, state, checked, self._clock)
        self._keep(message, resource, calls, outcome)

    def _delay(self, resource: Resource, reads: float = 0.0) -> float:
        """Seconds to the next check of a resource; at its deadline it has a last one.

        `reads`: how many reading calls the last check made, its share of shared ones. The first come spread as the acts, which call more.
        """
        now = self._clock()
        delay = check_delay(
            resource.check_no,
            self._first_check_seconds,
            check_cap(resource),
            random.random(),  # noqa: S311
            passed=(now - resource.claimed_at).total_seconds() if resource.claimed_at else 0.0,
            known=known_times(resource),
            least=least_delay(resource, reads),
        )
        left = (resource.deadline_at - now).total_seconds() if resource.deadline_at else 0.0
        return min(delay, left + 1) if left > 0 else delay

    def _keep(self, message: WakeUp, resource: Resource, calls: Recording, outcome: Outcome) -> None:
        """Add to the journal: last, since nothing that is decided depends on it."""
        kept = calls.worth_keeping(failed=outcome.failure is not None)
        self._table.keep_calls(message.execution_id, resource.id, resource.attempt, kept, self._clock())

    def _open(self, state: State, resource: Resource, secrets: set[str], *, read_only: bool) -> tuple[DRModule[Any], object]:
        """The module in its target, with no more rights than it needs now, and the parameters with their secrets."""
        kind = module_of(resource)
        needed = kind.read_actions(state.execution.phase) if read_only else kind.actions(state.execution.phase)
        raw = json.loads(resource.parameters)
        secure = SECURE_ACTIONS if holds_reference(raw) else ()
        target = open_target(self._access, state.execution, resource, (*needed, *secure))
        module = module_in(target, kind, state.execution, resource)
        return module, resolve_secure(resource.parameters, target.client("ssm"), secrets) if secure else raw

    def _is_claimable(self, state: State, claim: Claim) -> bool:
        """Whether it is worth a look: most second deliveries stop here."""
        return flow.at_home(self._table, state) and decide(state, claim, self._clock()) is not None

    def _look(self, state: State, resource: Resource, secrets: set[str]) -> "_Look":
        """Observe, and if the goal is neither reached nor under way, note what is there before the act. Changes nothing.

        A takeover acts only on what has not begun. What has failed it adopts, and for a next step it asks as anybody does, so that
        there is one act in each attempt.
        """
        takeover = resource.status is ResourceStatus.STARTING
        module: DRModule[Any] | None = None
        try:
            module, raw = self._open(state, resource, secrets, read_only=False)
            seen = module.observe(raw)
            if seen.progress not in ({Progress.NOT_STARTED} if takeover else STARTABLE | {Progress.FAILED}):
                return _Look(module, outcome=_outcome_begun(seen))
            if resource.before is not None:
                return _Look(module, raw, takeover)
            lag = _accepted_lag(state.execution, resource, module, raw)
            return _Look(module, raw, takeover, json.dumps(module.record_before(raw), default=str), lag)
        except ModuleError as error:
            return _Look(module, outcome=_outcome_of_error(error))


@dataclass(frozen=True)
class _Look:
    """What an executor knows before it claims. `outcome`: what becomes of the attempt without an act; None where one is due."""

    module: DRModule[Any] | None
    raw: object = None
    takeover: bool = False
    before: str | None = None
    lag_seconds: float | None = None
    outcome: Outcome | None = None

    def act(self) -> Outcome:
        """Act, and observe."""
        assert self.module is not None, "there is no act without a module"
        try:
            self.module.start(self.raw, again=not self.takeover)
        except ModuleError as error:
            return _outcome_of_error(error)
        try:
            return _outcome_begun(self.module.observe(self.raw))
        except ModuleError as error:
            # The act was carried out. What cannot be seen of it yet is no failure of it: the checks will see.
            return _outcome_of_error(ModuleError(error.code, error.message, ErrorClass.AMBIGUOUS, error.request_id))


@cache
def executor() -> Executor:
    """The executor of this function, as the environment sets it up."""
    return Executor(table(), target_access(), utc_now, float(setting("FIRST_CHECK_SECONDS")))


def _accepted_lag(execution: Execution, resource: Resource, module: DRModule[Any], raw: object) -> float | None:
    """The data not yet replicated ahead of a failover, in seconds. Raises ModuleError where a planned one would lose too much.

    An unplanned failover goes on whatever the lag is, also when it cannot be told: it is recorded as the data that was lost.
    """
    if execution.phase is not Phase.ACTIVATE:
        return None
    try:
        lag = module.lag(raw)
    except ModuleError as error:
        if execution.mode is Mode.PLANNED:
            raise
        logger.warning("replication lag not known", extra={"error_code": error.code, "error": error.message})
        return None
    problem = lag_problem(lag, resource, module)
    if problem is not None and execution.mode is Mode.PLANNED:
        raise problem
    return lag


def _outcome_begun(status: Status) -> Outcome:
    """Of what has begun: what was read may be the last attempt's failure, and the checks decide."""
    return _outcome_of_status(replace(status, progress=Progress.IN_PROGRESS) if status.progress is Progress.FAILED else status)


def _outcome_of_status(status: Status) -> Outcome:
    failure = None
    if status.progress is Progress.FAILED:
        failure = Failure(status.code or "Failed", ErrorClass.RETRYABLE, status.detail)
    return Outcome(status.progress.value, status.detail, status.percent, failure)


def _outcome_of_error(error: ModuleError) -> Outcome:
    return Outcome("ERROR", failure=Failure(error.code, error.error_class, error.message, error.request_id))
