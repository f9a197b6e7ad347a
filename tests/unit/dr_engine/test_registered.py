"""The scheduled preflight: a dry run of what each published application would do first in its standby Region."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dr_core.requests import ExecutionRequested
from dr_engine.registered import Registered

BUCKET, AT = "the-manifests", "2031-03-01T05:00:00Z"


class Bucket:
    """The manifest bucket."""

    def __init__(self) -> None:
        self.s3 = boto3.client("s3", region_name="us-east-1")
        self.s3.create_bucket(Bucket=BUCKET)

    def put(self, key: str, body: object) -> None:
        """An object; JSON unless it is text."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body if isinstance(body, str) else json.dumps(body))

    def publish(self, name: str, *manifests: str, **more: Any) -> None:
        """An application with these manifests."""
        regions = {"primary": "us-east-1", "standby": "us-west-2"}
        self.put(f"{name}/application.json", {"application": name, "regions": regions, **more})
        for manifest in manifests:
            self.put(f"{name}/{manifest}.json", [])

    def requests(self, occasion: str = AT) -> list[dict[str, Any]]:
        """What is asked for."""
        return [json.loads(detail) for detail in Registered(self.s3, BUCKET).preflights(occasion)]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, socket_disabled: None) -> Iterator[Bucket]:
    """An empty one."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with mock_aws():
        yield Bucket()


def asked(requests: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Application and phase."""
    return [(one["application"], one["phase"]) for one in requests]


def test_the_phases_that_act_on_the_standby_are_asked_for(bucket: Bucket) -> None:
    bucket.publish("shop", "Instantiate", "Activate", "Cleanup", "Replicate")
    bucket.publish("blog", "Activate")
    requests = bucket.requests()
    assert asked(requests) == [("blog", "ACTIVATE"), ("shop", "INSTANTIATE"), ("shop", "ACTIVATE")]
    one = requests[0]
    assert (one["sourceRegion"], one["targetRegion"], one["mode"], one["dryRun"]) == ("us-east-1", "us-west-2", "planned", True)
    assert all(ExecutionRequested.parse(request).dry_run for request in requests)


def test_an_empty_bucket_asks_for_nothing(bucket: Bucket) -> None:
    assert bucket.requests() == []


def test_the_same_occasion_asks_for_the_same(bucket: Bucket) -> None:
    bucket.publish("shop", "Instantiate", "Activate")
    first, again, later = bucket.requests(), bucket.requests(), bucket.requests("2031-03-02T05:00:00Z")
    assert first == again
    tokens = [request["clientToken"] for request in first + later]
    assert len(set(tokens)) == 4, "each application, phase and occasion has its own"


def test_who_does_not_take_part_is_left_out(bucket: Bucket) -> None:
    bucket.publish("shop", "Activate", preflight=False)
    bucket.publish("blog", "Activate")
    assert asked(bucket.requests()) == [("blog", "ACTIVATE")]


@pytest.mark.parametrize(
    "body", ["no JSON", [], {"application": "shop"}, {"application": "other", "regions": {"primary": "us-east-1", "standby": "us-west-2"}}]
)
def test_a_registration_that_cannot_be_read_does_not_stop_the_others(
    bucket: Bucket, body: object, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put("shop/application.json", body)
    bucket.put("shop/Activate.json", [])
    bucket.publish("blog", "Activate")
    assert asked(bucket.requests()) == [("blog", "ACTIVATE")]


def test_only_the_file_beside_the_manifests_is_a_registration(bucket: Bucket) -> None:
    bucket.publish("old/shop", "Activate")
    bucket.put("application.json", {"application": "x"})
    bucket.put("shop/my-application.json", {})
    bucket.put("shop/Activate.json", [])
    assert bucket.requests() == []


def test_a_bucket_of_many_pages_is_read_to_its_end(bucket: Bucket) -> None:
    for i in range(1_100):
        bucket.put(f"aaa/{i}.txt", "")
    bucket.publish("zoo", "Activate")
    assert asked(bucket.requests()) == [("zoo", "ACTIVATE")]
