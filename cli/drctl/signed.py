"""Signed requests: what drctl sends to the stack's RequestUrl, where AWS itself says who is asking."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import boto3
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from rich.text import Text

from dr_people.wording import plain
from drctl import view
from drctl.cloud import Cloud

# A request is answered when its references are resolved in their accounts; the function gives up after 60 s.
_ANSWER_SECONDS = 75.0

DetailType = Literal["Execution Requested", "Command Requested", "Vote Requested"]


@dataclass(frozen=True)
class Answer:
    """What the function answered: HTTP status, and its JSON."""

    status: int
    body: Mapping[str, Any]


def send(cloud: Cloud, detail_type: DetailType, detail: Mapping[str, object]) -> Answer | str:
    """Send one request, signed with the caller's credentials. Where that does not work, the reason in words; nothing is raised."""
    url = cloud.request_url
    session = boto3.Session()
    credentials = session.get_credentials()
    if not url:
        return f"stack {cloud.stack_name} is older and has no RequestUrl"
    if credentials is None or session.region_name is None:
        return "there are no credentials to sign with"
    body = json.dumps({"detail-type": detail_type, "detail": detail})
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(credentials.get_frozen_credentials(), "lambda", session.region_name).add_auth(request)
    try:
        with httpx.Client(transport=cloud.transport, timeout=_ANSWER_SECONDS) as client:
            answer = client.post(url, content=body, headers=dict(request.prepare().headers))
    except httpx.HTTPError as error:
        return f"its RequestUrl does not answer: {plain(error) or type(error).__name__}"
    if answer.status_code == 403 or answer.status_code >= 500:
        return f"its RequestUrl answers {answer.status_code}: {plain(_words(answer))}"
    return Answer(answer.status_code, _members(answer))


def tell_unverified(why: str) -> None:
    """Say that the request goes over the bus instead, where the name that it carries is only stated."""
    view.console(stderr=True).print(Text(f"Not signed, so the requester is not verified: {why}", style="yellow"))


def _members(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _words(answer: httpx.Response) -> str:
    found = _members(answer)
    return str(found.get("detail") or found.get("Message") or found.get("message") or answer.reason_phrase)
