"""Secrets of Secrets Manager, as functions read them: kept for a minute, so that a rotation needs no deployment."""

import time

from dr_core.aws import client

# A rotated secret is in use everywhere after so many seconds; until then the previous one is.
MAX_AGE_SECONDS = 60


class Secret:
    """The text of the secret with that ARN."""

    def __init__(self, arn: str) -> None:
        self._client = client("secretsmanager")
        self._arn = arn
        self._known: tuple[str, float] | None = None

    def text(self, fresh: bool = False) -> str:
        """The secret, at most MAX_AGE_SECONDS old; `fresh`: as it is now."""
        now = time.monotonic()
        if fresh or self._known is None or now - self._known[1] >= MAX_AGE_SECONDS:
            self._known = self._read(), now
        return self._known[0]

    def _read(self) -> str:
        found = self._client.get_secret_value(SecretId=self._arn)
        if "SecretString" not in found:
            raise TypeError(f"secret {self._arn} is binary: store it as text")
        return found["SecretString"]
