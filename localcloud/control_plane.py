"""Calls that the gateway itself makes to the control plane's emulator, as the administrator of an account."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

# Every account's root key is its account id, with this secret; it opens nothing but the emulator on loopback.
ROOT_SECRET: Final = "test"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes


class ControlPlane:
    """Signs requests with the root key of one account and sends them to ministack."""

    def __init__(self, session: aiohttp.ClientSession, url: str, account: str) -> None:
        self._session = session
        self._url = url
        self._credentials = Credentials(account, ROOT_SECRET)

    async def query(self, service: str, region: str, parameters: dict[str, str]) -> Answer:
        """Call an operation of a service that speaks the query protocol."""
        return await self._send(service, region, AWSRequest("POST", f"{self._url}/", data=parameters))

    async def json(self, service: str, region: str, target: str, parameters: Mapping[str, object]) -> Answer:
        """Call an operation of a service that speaks JSON; `target` is as in the header, such as `AWSEvents.DescribeRule`."""
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        return await self._send(service, region, AWSRequest("POST", f"{self._url}/", headers=headers, data=json.dumps(parameters)))

    async def get(self, service: str, region: str, path: str) -> Answer:
        """Call an operation of a REST service that is a plain GET."""
        return await self._send(service, region, AWSRequest("GET", f"{self._url}{path}"))

    async def _send(self, service: str, region: str, request: AWSRequest) -> Answer:
        SigV4Auth(self._credentials, service, region).add_auth(request)
        signed = request.prepare()
        async with self._session.request(signed.method, signed.url, data=signed.body, headers=dict(signed.headers)) as answer:
            return Answer(answer.status, await answer.read())
