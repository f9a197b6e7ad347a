"""Messages that come late, twice or never."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from localcloud.cloud import LocalCloud
from localcloud.deliveries import PATH, Unreliable

pytestmark = pytest.mark.integration


@pytest.fixture
def queue(cloud: LocalCloud) -> Any:
    """A queue of which everything that comes is read."""
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName=uuid4().hex)["QueueUrl"]
    yield url
    travel(cloud)


def travel(cloud: LocalCloud, **shares: float) -> None:
    httpx.put(cloud.endpoint_url + PATH, json=Unreliable(**shares).model_dump()).raise_for_status()


def send(cloud: LocalCloud, queue: str, *bodies: str) -> None:
    for body in bodies:
        assert cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=body)["MessageId"]


def arrived(cloud: LocalCloud, queue: str, seconds: int = 2) -> list[str]:
    found: list[str] = []
    while messages := cloud.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=seconds).get("Messages"):
        found += [message["Body"] for message in messages]
    return sorted(found)


def test_a_message_comes_twice(cloud: LocalCloud, queue: str) -> None:
    travel(cloud, twice=1, seconds=0.1)
    send(cloud, queue, "one", "two")
    assert arrived(cloud, queue) == ["one", "one", "two", "two"]


def test_a_message_comes_late(cloud: LocalCloud, queue: str) -> None:
    travel(cloud, late=1, seconds=1.5, seed=3)
    send(cloud, queue, "one")
    assert arrived(cloud, queue, seconds=0) == []
    assert arrived(cloud, queue, seconds=3) == ["one"]


def test_a_message_is_lost_though_its_sender_is_told_otherwise(cloud: LocalCloud, queue: str) -> None:
    travel(cloud, lost=1)
    send(cloud, queue, "one")
    assert arrived(cloud, queue) == []


def test_each_event_of_a_batch_has_a_fate_of_its_own(cloud: LocalCloud) -> None:
    events = cloud.client("events")
    before = told(cloud)
    travel(cloud, lost=0.5, seed=1)
    ids = [uuid4().hex for _ in range(10)]
    answer = events.put_events(
        Entries=[{"Source": "dr.layer", "DetailType": "Layer Started", "Detail": json.dumps({"eventId": one})} for one in ids]
    )
    travel(cloud)
    assert answer["FailedEntryCount"] == 0 and len(answer["Entries"]) == len(ids)
    after = told(cloud)
    lost = after["counts"]["event lost"] - before["counts"].get("event lost", 0)
    assert 0 < lost < len(ids)
    assert all(after["events"][one] == 1 for one in ids), "that they were sent is known of all"


def test_what_a_person_sends_is_never_lost(cloud: LocalCloud) -> None:
    before = told(cloud)["counts"].get("event in time", 0)
    travel(cloud, lost=1)
    cloud.client("events").put_events(Entries=[{"Source": "dr.operator", "DetailType": "Execution Requested", "Detail": "{}"}])
    travel(cloud)
    assert told(cloud)["counts"]["event in time"] == before + 1


def test_a_network_that_makes_no_sense_is_refused(cloud: LocalCloud) -> None:
    answer = httpx.put(cloud.endpoint_url + PATH, json={"lost": 2})
    assert (answer.status_code, "less than or equal to 1" in answer.json()["message"]) == (400, True)


def told(cloud: LocalCloud) -> Any:
    return httpx.get(cloud.endpoint_url + PATH).json()
