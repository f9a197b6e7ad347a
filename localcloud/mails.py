"""The mails that SES of the local cloud has taken: it keeps them, and delivers none."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx

from localcloud.cloud import CONTROL_ACCOUNT, LocalCloud
from localcloud.gateway import MAILS_PATH

# What the stack sends from; verified, as docs/approvals.md has an operator do it on AWS.
SENDER: Final = "dr@localcloud.example"


@dataclass(frozen=True)
class Mail:
    """One mail, its text without the HTML."""

    sent_at: datetime
    recipients: tuple[str, ...]
    subject: str
    text: str


def verify_sender(cloud: LocalCloud, region: str) -> None:
    """Have SES of the Region take mails from SENDER. Repeating it changes nothing."""
    ses = cloud.client("sesv2", region)
    try:
        ses.create_email_identity(EmailIdentity=SENDER)
    except ses.exceptions.AlreadyExistsException:
        return


def sent(cloud: LocalCloud) -> list[Mail]:
    """All mails of the control account, the oldest first."""
    answer = httpx.get(cloud.endpoint_url + MAILS_PATH, timeout=60).raise_for_status().json()
    found = [
        Mail(datetime.fromtimestamp(one["Timestamp"], UTC), tuple(one["To"]), one["Subject"].strip(), one["BodyText"])
        for one in answer["messages"].get(CONTROL_ACCOUNT, [])
    ]
    return sorted(found, key=lambda one: one.sent_at)
