"""What approval links and forms carry: signed, expiring, used once, bound to one approver, manifest and plan. No decision in a link.

The secret is JSON, `{"id": "2", "key": "…", "previous": {"id": "1", "key": "…"}}`: new tokens are signed with `key`, and those that
`previous` signed are still good. A text that is no JSON object is one key, with the id 0.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

from itsdangerous import BadData, URLSafeSerializer
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from dr_core.errors import OrchestratorError
from dr_core.moves import text

_LINK, _FORM = "approval-link", "approval-form"
# Whoever sends tokens of keys that there are not must not make us ask for the secret each time.
_REFRESH_SECONDS = 5.0


class BadLinkError(OrchestratorError):
    """The token is not one of ours, was altered, or is too old."""


class BadSecretError(OrchestratorError):
    """The secret that signs is not what it should be; the text says what it should be, and nothing of what it is."""


@dataclass(frozen=True)
class LinkToken:
    """What a link stands for; it is good until `expires_at`, and for one vote, which uses up `id`.

    `approver`: the name of the person whom it is made out to, empty where nobody is configured.
    """

    execution_id: str
    manifest_sha256: str
    expires_at: datetime
    plan_sha256: str = ""
    approver: str = ""
    id: str = ""


@dataclass(frozen=True)
class FormToken:
    """What the form of a page carries: the link that it was made for, the browser that it was made for, and a number used once."""

    link_id: str
    browser: str
    expires_at: datetime
    id: str = ""


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    key: Annotated[str, StringConstraints(min_length=32)]


class _Keys(_Key):
    previous: _Key | None = None


class LinkSigner:
    """Signs and reads tokens with the keys in `secret` (HMAC-SHA256 by itsdangerous).

    `refresh` reads the secret anew, when a token names a key that is not known: somebody has rotated it. Raises BadSecretError.
    """

    def __init__(self, secret: str, refresh: Callable[[], str] | None = None) -> None:
        self._current, self._keys = _read_keys(secret)
        self._refresh = refresh
        self._refreshed_at = -_REFRESH_SECONDS

    def sign(self, token: LinkToken) -> str:
        """The token as text for a URL."""
        body = {"exec": token.execution_id, "sha": token.manifest_sha256, "plan": token.plan_sha256, "sub": token.approver}
        return self._sign(_LINK, {**body, "exp": text(token.expires_at), "jti": token.id or secrets.token_urlsafe(12)})

    def read(self, signed: str, now: datetime) -> LinkToken:
        """The token that `signed` stands for. Raises BadLinkError."""
        body = self._read(_LINK, signed)
        token = LinkToken(body["exec"], body["sha"], _moment(body["exp"]), body["plan"], body["sub"], body["jti"])
        if now >= token.expires_at:
            raise BadLinkError(f"this link expired at {token.expires_at:%Y-%m-%d %H:%M:%SZ}")
        return token

    def sign_form(self, token: FormToken) -> str:
        """The token as text for a hidden field."""
        body = {"link": token.link_id, "for": token.browser, "exp": text(token.expires_at), "jti": token.id or secrets.token_urlsafe(12)}
        return self._sign(_FORM, body)

    def read_form(self, signed: str, now: datetime) -> FormToken:
        """The token that `signed` stands for. Raises BadLinkError."""
        body = self._read(_FORM, signed)
        token = FormToken(body["link"], body["for"], _moment(body["exp"]), body["jti"])
        if now >= token.expires_at:
            raise BadLinkError("this page has been open for too long: open the link again")
        return token

    def seal(self, purpose: str, body: Mapping[str, str], expires_at: datetime) -> str:
        """A note of ours for a browser to keep, signed for `purpose`: whoever has the browser can read it, and nobody can make one."""
        return self._sign(f"note-{purpose}", {**body, "exp": text(expires_at)})

    def unseal(self, purpose: str, sealed: str, now: datetime) -> dict[str, str]:
        """What was sealed for `purpose`. Raises BadLinkError."""
        body = self._read(f"note-{purpose}", sealed)
        if now >= _moment(body["exp"]):
            raise BadLinkError("this has been kept for too long: open the link again")
        return {name: str(value) for name, value in body.items() if name != "exp"}

    def _sign(self, purpose: str, body: Mapping[str, object]) -> str:
        signed = _serializer(self._current, self._keys[self._current], purpose).dumps(body)
        return f"{self._current}.{signed if isinstance(signed, str) else signed.decode()}"

    def _read(self, purpose: str, signed: str) -> dict[str, Any]:
        key_id, _, rest = signed.partition(".")
        key = self._key(key_id)
        try:
            if key is None:
                raise BadData("there is no such key")
            body: dict[str, Any] = _serializer(key_id, key, purpose).loads(rest)
        except (BadData, UnicodeError) as error:
            raise BadLinkError("this link was not made by the orchestrator, or was altered") from error
        return body

    def _key(self, key_id: str) -> str | None:
        if key_id not in self._keys and self._refresh is not None and time.monotonic() >= self._refreshed_at + _REFRESH_SECONDS:
            self._refreshed_at = time.monotonic()
            self._current, self._keys = _read_keys(self._refresh())
        return self._keys.get(key_id)


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)


def _serializer(key_id: str, key: str, purpose: str) -> URLSafeSerializer:
    """The id of the key and the purpose are signed too: no token passes for one of another kind."""
    return URLSafeSerializer(key, salt=f"{purpose}/{key_id}", signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"})


def _read_keys(secret: str) -> tuple[str, dict[str, str]]:
    """The id of the current key, and all keys by their ids."""
    if not secret.lstrip().startswith("{"):
        return "0", {"0": secret}
    try:
        keys = _Keys.model_validate_json(secret)
    except ValidationError as error:
        where = ", ".join(".".join(str(part) for part in one["loc"]) or "JSON" for one in error.errors(include_input=False))
        wanted = '{"id": "2", "key": "at least 32 characters", "previous": {"id": "1", "key": "…"}}'
        raise BadSecretError(f"the signing secret is not {wanted}: look at {where}") from None
    previous = {keys.previous.id: keys.previous.key} if keys.previous else {}
    return keys.id, {**previous, keys.id: keys.key}


def rotated(secret: str) -> str:
    """The secret with a new key, and the one that was current as the previous one: links signed before are still good.

    Raises BadSecretError also for a key that is too short to be the previous one.
    """
    current, keys = _read_keys(secret)
    following = {"id": str(int(current) + 1) if current.isdecimal() else secrets.token_hex(4), "key": secrets.token_urlsafe(48)}
    made = json.dumps({**following, "previous": {"id": current, "key": keys[current]}})
    _read_keys(made)
    return made
