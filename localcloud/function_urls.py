"""Lambda function URLs on loopback.

On AWS a function URL is a host name of its own; here it is a path of the gateway, so that any browser can open it:
`/_localcloud/url/<region>/<function name>/<rest>` of the control account's function.
"""

import json
import time
from typing import Final
from urllib.parse import quote, urlsplit

from localcloud.control_plane import ControlPlane

PREFIX: Final = "/_localcloud/url/"
_REMEMBERED_SECONDS: Final = 2.0  # a new deployment may give a function another URL


class NoFunctionUrlError(Exception):
    """The function does not exist or has no URL."""


class FunctionUrls:
    """Looks up the ids of function URLs, and remembers each for a moment."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._known: dict[tuple[str, str], tuple[str, float]] = {}

    async def emulator_path(self, raw_path: str) -> str:
        """Turn a path under PREFIX, with its query, into the path at which the emulator serves that URL."""
        region, function, rest = [*raw_path.removeprefix(PREFIX).split("/", 2), "", ""][:3]
        return f"/_aws/lambda-url/{await self._url_id(region, function.partition('?')[0])}/{rest}"

    async def _url_id(self, region: str, function: str) -> str:
        url_id, until = self._known.get((region, function), ("", 0.0))
        if time.monotonic() < until:
            return url_id
        answer = await self._control_plane.get("lambda", region, f"/2021-10-31/functions/{quote(function)}/url")
        if answer.status != 200:
            raise NoFunctionUrlError(f"function {function} in {region} has no URL")
        host = urlsplit(str(json.loads(answer.body)["FunctionUrl"])).hostname or ""
        url_id = host.partition(".")[0]
        self._known[region, function] = url_id, time.monotonic() + _REMEMBERED_SECONDS
        return url_id
