"""People are told of what happens to an execution: which events, in which words, and on which channels, each event once on each.

Nothing of it may hold an execution: it has a queue of its own, reads the table, and writes only its notes. A channel that cannot be
reached does not keep the others from being told; the message comes again, and only that channel is tried.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Protocol

from dr_core import flow
from dr_core.application import Events
from dr_core.approval_rules import is_to_be_asked, is_waited_for
from dr_core.events import Incoming
from dr_core.notes import BeingSentError, Notes
from dr_core.observability import logger
from dr_core.records import DetailType, State
from dr_core.state import Table, TimelineEntry
from dr_people.timeline import Happening, happening
from dr_people.wording import moment

# Of layers and resources; of the execution and its approval people are always told.
MOST_IN_A_MINUTE = 10
_LOOKS, _BETWEEN_LOOKS = 25, 0.2  # seconds
_LONGEST_SUBJECT = 100  # of SNS, and printable ASCII

PROBLEMS = frozenset(
    {
        DetailType.EXECUTION_HALTED,
        DetailType.EXECUTION_EXPIRED,
        DetailType.EXECUTION_ABANDONED,
        DetailType.APPROVAL_EXPIRED,
        DetailType.RESOURCE_FAILED,
        DetailType.RESOURCE_TIMED_OUT,
        DetailType.STUCK_DETECTED,
        DetailType.RTO_AT_RISK,
        DetailType.RTO_MISSED,
    }
)
OUTCOMES = PROBLEMS | {
    DetailType.APPROVAL_GRANTED,
    DetailType.APPROVAL_REJECTED,
    DetailType.APPROVAL_REMINDER,
    DetailType.EXECUTION_STARTED,
    DetailType.EXECUTION_COMPLETED,
    DetailType.EXECUTION_PAUSED,
    DetailType.EXECUTION_RESUMED,
    DetailType.EXECUTION_CANCELLING,
    DetailType.EXECUTION_CANCELLED,
    DetailType.EXECUTION_REJECTED,
}
ALL = OUTCOMES | {
    DetailType.LAYER_COMPLETED,
    DetailType.LAYER_REOPENED,
    DetailType.RESOURCE_SKIPPED,
    DetailType.RESOURCE_RETRIED,
}
WANTED: Mapping[Events, frozenset[DetailType]] = {"all": ALL, "outcomes": OUTCOMES, "problems": PROBLEMS, "none": frozenset()}


@dataclass(frozen=True)
class Notice:
    """What is said: a line for a subject, the whole text, and whether it is a problem.

    `awaited`: the Slack ids of those who are to decide now.
    """

    execution_id: str
    application: str
    phase: str
    detail_type: DetailType
    subject: str
    text: str
    is_problem: bool
    awaited: tuple[str, ...] = ()


class Channel(Protocol):
    """A way to people."""

    @property
    def name(self) -> str:
        """Its name, by which the table remembers what went there."""

    @property
    def has_threads(self) -> bool:
        """Whether later messages stand under the first one."""

    def send(self, notice: Notice, thread: str | None) -> str | None:
        """Say it, under the first message if there is one. Gives the message's own id where the channel has threads. Raises on failure."""


Ways = Callable[[str], tuple[Events, Sequence[Channel]]]


def notify(table: Table, incoming: Incoming, ways: Ways, clock: flow.Clock) -> None:
    """Tell people of one event of the bus on each channel where they have not been told of it.

    `ways`: what an application wants to be told of, and on which channels. Raises an ExceptionGroup of the channels that failed.
    """
    detail_type = DetailType(incoming.detail_type)
    event = happening(_entry(incoming))
    if event.fields.get("willRetry"):
        return  # the next attempt will tell
    state = table.load(event.fields["executionId"])
    if state is None or state.execution.dry_run:
        return
    wanted, channels = ways(state.execution.application)
    if detail_type not in WANTED[wanted]:
        return
    errors = []
    for channel in channels:
        try:
            _tell(Notes(state.execution.id, channel.name), channel, state, event, clock)
        except Exception as error:  # noqa: BLE001  (raised again below)
            logger.exception("people not told", extra={"channel": channel.name, "detail_type": detail_type})
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(channels)} channels were not reached", errors)


def _tell(notes: Notes, channel: Channel, state: State, event: Happening, clock: flow.Clock) -> None:
    if not notes.claim(event.id, clock()):
        logger.info("told before", extra={"channel": channel.name})
        return
    opening = False
    try:
        limited = event.source in ("dr.layer", "dr.resource", "dr.system")
        if limited and not notes.admit(clock(), MOST_IN_A_MINUTE):
            logger.info("left out", extra={"channel": channel.name, "detail_type": event.detail_type})
        else:
            thread = _thread(notes, clock) if channel.has_threads else None
            opening = channel.has_threads and thread is None
            sent = channel.send(notice(state, event, notes.left_out()), thread)
            if sent is not None:
                notes.keep_thread(sent)
    except Exception:
        notes.give_back(event.id)
        if opening:
            notes.leave_thread()
        raise
    notes.told(event.id, clock())


def _thread(notes: Notes, clock: flow.Clock) -> str | None:
    """The first message, or None where this is to be it. Raises BeingSentError if somebody has been writing it for too long."""
    for _ in range(_LOOKS):
        if thread := notes.thread():
            return thread
        if notes.open_thread(clock()):
            return None
        sleep(_BETWEEN_LOOKS)  # events follow one another by milliseconds, and are handled side by side
    raise BeingSentError(f"the first message of {notes.execution_id} is being sent to {notes.channel}")


def notice(state: State, event: Happening, left_out: int = 0) -> Notice:
    """The words for an event; with the number of those that were left out before it."""
    execution = state.execution
    detail_type = DetailType(event.detail_type)
    what = " ".join(part for part in (event.subject, _short(detail_type)) if part)
    subject = f"{execution.phase} of {execution.application}: {what}"
    lines = [f"{subject}{': ' + event.words if event.words else ''}", f"{moment(event.at)}, execution {execution.id}"]
    if left_out:
        lines.append(f"{left_out} further happenings were not told one by one.")
    is_problem = detail_type in PROBLEMS
    if is_problem or left_out:
        lines.append(f"drctl status {execution.id}")
    awaited = _awaited(state, event) if detail_type is DetailType.APPROVAL_REMINDER else ()
    return Notice(execution.id, execution.application, execution.phase, detail_type, subject, "\n".join(lines), is_problem, awaited)


def _awaited(state: State, reminder: Happening) -> tuple[str, ...]:
    """Whom the reminder is for: nobody who has voted, nobody whose turn it is not, and nobody once it is decided."""
    approval, fields = state.approval, reminder.fields
    if approval is None or not is_waited_for(state) or approval.layer != fields.get("layer", 0):
        return ()
    return tuple(one.slack_user_id for one in approval.approvers if one.slack_user_id and is_to_be_asked(approval, one, fields["share"]))


def sns_subject(text: str) -> str:
    """The subject as SNS takes it."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:_LONGEST_SUBJECT]


def _short(detail_type: DetailType) -> str:
    """What happened, without what it happened to where that is named anyway."""
    if detail_type is DetailType.STUCK_DETECTED:
        return "stuck"
    subject, _, verb = detail_type.partition(" ")
    return verb.lower() if subject in ("Layer", "Resource") else detail_type.lower().replace("rto", "RTO")


def _entry(incoming: Incoming) -> TimelineEntry:
    detail = dict(incoming.detail)
    return TimelineEntry(str(detail["eventId"]), DetailType(incoming.detail_type).source, incoming.detail_type, json.dumps(detail))
