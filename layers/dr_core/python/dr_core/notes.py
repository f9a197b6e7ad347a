"""What people were told of an execution, by channel: each event once, so many in a minute, in one thread. The table is the memory."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from dr_core.errors import OrchestratorError
from dr_core.items import ChannelItem, NoteItem
from dr_core.mapping import pk_of

# Whoever has claimed a note and not sent it by then has died: somebody else may send it.
_LEASE = timedelta(seconds=60)


class BeingSentError(OrchestratorError):
    """Another delivery of the same event is sending it at this moment."""


@dataclass(frozen=True)
class Notes:
    """The notes of one execution on one channel. The items are those of the table that `state.Table` was made for."""

    execution_id: str
    channel: str

    def claim(self, event_id: str, now: datetime) -> bool:
        """Claim the telling of an event. False if it has been told. Raises BeingSentError while another one is at it."""
        note = self._note(event_id)
        free = NoteItem.pk.does_not_exist() | (NoteItem.told_at.does_not_exist() & (NoteItem.claimed_until < now))
        if _done(note, [NoteItem.claimed_until.set(now + _LEASE)], free):
            return True
        note.refresh(consistent_read=True)
        if note.told_at is not None:
            return False
        raise BeingSentError(f"event {event_id} of {self.execution_id} is being sent to {self.channel}")

    def told(self, event_id: str, now: datetime) -> None:
        """The event has been told, or left out."""
        self._note(event_id).update(actions=[NoteItem.told_at.set(now)])

    def give_back(self, event_id: str) -> None:
        """It could not be told: whoever gets the event next may try."""
        self._note(event_id).delete(condition=NoteItem.told_at.does_not_exist())

    def admit(self, now: datetime, most: int) -> bool:
        """Count a note in this minute. False, and counted as left out, when there were `most` already."""
        minute, item = f"{now:%Y-%m-%dT%H:%M}", self._channel()
        sent, this = ChannelItem.sent, ChannelItem.minute
        if _done(item, [sent.set(sent + 1)], (this == minute) & (sent < most)):
            return True
        if _done(item, [this.set(minute), sent.set(1)], this.does_not_exist() | (this != minute)):
            return True
        item.update(actions=[ChannelItem.left_out.add(1)])
        return False

    def left_out(self) -> int:
        """How many notes were left out since this was last asked."""
        try:
            item = ChannelItem.get(self._channel().pk, self._channel().sk, consistent_read=True)
        except DoesNotExist:
            return 0
        number = int(item.left_out or 0)
        return number if number and _done(item, [ChannelItem.left_out.set(0)], ChannelItem.left_out == number) else 0

    def thread(self) -> str | None:
        """The first message on the channel, under which the others stand."""
        try:
            return ChannelItem.get(self._channel().pk, self._channel().sk, consistent_read=True).thread
        except DoesNotExist:
            return None

    def open_thread(self, now: datetime) -> bool:
        """Claim the writing of the first message. False if it is there, or another one is at it."""
        nobody = ChannelItem.opening_until.does_not_exist() | (ChannelItem.opening_until < now)
        return _done(self._channel(), [ChannelItem.opening_until.set(now + _LEASE)], ChannelItem.thread.does_not_exist() & nobody)

    def leave_thread(self) -> None:
        """The first message could not be written: whoever comes next may try."""
        _done(self._channel(), [ChannelItem.opening_until.remove()], ChannelItem.thread.does_not_exist())

    def keep_thread(self, thread: str) -> None:
        """Remember the first message; a later one is not the first."""
        _done(self._channel(), [ChannelItem.thread.set(thread)], ChannelItem.thread.does_not_exist())

    def _note(self, event_id: str) -> NoteItem:
        return NoteItem(pk_of(self.execution_id), f"NOTE#{self.channel}#{event_id}")

    def _channel(self) -> ChannelItem:
        return ChannelItem(pk_of(self.execution_id), f"CHANNEL#{self.channel}")


def _done(item: NoteItem | ChannelItem, actions: list[Action], condition: Condition) -> bool:
    """Update the item if the condition holds; whether it did."""
    try:
        item.update(actions=actions, condition=condition)
    except UpdateError as error:
        if error.cause_response_code != "ConditionalCheckFailedException":
            raise
        return False
    return True
