"""The environment of a function, read in one place and only when asked for."""

import os
from typing import Literal

from dr_core.errors import OrchestratorError

Name = Literal[
    "TABLE_NAME",
    "BUS_NAME",
    "MANIFEST_BUCKET",
    "REPORT_BUCKET",
    "NOTIFICATION_TOPIC_ARN",
    "TARGET_ROLE_NAME",
    "EXTERNAL_ID",
    "APPROVAL_SECONDS",
    "APPROVAL_PAGE_URL",
    "APPROVAL_STATE_MACHINE_ARN",
    "APPROVAL_TOPIC_ARN",
    "SIGNING_SECRET_ARN",
    "BREAK_GLASS_PRINCIPALS",
    "LINK_SECONDS",
    "MAIL_SENDER",
    "OIDC_ISSUER",
    "OIDC_CLIENT_ID",
    "OIDC_SECRET_ARN",
    "SLACK_SECRET_ARN",
    "SLACK_CHANNEL",
    "SLACK_API_URL",
    "FIRST_CHECK_SECONDS",
    "ADVANCE_QUEUE_URL",
    "START_QUEUE_URL",
    "CHECK_QUEUE_URL",
    "APPROVAL_QUEUE_URL",
    "PREFLIGHT_QUEUE_URL",
    "STACK_NAME",
    "DEAD_LETTER_QUEUE_URL",
    "UNDELIVERED_QUEUE_URL",
    "AWS_REGION",
    "AWS_ACCOUNT_ID",
]


def trace_header() -> str | None:
    """X-Ray's header of the invocation that is under way; None where Lambda gave none.

    Without its Lineage, by which Lambda counts how often a function has led to itself: an execution does so with each layer, by intent.
    Source: docs.aws.amazon.com, Lambda, Use Lambda recursive loop detection to prevent infinite loops.
    """
    parts = os.environ.get("_X_AMZN_TRACE_ID", "").split(";")
    return ";".join(part for part in parts if not part.startswith("Lineage=")) or None


class SettingMissingError(OrchestratorError):
    """The function was deployed without a variable that it needs."""


def setting(name: Name) -> str:
    """The value of an environment variable. Raises SettingMissingError, naming it, when it is absent or empty."""
    value = os.environ.get(name, "")
    if not value:
        raise SettingMissingError(f"environment variable {name} is not set: template.yaml gives it to the functions that need it")
    return value


NONE = "-"


def optional(name: Name) -> str:
    """The same for what a stack may do without: empty where the template gives `-`."""
    value = setting(name)
    return "" if value == NONE else value
