"""What each transition of an execution costs at the table: its reads and transactions, neither more nor fewer than the table below says.

The real functions carry an execution of two layers, with two resources and one, from its request to its end. Neither more: whoever adds a
read must say here what for. Nor fewer: so that the table stays true.
"""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import boto3
import pytest

from dr_core.events import execution_id, wake_up
from dr_core.moves import about
from dr_core.records import DetailType, ExecutionStatus
from tests.support import lamps
from tests.support.control_plane import HOME, OTHER, T0, Cloud
from tests.support.deployed import BUCKET, SECRET, SECRET_NAME, Function, announced, on_bus
from tests.support.lamps import Lamp

# GetItem, Query, BatchGetItem with the items that it reads, TransactWriteItems with their items, and the items of all other writes. An item
# that is read consistently costs a unit for each 4 KB, one that is written a unit for each 1 KB, in a transaction two.
BUDGET = """
transition                                           gets  queries  batches  items  transactions  items  other writes
request: start_execution                                6        2        0      0             2     12             0
the same again                                          2        1        0      0             0      0             0
preflight of 3: preflight_execution                     4        4        0      0             1      4             3
the same again                                          2        1        0      0             0      0             0
people are asked: request_approval                      2        4        0      0             2      3             0
the page is shown: decide_approval                      4        5        0      0             0      0             0
approval: decide_approval                               6        4        0      0             1      5             0
the wait ends: settle_approval                          0        1        0      0             0      0             0
layer 1 opens, 2 resources: advance_execution           3        3        0      0             2     11             0
the same again                                          1        2        0      0             0      0             0
a resource is started: start_resource                   0        0        2      4             2      5             1
the same again                                          0        0        1      2             0      0             0
not done yet: check_resource                            0        0        1      2             1      1             0
the same again                                          0        0        1      2             0      0             0
found done already: start_resource                      0        0        1      2             2      5             0
1 of 2 has ended: advance_execution                     1        2        0      0             0      0             0
done: check_resource                                    0        0        1      2             1      2             0
layer 1 closes, 2 opens: advance_execution              2        4        0      0             2      9             0
layer 2 closes, the end: advance_execution              1        2        0      0             1      6             0
the same again                                          1        2        0      0             0      0             0
nothing is due: sweep                                   0        1        0      0             0      0             0
"""

EVENT = "event-1"
REQUEST = {
    "application": "shop",
    "phase": "ACTIVATE",
    "mode": "planned",
    "sourceRegion": OTHER,
    "targetRegion": HOME,
    "requestedBy": "olga",
    "reason": "drill",
}
HALL, ATTIC, CELLAR = "0001-001", "0001-002", "0002-001"


def lamp(name: str) -> dict[str, object]:
    """A resource of the manifest."""
    return {"action": "Lamp", "resourceName": name, "parameters": {"Name": name}}


MANIFEST = [{"layer": 1, "resources": [lamp("hall"), lamp("attic")]}, {"layer": 2, "resources": [lamp("cellar")]}]


class Book:
    """Writes down what each transition does at the table."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.lines = BUDGET.strip().splitlines()[:1]

    def note(self, transition: str, step: Callable[[], object]) -> Any:
        """Take the step."""
        self._cloud.calls.clear()
        answer = step()
        calls = [call for call in self._cloud.calls if call.service == "dynamodb"]
        made = {name: [one.parameters for one in calls if one.operation == name] for name in sorted({call.operation for call in calls})}
        gets, queries = len(made.pop("GetItem", ())), len(made.pop("Query", ()))
        batches, transactions = made.pop("BatchGetItem", []), made.pop("TransactWriteItems", [])
        read = sum(len(table["Keys"]) for one in batches for table in one["RequestItems"].values())
        written = sum(len(one["TransactItems"]) for one in transactions)
        others = len(made.pop("PutItem", ())) + sum(
            len(table) for one in made.pop("BatchWriteItem", ()) for table in one["RequestItems"].values()
        )
        assert not made, f"the budget does not know {', '.join(made)}"
        self.lines.append(f"{transition:51}{gets:6}{queries:9}{len(batches):9}{read:7}{len(transactions):14}{written:7}{others:14}")
        return answer


@pytest.mark.usefixtures("room")
def test_each_transition_keeps_to_its_budget(cloud: Cloud, function: Callable[[str], Function], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr_engine.intake.modules", lambda: {"Lamp": Lamp})
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_object(Bucket=BUCKET, Key="shop/Activate.json", Body=json.dumps(MANIFEST).encode())
    boto3.client("secretsmanager").create_secret(Name=SECRET_NAME, SecretString=SECRET)
    identity = execution_id(EVENT, T0)
    book = Book(cloud)

    def deliver(name: str, *kinds: str, resource: str = "") -> Callable[[], object]:
        """The newest of these events reaches the function; one of `resource`."""
        body = [one for one in announced(cloud, identity, *kinds) if resource in one][-1]
        return lambda: function(name).deliver(body)

    def check(resource: str) -> Callable[[], object]:
        """The check that is due reaches its function."""
        (waiting,) = [one for one in cloud.table.resources(identity) if one.id == resource]
        body = wake_up(identity, about(waiting, DetailType.RESOURCE_WAITING, checkNo=waiting.check_no))
        return lambda: function("check_resource").deliver(body)

    requested = on_bus("Execution Requested", REQUEST, "dr.operator", EVENT)
    book.note("request: start_execution", lambda: function("start_execution").deliver(requested))
    book.note("the same again", lambda: function("start_execution").deliver(requested))
    book.note("preflight of 3: preflight_execution", deliver("preflight_execution", "Execution Requested"))
    book.note("the same again", deliver("preflight_execution", "Execution Requested"))

    cloud.answer("sns", "Publish", {"MessageId": "1"}, status=200)
    asked = {"executionId": identity, "layer": 0, "taskToken": "the-token"}
    book.note("people are asked: request_approval", lambda: function("request_approval").invoke(asked))
    (published,) = cloud.made("Publish")
    (link,) = [line for line in published.parameters["Message"].splitlines() if line.startswith("https://")]
    token = parse_qs(urlsplit(link).query)["token"][0]
    page = book.note("the page is shown: decide_approval", lambda: function("decide_approval").invoke(visit("GET", token)))
    (nonce,) = re.findall(r'name="nonce" value="([^"]+)"', page["body"])
    form = {"token": token, "nonce": nonce, "confirmation": "shop", "decision": "approve", "approver": "ann"}
    vote = visit("POST", token, body=urlencode(form), cookies=[page["cookies"][0].partition(";")[0]])
    assert book.note("approval: decide_approval", lambda: function("decide_approval").invoke(vote))["statusCode"] == 200
    cloud.answer("states", "SendTaskSuccess", {}, status=200)
    book.note("the wait ends: settle_approval", deliver("settle_approval", "Approval Granted"))

    book.note("layer 1 opens, 2 resources: advance_execution", deliver("advance_execution", "Approval Granted"))
    book.note("the same again", deliver("advance_execution", "Layer Started"))
    book.note("a resource is started: start_resource", deliver("start_resource", "Resource Requested", resource=HALL))
    book.note("the same again", deliver("start_resource", "Resource Requested", resource=HALL))
    first = check(HALL)
    book.note("not done yet: check_resource", first)
    book.note("the same again", first)
    lamps.make("on", "attic")
    book.note("found done already: start_resource", deliver("start_resource", "Resource Requested", resource=ATTIC))
    book.note("1 of 2 has ended: advance_execution", deliver("advance_execution", "Resource Succeeded", resource=ATTIC))
    lamps.make("on", "hall")
    book.note("done: check_resource", check(HALL))
    book.note("layer 1 closes, 2 opens: advance_execution", deliver("advance_execution", "Resource Succeeded", resource=HALL))
    lamps.make("on", "cellar")
    deliver("start_resource", "Resource Requested", resource=CELLAR)()
    book.note("layer 2 closes, the end: advance_execution", deliver("advance_execution", "Resource Succeeded", resource=CELLAR))
    book.note("the same again", deliver("advance_execution", "Resource Succeeded", resource=CELLAR))
    book.note("nothing is due: sweep", lambda: function("sweep").invoke({}))

    ended = cloud.table.load(identity)
    assert ended and ended.execution.status is ExecutionStatus.SUCCEEDED
    assert book.lines == BUDGET.strip().splitlines(), "\n".join(["what it costs now:", *book.lines])


def visit(method: str, token: str, **more: object) -> dict[str, Any]:
    """A request of a browser to the page."""
    event = {
        "requestContext": {"http": {"method": method}, "domainName": "page.example"},
        "headers": {"origin": "https://page.example"},
        "queryStringParameters": {"token": token},
        "isBase64Encoded": False,
    }
    return {"version": "2.0", **event, "body": "", **more}
