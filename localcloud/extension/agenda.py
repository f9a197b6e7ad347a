"""Changes that happen to resources some time after the call that caused them.

Nothing runs in the background: what is due is done when the next call arrives, in the order in which it fell due.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Final

from moto.core.base_backend import BaseBackend
from moto.core.responses import BaseResponse

from localcloud.extension import clock

_ATTRIBUTE: Final = "_localcloud_agenda"
_lock: Final = threading.RLock()


class Agenda:
    """The changes ahead of one service in one account and Region."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def after(self, seconds: float, change: Callable[[], object]) -> None:
        """Have a change made when so many (scaled) seconds have passed."""
        heapq.heappush(self._entries, (clock.now() + clock.scaled(seconds), next(self._order), change))

    def due_at(self) -> float | None:
        """When the next change is due."""
        return self._entries[0][0] if self._entries else None

    def make_next_change(self) -> None:
        """Make the change that is due first."""
        heapq.heappop(self._entries)[2]()


def agenda_of(backend: BaseBackend) -> Agenda:
    """The agenda of a moto backend; it is lost with the backend's other state when moto is reset."""
    agenda: Agenda = backend.__dict__.setdefault(_ATTRIBUTE, Agenda())
    return agenda


def settle(backends: Iterable[BaseBackend]) -> None:
    """Make every change that has fallen due, over all the backends in the order of time."""
    agendas = [agenda_of(backend) for backend in backends]
    with _lock:
        while True:
            due = [(at, agenda) for agenda in agendas if (at := agenda.due_at()) is not None and at <= clock.now()]
            if not due:
                return
            min(due, key=lambda entry: entry[0])[1].make_next_change()


def settle_before_actions(response_class: type[BaseResponse], backends: Callable[[BaseResponse], Iterable[BaseBackend]]) -> None:
    """Have each action of a service see the changes that have fallen due in these backends."""
    call_action = response_class.call_action

    def settled_call_action(response: BaseResponse) -> object:
        settle(backends(response))
        return call_action(response)

    replace(response_class, call_action=settled_call_action)


def replace(owner: type, **members: object) -> None:
    """Give a class of moto our own members in place of, or beside, its own."""
    for name, member in members.items():
        setattr(owner, name, member)
