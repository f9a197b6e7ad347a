"""Operations that the gateway carries out twice, as at-least-once delivery may: `PUT /_localcloud/repeats`.

The body is a JSON list of `service:Operation`, such as `["sqs:SendMessage", "events:PutEvents"]`; it replaces the list before it.
"""

from typing import Final

from aiohttp import web

from localcloud.wire import Call

PATH: Final = "/_localcloud/repeats"


class Repeats:
    """Which calls are to be sent a second time; none at first."""

    def __init__(self) -> None:
        self._operations: frozenset[str] = frozenset()

    async def configure(self, request: web.Request) -> web.Response:
        """Take the list of a request. 400 if it is not a list of text."""
        wanted = await request.json()
        if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
            return web.json_response({"message": 'a list such as ["sqs:SendMessage"] is wanted'}, status=400)
        self._operations = frozenset(wanted)
        return web.json_response(sorted(self._operations))

    def cover(self, call: Call) -> bool:
        """Whether this call is to be sent twice."""
        return f"{call.service}:{call.operation}" in self._operations
