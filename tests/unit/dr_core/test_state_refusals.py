"""Refusals: stored once, told in an event that stays small, and never beside an execution of the same request."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from dr_core.errors import Problem
from dr_core.events import MAX_EVENT_BYTES
from dr_core.state import Refusal, Table
from tests.support.control_plane import HOME, ID, T0, Cloud, a_layer, a_resource, an_approval, an_execution


@pytest.fixture
def table(cloud: Cloud) -> Table:
    """A table with one execution that waits for its approval."""
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    return cloud.table


PROBLEM = Problem("shop/Activate.json", "1", "api", "parameters.0", "is wrong", "make it right")


def refused(execution_id: str = "01REFUSED", seconds: int = 0) -> Refusal:
    return Refusal(execution_id, "shop", T0 + timedelta(seconds=seconds), ["this", "that"], {"phase": "ACTIVATE"})


def test_a_refusal_is_stored_once_with_its_event(cloud: Cloud) -> None:
    assert cloud.table.refuse(refused(), HOME, "t9", [PROBLEM], T0)
    assert cloud.table.refusal("01REFUSED") == refused()
    assert cloud.table.by_token("shop", "t9") == "01REFUSED"
    (entry,) = cloud.table.timeline("01REFUSED")
    assert (entry.source, entry.detail_type) == ("dr.execution", "Execution Refused")
    (problem,) = json.loads(entry.detail)["problems"]
    assert problem["message"] == "is wrong" and problem["remedy"] == "make it right"
    before = cloud.items()
    assert not cloud.table.refuse(refused(), HOME, None, [PROBLEM], T0)
    assert not cloud.table.refuse(refused("01LATER"), HOME, "t9", [PROBLEM], T0), "the token's request was dealt with"
    assert cloud.items() == before


def test_a_request_is_accepted_or_refused_never_both(table: Table, cloud: Cloud) -> None:
    assert cloud.table.refuse(refused(), HOME, None, [PROBLEM], T0)
    before = cloud.items()
    assert not table.refuse(refused(ID), HOME, None, [PROBLEM], T0)
    elsewhere = an_execution("01REFUSED", application="blog")
    assert not table.create(elsewhere, [a_layer()], [], an_approval(), T0)
    assert cloud.items() == before


def test_the_event_of_a_refusal_stays_small(cloud: Cloud) -> None:
    problems = [replace(PROBLEM, key=f"{n}", message="ü" * 3000, remedy="🜁" * 3000) for n in range(300)]
    assert cloud.table.refuse(refused(), HOME, None, problems, T0)
    (entry,) = cloud.table.timeline("01REFUSED")
    assert len(entry.detail.encode()) <= MAX_EVENT_BYTES
    assert json.loads(entry.detail)["problems"][0]["key"] == "0"
