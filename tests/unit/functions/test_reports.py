"""store_report: the report of what has ended or is halted, in the bucket, as often as it is asked for the same."""

from collections.abc import Callable

import boto3
import pytest

from dr_core import flow
from dr_core.triggers import Vote
from dr_people.report import Report
from tests.support.control_plane import HOME, ID, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution, error
from tests.support.deployed import REPORTS, Function, announced

Functions = Callable[[str], Function]
KEYS = [f"shop/ACTIVATE/{ID}.{suffix}" for suffix in ("html", "json", "md")]


@pytest.fixture
def rejected(cloud: Cloud) -> Cloud:
    """An execution that was rejected, and the bucket."""
    boto3.client("s3").create_bucket(Bucket=REPORTS, CreateBucketConfiguration={"LocationConstraint": HOME})  # type: ignore[typeddict-item]
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Vote(False, "ann", "not now", SHA), cloud.clock)
    return cloud


def stored() -> dict[str, bytes]:
    s3 = boto3.client("s3")
    found = s3.list_objects_v2(Bucket=REPORTS).get("Contents", [])
    return {one["Key"]: s3.get_object(Bucket=REPORTS, Key=one["Key"])["Body"].read() for one in found}


def test_store_report(function: Functions, rejected: Cloud) -> None:
    flow.advance(rejected.table, ID, rejected.clock)
    assert function("store_report").deliver(*announced(rejected, ID, "Execution Rejected")) == []
    assert sorted(stored()) == KEYS
    report = Report.model_validate_json(stored()[KEYS[1]])
    assert (report.execution_id, report.status, report.outcome) == (ID, "REJECTED", report.outcome)


def test_store_report_twice(function: Functions, rejected: Cloud) -> None:
    flow.advance(rejected.table, ID, rejected.clock)
    bodies = announced(rejected, ID, "Execution Rejected")
    function("store_report").deliver(*bodies)
    before, items = stored(), rejected.items()
    rejected.clock.advance(3600)
    assert function("store_report").deliver(*bodies) == []
    assert stored() == before, "the same report, an hour later"
    assert rejected.items() == items


def test_of_what_goes_on_nothing_is_stored(function: Functions, rejected: Cloud) -> None:
    assert function("store_report").deliver(*announced(rejected, ID, "Approval Rejected")) == []
    assert stored() == {}


def test_what_the_bucket_does_not_take_comes_again(function: Functions, rejected: Cloud) -> None:
    flow.advance(rejected.table, ID, rejected.clock)
    body = announced(rejected, ID, "Execution Rejected")[0]
    rejected.answer("s3", "PutObject", error("AccessDenied"))
    with pytest.raises(Exception, match="AccessDenied"):
        function("store_report").deliver(body)
    assert function("store_report").deliver(body) == []
    assert sorted(stored()) == KEYS
