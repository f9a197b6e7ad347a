"""An approver of the local cloud: receives the requests that the topic sends, and decides through their links as a browser would."""

import html
import json
import re
import time
from dataclasses import dataclass
from typing import Any, Final

import httpx

from localcloud.cloud import STANDBY_REGION, LocalCloud
from localcloud.mailbox import subscribed

_LINK: Final = re.compile(r"https?://\S+\?token=\S+")  # the message may quote other addresses, such as one that did not answer
_LAYER: Final = re.compile(r"Waits:\s+layer (\d+)")
_INPUT: Final = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
_APPLICATION: Final = re.compile(r"<dt>Application</dt><dd[^>]*>([^<]*)</dd>")


class NoRequestError(Exception):
    """No request for approval came in time."""


class Approver:
    """Somebody whose mailbox, an SQS queue, is subscribed to the approval topic. Make one before requests go out."""

    def __init__(self, cloud: LocalCloud, topic_arn: str, name: str = "approver", region: str = STANDBY_REGION) -> None:
        self._name = name
        self._sqs: Any = cloud.client("sqs", region)
        self._queue = subscribed(cloud, topic_arn, name, region)
        self._links: dict[tuple[str, int], str] = {}

    def link(self, execution_id: str, timeout_seconds: float = 60.0, layer: int = 0) -> str:
        """The newest link in the requests for `execution_id`, or in those before its `layer`; waits for the first one.

        Raises NoRequestError when none comes in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            asked = (execution_id, layer) in self._links
            answer = self._sqs.receive_message(QueueUrl=self._queue, WaitTimeSeconds=0 if asked else 1, MaxNumberOfMessages=10)
            messages = answer.get("Messages", [])
            if asked and not messages:
                return self._links[execution_id, layer]
            if not asked and time.monotonic() > deadline:
                raise NoRequestError(f"no request for approval of {execution_id} within {timeout_seconds:.0f} s")
            for message in messages:
                text = json.loads(message["Body"])["Message"]
                if found := re.search(r"Execution:\s+(\S+)", text):
                    before = _LAYER.search(text)
                    self._links[found[1], int(before[1]) if before else 0] = _LINK.findall(text)[-1]
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])

    def decide(self, link: str, decision: str, reason: str = "") -> httpx.Response:
        """Open the link, then submit the page's form with `decision` (approve or reject); the page itself where it has no form."""
        opened = self.open(link)
        return opened.send(decision, reason) if opened.fields else opened.page

    def open(self, link: str) -> "Opened":
        """The page behind the link, as a browser has it open. Raises httpx.HTTPStatusError when there is none."""
        client = httpx.Client(timeout=60)
        page = client.get(link)
        page.raise_for_status()
        fields = {name: html.unescape(value) for name, value in _INPUT.findall(page.text)}
        application = _APPLICATION.search(page.text)
        typed = {"confirmation": html.unescape(application[1])} if application else {}
        return Opened(client, page, fields and {**fields, **typed, "approver": self._name})


@dataclass(frozen=True)
class Opened:
    """A page in a browser: what it shows, and the fields of its form, none if it has none."""

    client: httpx.Client
    page: httpx.Response
    fields: dict[str, str]

    def send(self, decision: str, reason: str = "") -> httpx.Response:
        """Submit the form."""
        address = self.page.url
        origin = {"Origin": f"{address.scheme}://{address.netloc.decode()}"}
        form = {**self.fields, "reason": reason, "decision": decision}
        return self.client.post(str(address).partition("?")[0], data=form, headers=origin)
