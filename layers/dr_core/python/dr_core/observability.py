"""Structured logs, one logger for all: messages are constants, data in keys, `execution_id` on every line, never a secret."""

from datetime import UTC, datetime

from aws_lambda_powertools import Logger

logger = Logger(service="dr-orchestrator")


def utc_now() -> datetime:
    """The present, UTC, to the millisecond: what the table can hold."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
