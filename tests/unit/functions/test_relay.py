"""The relay as Lambda drives it: the emulator does not halve batches, nor does it deliver again from a record that failed; AWS does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from dr_core import flow
from dr_core.triggers import Vote
from tests.support.control_plane import ID, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution, error
from tests.support.deployed import BUS, Function
from tests.support.state_table import TABLE_NAME, template
from tests.unit.functions.test_execution import records

Record = Mapping[str, Any]
_EVENT = template()["Resources"]["PublishChangesFunction"]["Properties"]["Events"]["Stream"]["Properties"]


@dataclass
class Mapped:
    """The event source mapping of the template, over one shard.

    As AWS documents it for streams with ReportBatchItemFailures and BisectBatchOnFunctionError: an error halves the batch; a partial
    failure goes on from the lowest sequence number reported; tries without any progress count, and when none is left the batch is given up.
    """

    function: Function
    gave_up: list[Record] = field(default_factory=list)

    def read(self, shard: Sequence[Record]) -> None:
        """Read the shard to its end."""
        pending, size, tries = list(shard), int(_EVENT["BatchSize"]), 0
        while pending:
            batch = pending[:size]
            done = self._done(batch)
            if done:
                pending, size, tries = pending[done:], int(_EVENT["BatchSize"]), 0
                continue
            tries += 1
            if tries > int(_EVENT["MaximumRetryAttempts"]):
                self.gave_up += batch
                pending, size, tries = pending[len(batch) :], int(_EVENT["BatchSize"]), 0
            elif _EVENT["BisectBatchOnFunctionError"]:
                size = max(1, len(batch) // 2)

    def _done(self, batch: Sequence[Record]) -> int:
        """How many records from the beginning of the batch are done with."""
        try:
            answer = self.function.invoke({"Records": list(batch)})
        except boto3.client("events").exceptions.ClientError:
            return 0
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        return next((n for n, record in enumerate(batch) if record["dynamodb"]["SequenceNumber"] in failed), len(batch))


@pytest.fixture
def mapped(cloud: Cloud, function: Callable[[str], Function]) -> Mapped:
    """The relay behind its mapping; an execution has been approved and has opened its layer."""
    boto3.client("events").create_event_bus(Name=BUS)
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Vote(True, "ann", "", SHA), cloud.clock)
    return Mapped(function("publish_changes"))


def taken(cloud: Cloud) -> list[str]:
    """The events that the bus was given, as often as it was."""
    return [entry["Detail"] for call in cloud.made("PutEvents") for entry in call.parameters["Entries"]]


@pytest.mark.failure("PutEvents takes only a part, or is throttled")
def test_what_the_bus_did_not_take_goes_out_again_and_what_it_took_does_not(mapped: Mapped, cloud: Cloud) -> None:
    flow.advance(cloud.table, ID, cloud.clock)
    details = [entry.detail for entry in cloud.table.timeline(ID)]
    assert len(details) >= 4
    answers = (
        [{"EventId": "1"}] * 2 + [{"ErrorCode": "ThrottlingException", "ErrorMessage": "no"}] + [{"EventId": "1"}] * (len(details) - 3)
    )
    cloud.answer("events", "PutEvents", {"FailedEntryCount": 1, "Entries": answers}, status=200)
    mapped.read(records(cloud))
    assert taken(cloud) == [*details, *details[2:]], "from the first that failed on, in order"
    assert mapped.gave_up == []


@pytest.mark.failure("PutEvents takes only a part, or is throttled")
def test_a_bus_that_is_throttled_gets_everything_in_the_end(mapped: Mapped, cloud: Cloud) -> None:
    cloud.answer("events", "PutEvents", *[error("ThrottlingException")] * 8)
    mapped.read(records(cloud))
    details = [entry.detail for entry in cloud.table.timeline(ID)]
    assert set(taken(cloud)[-len(details) :]) == set(details)
    assert mapped.gave_up == []


@pytest.mark.failure("A poison record on the stream")
def test_a_poison_record_is_given_up_and_the_shard_goes_on(mapped: Mapped, cloud: Cloud) -> None:
    poison = {"pk": f"EXEC#{ID}", "sk": "EVT#00", "home": "us-west-2", "source": "dr.execution", "detail_type": "X", "detail": "no JSON"}
    boto3.client("dynamodb").put_item(TableName=TABLE_NAME, Item={name: {"S": value} for name, value in poison.items()})
    flow.advance(cloud.table, ID, cloud.clock)
    shard = records(cloud)
    mapped.read(shard)
    assert "EVT#00" in [record["dynamodb"]["Keys"]["sk"]["S"] for record in mapped.gave_up], "a note of it goes to UndeliveredQueue"
    told = {entry.detail for entry in cloud.table.timeline(ID)} - {"no JSON"}
    assert told <= set(taken(cloud)), "every other event has gone out, also those that came after it in its batch"
