"""The messages of a batch are worked on at the same time, each with what is its own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aws_lambda_powertools.utilities.batch import process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from dr_core.observability import logger
from dr_core.side_by_side import MOST, SideBySide


def batch(*bodies: str) -> dict[str, Any]:
    return {"Records": [{"messageId": body, "body": body, "eventSource": "aws:sqs"} for body in bodies]}


def process(work: Any, event: dict[str, Any]) -> list[str]:
    answer = process_partial_response(event, work, SideBySide())
    return [str(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]]


def test_all_of_a_batch_are_under_way_at_once() -> None:
    together = threading.Barrier(MOST, timeout=20)

    def work(record: SQSRecord) -> None:
        together.wait()  # broken, and the message given back, unless all come here

    assert process(work, batch(*map(str, range(MOST)))) == []


def test_what_fails_is_given_back_alone() -> None:
    def work(record: SQSRecord) -> None:
        if record.body == "b":
            raise ValueError(record.body)

    assert process(work, batch("a", "b", "c")) == ["b"]


def test_keys_of_the_log_stay_with_their_message() -> None:
    together, seen, before = threading.Barrier(2, timeout=20), {}, logger.thread_safe_get_current_keys()

    def work(record: SQSRecord) -> None:
        logger.thread_safe_append_keys(execution_id=record.body)
        together.wait()
        seen[record.body] = logger.thread_safe_get_current_keys()["execution_id"]

    assert process(work, batch("a", "b")) == []
    assert seen == {"a": "a", "b": "b"}
    assert logger.thread_safe_get_current_keys() == before


def test_a_thread_begins_each_message_without_the_keys_of_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr_core.side_by_side._threads", ThreadPoolExecutor(1))
    seen: dict[str, Any] = {}

    def work(record: SQSRecord) -> None:
        seen[record.body] = logger.thread_safe_get_current_keys().get("of")
        logger.thread_safe_append_keys(of=record.body)

    assert process(work, batch("a", "b")) == []
    assert seen == {"a": None, "b": None}
