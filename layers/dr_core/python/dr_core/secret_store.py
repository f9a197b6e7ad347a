"""Secrets of Secrets Manager, as functions read them: kept for a minute, so that a rotation needs no deployment."""

from typing import TYPE_CHECKING

import boto3
from aws_lambda_powertools.utilities.parameters import SecretsProvider

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# A rotated secret is in use everywhere after so many seconds; until then the previous one is.
MAX_AGE_SECONDS = 60


class Secret:
    """The text of the secret with that ARN."""

    def __init__(self, arn: str) -> None:
        client: SecretsManagerClient = boto3.client("secretsmanager")
        self._arn = arn
        self._provider = SecretsProvider(boto3_client=client)

    def text(self, fresh: bool = False) -> str:
        """The secret, at most MAX_AGE_SECONDS old; `fresh`: as it is now."""
        found = self._provider.get(self._arn, max_age=MAX_AGE_SECONDS, force_fetch=fresh)
        if not isinstance(found, str):
            raise TypeError(f"secret {self._arn} is binary: store it as text")
        return found
