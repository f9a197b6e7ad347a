"""Mail by SES: one message to one person, text and HTML."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from typing import TYPE_CHECKING

from dr_core.aws import client

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client


@cache
def ses() -> "SESV2Client":
    """The client, made once per environment."""
    return client("sesv2")


def compose(sender: str, recipient: str, subject: str, text: str, html: str) -> bytes:
    """The message as it goes out: the text first, so that a client shows the HTML if it can. `sender`, `recipient`: addresses."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address("DR Orchestrator", addr_spec=sender)
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = subject
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence notice answers it
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message.as_bytes()


def send(sender: str, recipient: str, subject: str, text: str, html: str) -> str:
    """Send it; gives SES's id of the message. Raises botocore's ClientError when SES does not take it."""
    raw = compose(sender, recipient, subject, text, html)
    answer = ses().send_email(FromEmailAddress=sender, Destination={"ToAddresses": [recipient]}, Content={"Raw": {"Data": raw}})
    return answer["MessageId"]
