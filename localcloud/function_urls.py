"""Lambda function URLs on loopback.

On AWS a function URL is a host name of its own; here it is a path of the gateway, so that anything can reach it. Answers of AWS that
name a function URL name that path, `/_aws/lambda-url/<id>/`. `/_localcloud/url/<region>/<function name>/<rest>`, of the control
account's function, is known before the function is there; it is rewritten on its way, so it is of no use to who signs.
"""

import hashlib
import hmac
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, urlsplit

from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud import wire
from localcloud.control_plane import ROOT_SECRET, ControlPlane

PREFIX: Final = "/_localcloud/url/"
EMULATOR_PREFIX: Final = "/_aws/lambda-url/"
_ON_AWS: Final = re.compile(rb"https://([a-z0-9-]+)\.lambda-url\.[a-z0-9-]+\.on\.aws/")
_ROOT_KEY: Final = re.compile(r"\d{12}")
_SIGNED: Final = re.compile(r"SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})")
_SKEW: Final = timedelta(minutes=5)
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
        return f"{EMULATOR_PREFIX}{await self._url_id(region, function.partition('?')[0])}/{rest}"

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


def on_loopback(answer: bytes, host: str) -> bytes:
    """An answer of AWS, its function URLs as they are served at `host`, the gateway's own."""
    if b".lambda-url." not in answer:
        return answer
    return _ON_AWS.sub(rb"http://" + host.encode() + EMULATOR_PREFIX.encode() + rb"\1/", answer)


def signature_problem(request: web.Request, body: bytes) -> str | None:
    """What is wrong with a signed request that the emulator would let pass; None where it looks itself, or nothing is signed.

    It takes the signature of an account's own key on trust, and one for another service than Lambda.
    """
    scope = wire.credential_scope(request.headers, request.query_string)
    if scope is None or (scope.service == "lambda" and not _ROOT_KEY.fullmatch(scope.access_key)):
        return None
    signed, at = _SIGNED.search(request.headers.get("Authorization", "")), request.headers.get("X-Amz-Date", "")
    stated = request.headers.get("X-Amz-Content-SHA256", "")
    try:
        skew = abs(datetime.now(UTC) - datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))
    except ValueError:
        skew = timedelta.max
    if signed is None or skew > _SKEW or stated not in ("", hashlib.sha256(body).hexdigest()):
        return "The request signature does not conform to AWS standards."
    headers = {name: request.headers[name] for name in signed[1].split(";") if name in request.headers}
    same = AWSRequest(request.method, f"http://{request.host}{request.raw_path}", headers=headers, data=body)
    same.context["timestamp"] = at
    auth = SigV4Auth(Credentials(scope.access_key, ROOT_SECRET), scope.service, scope.region)
    expected = auth.signature(auth.string_to_sign(same, auth.canonical_request(same)), same)
    if scope.service == "lambda" and hmac.compare_digest(expected, signed[2]):
        return None
    return "The request signature we calculated does not match the signature you provided."
