"""`drctl dlq`: what did not get through, and sending it again.

DeadLetterQueue has messages on which a function failed five times; UndeliveredQueue events that a rule could not hand to its queue, and
notes of stream records that publish_changes gave up. SQS moves the first back itself (StartMessageMoveTask, which it offers only for
dead-letter queues of other queues); those of a rule are sent to the queue that the rule names. A schedule's missed calls lie there too,
and are left: the next one has come since.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import boto3
import typer
from rich.table import Table
from rich.text import Text

from dr_core.moves import text
from dr_people.wording import moment, plain
from drctl import view
from drctl.cloud import DEAD_LETTER_QUEUES, Cloud, DeadLetterQueue, cloud_of
from drctl.failures import FAILED, say
from drctl.status import Output, OutputOption

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import ChangeMessageVisibilityBatchRequestEntryTypeDef, MessageTypeDef

_MOST = 1000
# While the list is read its messages are hidden, so that each is seen once; then they are given back, or come back by themselves.
_HIDDEN_SECONDS = 30

app = typer.Typer(name="dlq", no_args_is_help=True, help="What did not get through: list it, and send it again.")
Which = Annotated[str | None, typer.Option("--queue", metavar="NAME", help=f"One of {', '.join(DEAD_LETTER_QUEUES)}; by default both.")]


@dataclass(frozen=True)
class Letter:
    """A message that did not get through: where it lies, where it comes from, since when, and what it is about, as far as it says."""

    queue: DeadLetterQueue
    message_id: str
    came_from: str
    since: str
    detail_type: str
    execution_id: str
    error: str


@app.command("list")
def list_letters(context: typer.Context, queue: Which = None, output: OutputOption = Output.TEXT) -> None:
    """List the messages in the dead-letter queues. Reading takes none away; they are hidden for the seconds that it takes.

    Exit code 0 when there is none, 1 when there is any.
    """
    cloud = cloud_of(context)
    found = []
    for name in _chosen(queue):
        with _reading(cloud, name) as messages:
            found += [_letter(name, message) for message in messages]
    if output is Output.JSON:
        typer.echo(json.dumps([asdict(letter) for letter in found], indent=2))
    else:
        _show(found)
    if found:
        raise typer.Exit(FAILED)


@app.command()
def redrive(context: typer.Context, queue: Which = None) -> None:
    """Send the messages again. That is safe at any time: what is stale changes nothing.

    Exit code 1 when some could not be sent: notes of the stream, whose events are in the timeline, and calls that a schedule missed.
    """
    cloud, out, left = cloud_of(context), view.console(), 0
    sqs: SQSClient = boto3.client("sqs")
    for name in _chosen(queue):
        url = cloud.queue_url(name)
        if name == "DeadLetterQueue":
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "ApproximateNumberOfMessages"])["Attributes"]
            number = attributes["ApproximateNumberOfMessages"]
            if number != "0":
                sqs.start_message_move_task(SourceArn=attributes["QueueArn"])
            out.print(Text(f"{name}: about {number} messages go back to the queues that they came from"))
            continue
        with _reading(cloud, name) as messages:
            sent = [message for message in messages if _send_again(sqs, url, message)]
            left += len(messages) - len(sent)
            out.print(Text(f"{name}: {len(sent)} events sent to the queues of their rules"))
    if left:
        what = f"UndeliveredQueue keeps {left} messages that came from no rule: notes of the stream, and calls that a schedule missed"
        say(what, "the events of a note are in the timelines of their executions: drctl status; a schedule has called again since")
        raise typer.Exit(FAILED)


@contextmanager
def _reading(cloud: Cloud, name: DeadLetterQueue) -> Iterator[list["MessageTypeDef"]]:
    """The messages of a queue, up to 1,000; those that are still there at the end are visible again."""
    sqs: SQSClient = boto3.client("sqs")
    url, found = cloud.queue_url(name), list["MessageTypeDef"]()
    try:
        while len(found) < _MOST:
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=_HIDDEN_SECONDS,
                WaitTimeSeconds=1,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            if not messages:
                break
            found += messages
        yield found
    finally:
        for start in range(0, len(found), 10):
            entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                for number, message in enumerate(found[start : start + 10])
            ]
            sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)


def _letter(queue: DeadLetterQueue, message: "MessageTypeDef") -> Letter:
    system, body = message.get("Attributes", {}), _object(message["Body"])
    detail, noted = _object(body.get("detail")), _object(body.get("requestContext"))
    origin = (
        system.get("DeadLetterQueueSourceArn")
        or _attribute(message, "RULE_ARN")
        or _attribute(message, "SCHEDULE_ARN")
        or str(noted.get("functionArn", ""))
    )
    said = ": ".join(part for part in (_attribute(message, "ERROR_CODE"), _attribute(message, "ERROR_MESSAGE")) if part)
    since = datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, UTC)
    return Letter(
        queue=queue,
        message_id=message["MessageId"],
        came_from=origin.rpartition(":")[2].rpartition("/")[2],
        since=text(since),
        detail_type=str(body.get("detail-type", "stream records" if "DDBStreamBatchInfo" in body else "")),
        execution_id=str(detail.get("executionId", "")),
        error=said or str(noted.get("condition", "")),
    )


def _object(found: object) -> Mapping[str, Any]:
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return {}
    return found if isinstance(found, dict) else {}


def _attribute(message: "MessageTypeDef", name: str) -> str:
    found = message.get("MessageAttributes", {}).get(name)
    return found.get("StringValue", "") if found else ""


def _send_again(sqs: "SQSClient", url: str, message: "MessageTypeDef") -> bool:
    """Send an event to the queue that its rule names, then take it away. False for what is not a rule's."""
    target = _attribute(message, "TARGET_ARN").split(":")
    if target[2:3] != ["sqs"]:
        return False
    wanted = sqs.get_queue_url(QueueName=target[5], QueueOwnerAWSAccountId=target[4])["QueueUrl"]
    sqs.send_message(QueueUrl=wanted, MessageBody=message["Body"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return True


def _chosen(queue: str | None) -> tuple[DeadLetterQueue, ...]:
    chosen = tuple(name for name in DEAD_LETTER_QUEUES if queue in (None, name))
    if not chosen:
        raise typer.BadParameter(f"one of {', '.join(DEAD_LETTER_QUEUES)}", param_hint="--queue")
    return chosen


def _show(found: list[Letter]) -> None:
    out = view.console()
    if not found:
        out.print(Text("Nothing is in the dead-letter queues."))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for one in found:
        at = moment(datetime.fromisoformat(one.since))
        words = (one.queue, at, one.came_from or "-", one.detail_type or "not an event", one.execution_id or "-", one.error)
        table.add_row(*(Text(plain(word)) for word in words))
    out.print(table)
