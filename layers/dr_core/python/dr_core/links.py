"""The links of approval requests: signed, expiring, bound to one execution and its manifest. No decision in the link."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from dr_core.errors import OrchestratorError
from dr_core.moves import text


class BadLinkError(OrchestratorError):
    """The token is not one of ours, was altered, or is too old."""


@dataclass(frozen=True)
class LinkToken:
    """What a link stands for; it is good until `expires_at`."""

    execution_id: str
    manifest_sha256: str
    expires_at: datetime


class LinkSigner:
    """Signs and reads tokens with `secret` (HMAC-SHA256 by itsdangerous)."""

    def __init__(self, secret: str) -> None:
        self._serializer = URLSafeSerializer(
            secret, salt="approval-link", signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"}
        )

    def sign(self, token: LinkToken) -> str:
        """The token as text for a URL."""
        signed = self._serializer.dumps({"exec": token.execution_id, "sha": token.manifest_sha256, "exp": text(token.expires_at)})
        return signed if isinstance(signed, str) else signed.decode()

    def read(self, signed: str, now: datetime) -> LinkToken:
        """The token that `signed` stands for. Raises BadLinkError."""
        try:
            body: dict[str, Any] = self._serializer.loads(signed)
        except (BadData, UnicodeError) as error:
            raise BadLinkError("this link was not made by the orchestrator, or was altered") from error
        token = LinkToken(body["exec"], body["sha"], datetime.fromisoformat(body["exp"]).astimezone(UTC))
        if now >= token.expires_at:
            raise BadLinkError(f"this link expired at {token.expires_at:%Y-%m-%d %H:%M:%SZ}")
        return token
