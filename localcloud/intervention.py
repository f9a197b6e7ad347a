"""What stands between a caller and the emulators sees: one call on its way, and how to let it pass."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from localcloud import wire
from localcloud.faults import READS
from localcloud.wire import Call, Protocol

_LARGEST_ACT = 16 * 1024  # of a larger one, such as a function's code, the journal has only the name


@dataclass(slots=True)
class Passing:
    """One call on its way. For the journal: who answered it, or that nobody did, and the names of the faults that it met."""

    call: Call
    body: bytes
    request: web.Request
    backend: str = "gateway"
    unanswered: bool = False
    faults: list[str] = field(default_factory=list)

    def parameters(self) -> dict[str, Any]:
        """The parameters of the operation, as far as they can be read."""
        return wire.parameters(
            self.call, self.request.method, self.request.path, self.request.query_string, self.request.headers, self.body
        )

    def act(self) -> dict[str, Any] | None:
        """What a call that changes something asks for, and the caller's own number of it, the same for each try; None for a read."""
        if self.call.operation.startswith(READS) or len(self.body) > _LARGEST_ACT:
            return None
        parameters = self.parameters()
        if self.call.protocol is Protocol.REST_XML:
            parameters["Body"] = self.body.decode(errors="replace")
        return {"invocation": self.request.headers.get("amz-sdk-invocation-id"), "parameters": parameters}


Onward = Callable[[bytes | None], Awaitable[web.StreamResponse]]
"""Lets a call pass to whatever comes next, in the end to its emulator, and gives the answer; with bytes, these in place of its body."""

Intervention = Callable[[Passing, Onward], Awaitable[web.StreamResponse]]
"""Sees every call; answers in its own words, or with what `onward` answers."""


def refusal(call: Call, status: int, code: str, message: str) -> web.Response:
    """An error in the protocol that the caller speaks."""
    headers, body = wire.error_answer(call, code, message)
    return web.Response(status=status, body=body, headers=headers)
