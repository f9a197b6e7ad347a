"""`drctl watch`: an execution as it goes, event by event; on a terminal with a board of what is under way."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta
from statistics import median
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dr_core.records import ApprovalStatus, Execution, ExecutionStatus, State
from dr_core.state import Refusal, Table
from dr_people.advice import advise
from dr_people.past_runs import completed_seconds
from dr_people.snapshot import ENDED_BADLY, read
from dr_people.timeline import Happening, happening, line
from dr_people.wording import between, duration, moment
from drctl import view
from drctl.cloud import Cloud, cloud_of
from drctl.failures import FAILED, WrongUseError, say
from drctl.status import ExecutionId

_POLL_SECONDS = 0.33
# How far a resource has come is stored without an event: the state is read again after this time in any case.
_REFRESH = timedelta(seconds=2)
# An event may be stored after one that happened later, by another function: so far back is looked again for those not yet seen.
_OVERLAP = timedelta(seconds=10)
_INTERRUPTED = 130
# Of the board: the head, the line of a decision that is waited for, and a few of the events above it.
_OTHER_LINES = 8
_FEWEST_LINES = 5


def follow(
    table: Table,
    execution_id: str,
    out: Console,
    *,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
    timeout_seconds: float | None,
    since: datetime | None = None,
    plain: bool = False,
) -> Execution:
    """Write each event of an execution to `out` as it comes, until the execution has ended or is halted.

    Returns the execution as it was last read; still under way only if `timeout_seconds` have passed. The elapsed times count from
    `since`, by default from the request. On a terminal, unless `plain`, a board
    below the events shows layers and resources, and what is left by what past runs took.
    Raises WrongUseError if there is no such execution.
    """
    state = _load(table, execution_id)
    zero = since or state.execution.requested_at
    deadline = None if timeout_seconds is None else clock() + timedelta(seconds=timeout_seconds)
    tail = _Tail(table, execution_id)
    read_at = clock()
    usual = usual_seconds(table, state.execution)
    if usual is not None:
        out.print(Text(f"usually takes {duration(usual)} from the opening of the first layer, by what past runs took"), soft_wrap=True)
    live = Live(console=out, auto_refresh=False) if out.is_terminal and not out.is_dumb_terminal and not plain else None
    with live or nullcontext():
        while True:
            if _write(tail, out, zero) or clock() >= read_at + _REFRESH:
                state, read_at = _load(table, execution_id), clock()
            if live:
                live.update(_board(state, clock(), zero, usual, out.height), refresh=True)
            if _is_over(state.execution):
                _write(tail, out, zero)
                return state.execution
            if deadline and clock() >= deadline:
                return state.execution
            sleep(_POLL_SECONDS)


class _Tail:
    """The events that have come since it was last asked."""

    def __init__(self, table: Table, execution_id: str) -> None:
        self._table = table
        self._execution_id = execution_id
        self._seen: set[str] = set()
        self._last: datetime | None = None

    def read(self) -> list[Happening]:
        """The events not given before, in order."""
        since = self._last - _OVERLAP if self._last else None
        found = [happening(entry) for entry in self._table.timeline(self._execution_id, since) if entry.id not in self._seen]
        self._seen.update(one.id for one in found)
        self._last = max((one.at for one in found), default=self._last)
        return found


def _write(tail: _Tail, out: Console, zero: datetime) -> bool:
    """Write what is new; whether there was anything."""
    news = tail.read()
    for one in news:
        out.print(Text(line(one, zero)), soft_wrap=True)
    return bool(news)


def _load(table: Table, execution_id: str) -> State:
    state = table.load(execution_id)
    if state is None:
        raise WrongUseError(f"there is no execution {execution_id}")
    return state


def _is_over(execution: Execution) -> bool:
    return execution.status.is_terminal or execution.status is ExecutionStatus.FAILED


def usual_seconds(table: Table, execution: Execution) -> float | None:
    """What completed executions of the same application and phase took, the median; None for a dry run and where there are none."""
    past = [] if execution.dry_run else completed_seconds(table, execution.application, execution.phase)
    return median(past) if past else None


def remaining(execution: Execution, usual: float | None, now: datetime) -> str:
    """When it should have ended; empty before it runs, while it is halted, after its end, and where nothing is known of past runs."""
    if usual is None or execution.started_at is None or _is_over(execution):
        return ""
    left = usual - (now - execution.started_at).total_seconds()
    return f"about {duration(left)} left" if left > 0 else f"{duration(-left)} longer than usual"


def _board(state: State, now: datetime, zero: datetime, usual: float | None, height: int) -> Group:
    """The layers, and of the resources of the one that is open as many as a terminal of `height` lines has room for."""
    execution, approval = state.execution, state.approval
    head = Text.assemble("\n", view.title(execution), f"  {between(zero, execution.ended_at or now)}")
    if left := remaining(execution, usual, now):
        head.append(f"  {left}", style="dim")
    if approval is not None and approval.status is ApprovalStatus.PENDING:
        head.append(f"\nwaits for a decision until {moment(approval.expires_at)}", style="yellow")
    room = max(_FEWEST_LINES, height - len(state.layers) - _OTHER_LINES)
    return Group(head, view.layers(state.layers, state.resources, now, room))


def watch(
    context: typer.Context,
    execution_id: ExecutionId,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Stop watching after so many seconds.", show_default=False)
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="One line for each event, also on a terminal.")] = False,
) -> None:
    """Follow an execution until it has ended or is halted: live on a terminal, else one line for each event.

    Exit code 0 only when it SUCCEEDED; 1 for every other end, and when the time is up. Interrupting it stops nothing but the watching.

    Examples:

    * `drctl watch 01J9ZK3M8Q4T7V2X5B6C8D0E1F`
    * `drctl watch 01J9ZK3M8Q4T7V2X5B6C8D0E1F --timeout 900 > activate.log`
    """
    cloud = cloud_of(context)
    found = cloud.load(execution_id)
    if isinstance(found, Refusal):
        view.show_refusal(found, view.console())
        raise typer.Exit(FAILED)
    watch_to_end(cloud, execution_id, timeout, plain=plain)


def watch_to_end(cloud: Cloud, execution_id: str, timeout_seconds: float | None, *, plain: bool = False) -> None:
    """Follow an execution on standard output and say how it ended. Raises typer.Exit unless it SUCCEEDED."""
    out = view.console()
    try:
        execution = follow(
            cloud.table, execution_id, out, clock=cloud.clock, sleep=cloud.sleep, timeout_seconds=timeout_seconds, plain=plain
        )
    except KeyboardInterrupt:
        say("you stopped watching; the execution goes on", f"{cloud.command} watch {execution_id}")
        raise typer.Exit(_INTERRUPTED) from None
    if not _is_over(execution):
        out.print(Text(f"{execution.status} still, after the {duration(timeout_seconds or 0)} that you wanted to watch"))
        raise typer.Exit(FAILED)
    _say_how_it_ended(cloud, out, execution)
    if execution.status is not ExecutionStatus.SUCCEEDED:
        raise typer.Exit(FAILED)


def _say_how_it_ended(cloud: Cloud, out: Console, execution: Execution) -> None:
    out.print(Text.assemble(view.title(execution), f"  {between(execution.requested_at, execution.ended_at or cloud.clock())}"))
    state = cloud.table.load(execution.id)
    if state is not None and execution.status in ENDED_BADLY:
        advice = advise(read(cloud.table, state, cloud.clock()), cloud.command)
        for sentence in (*advice.sentences, *(f"  {command}" for command in advice.commands)):
            out.print(Text(sentence), soft_wrap=True)
