"""Which account a set of credentials belongs to.

moto does not know the sessions that the control plane issues (assumed roles, the execution roles of Lambda
functions), so each call to it must say for which account it is.
"""

import re
from typing import Final
from xml.etree import ElementTree

from localcloud.control_plane import ControlPlane

_ACCOUNT_ID: Final = re.compile(r"\d{12}")


class UnknownAccessKeyError(Exception):
    """No account owns this access key."""


class Accounts:
    """Access keys and their accounts, asked once per key from the control plane's STS.

    A key belongs to one account for ever, so what was learnt is kept. `GetAccessKeyInfo` is the call AWS has for
    this: it needs no secret of the caller, who signed the request for another service.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._known: dict[str, str] = {}

    async def owner(self, access_key: str, region: str) -> str:
        """Return the account that owns a key; raise UnknownAccessKeyError for a key nobody was given."""
        if _ACCOUNT_ID.fullmatch(access_key):
            return access_key
        if access_key not in self._known:
            self._known[access_key] = await self._ask(access_key, region)
        return self._known[access_key]

    async def _ask(self, access_key: str, region: str) -> str:
        question = {"Action": "GetAccessKeyInfo", "Version": "2011-06-15", "AccessKeyId": access_key}
        answer = await self._control_plane.query("sts", region, question)
        account = ElementTree.fromstring(answer.body).find(".//{*}Account")  # noqa: S314 - our own emulator's answer
        if account is None or not account.text:
            raise UnknownAccessKeyError(access_key)
        return account.text
