"""Where things are: the stack's outputs say so, and boto3 finds Region, credentials and endpoint as it always does."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

import boto3
import httpx
import typer
from botocore.exceptions import ClientError, NoCredentialsError

from dr_core.links import LinkSigner
from dr_core.records import State
from dr_core.state import Refusal, Table
from drctl.failures import WrongUseError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

Output = Literal[
    "BusName",
    "ManifestBucketName",
    "StateTableName",
    "ApprovalPageAddress",
    "SigningSecretArn",
    "ApprovalStateMachineArn",
    "DeadLetterQueueUrl",
    "UndeliveredQueueUrl",
]

DeadLetterQueue = Literal["DeadLetterQueue", "UndeliveredQueue"]
DEAD_LETTER_QUEUES: tuple[DeadLetterQueue, ...] = ("DeadLetterQueue", "UndeliveredQueue")

T = TypeVar("T")

# What was put on the bus has led to something by then, also with functions that start cold.
ANSWER_WITHIN = timedelta(seconds=60)
_POLL_SECONDS = 0.5


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Cloud:
    """The orchestrator's stack called `stack_name`, and the clock, the patience and the network by which it is used.

    `command` is how this drctl is called, for commands that people are to copy.
    """

    stack_name: str
    command: str = "drctl"
    clock: Callable[[], datetime] = _now
    sleep: Callable[[float], None] = time.sleep
    transport: httpx.BaseTransport | None = field(default=None, repr=False)

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """All of the stack's outputs. Raises WrongUseError when the stack is not there."""
        client: CloudFormationClient = boto3.client("cloudformation")
        try:
            stack = client.describe_stacks(StackName=self.stack_name)["Stacks"][0]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            where = f"there is no stack {self.stack_name} in {client.meta.region_name}"
            raise WrongUseError(where, "name it with --stack or DRCTL_STACK, and its Region with --region; or deploy it first") from error
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def output(self, name: Output) -> str:
        """One of the stack's outputs. Raises WrongUseError when the stack is not there or has no such output."""
        if name not in self.outputs:
            raise WrongUseError(
                f"stack {self.stack_name} has no output {name}", "it is not an orchestrator's, or an older one: deploy it again"
            )
        return self.outputs[name]

    def dead_letters(self) -> Mapping[str, int]:
        """About how many messages lie in each queue for what did not get through; none for a stack that does not name its queues."""
        sqs: SQSClient = boto3.client("sqs")
        urls = {name: self.outputs.get(f"{name}Url") for name in DEAD_LETTER_QUEUES}
        return {
            name: int(
                sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"][
                    "ApproximateNumberOfMessages"
                ]
            )
            for name, url in urls.items()
            if url
        }

    def queue_url(self, name: DeadLetterQueue) -> str:
        """The URL of one of the queues for what did not get through."""
        return self.output("DeadLetterQueueUrl" if name == "DeadLetterQueue" else "UndeliveredQueueUrl")

    @property
    def request_url(self) -> str:
        """Where signed requests go; empty for a stack that is older."""
        return self.outputs.get("RequestUrl", "")

    @cached_property
    def table(self) -> Table:
        """The state table."""
        return Table(self.output("StateTableName"))

    def load(self, execution_id: str) -> State | Refusal:
        """The execution with that id, or the refusal of the request. Raises WrongUseError when there is neither."""
        found = self.table.load(execution_id) or self.table.refusal(execution_id)
        if found is None:
            where = f"there is no execution {execution_id} in stack {self.stack_name}"
            raise WrongUseError(where, "drctl executions APPLICATION lists an application's")
        return found

    def caller(self, instead: str) -> str:
        """Who is asking: the last part of the caller's ARN. `instead`: the option by which a name can be given."""
        client: STSClient = boto3.client("sts", region_name=boto3.Session().region_name or "us-east-1")
        try:
            arn = client.get_caller_identity()["Arn"]
        except NoCredentialsError as error:
            raise WrongUseError("no AWS credentials to take your name from", f"log in to AWS, or give your name with {instead}") from error
        return re.split("[/:]", arn)[-1]

    def put_event(self, detail_type: str, detail: str) -> str:
        """Put an operator's event on the bus; its id. Raises WrongUseError when the bus does not take it."""
        client: EventBridgeClient = boto3.client("events")
        bus = self.output("BusName")
        answer = client.put_events(Entries=[{"EventBusName": bus, "Source": "dr.operator", "DetailType": detail_type, "Detail": detail}])
        result = answer["Entries"][0]
        if answer["FailedEntryCount"] or "EventId" not in result:
            why = f"{result.get('ErrorCode')}: {result.get('ErrorMessage')}"
            raise WrongUseError(f"bus {bus} did not take the request: {why}", "nothing has begun; the same command can be given again")
        return result["EventId"]

    def link_signer(self) -> LinkSigner:
        """The signer of approval links: whoever may read the secret may decide."""
        client: SecretsManagerClient = boto3.client("secretsmanager")
        return LinkSigner(client.get_secret_value(SecretId=self.output("SigningSecretArn"))["SecretString"])

    def answer(self, look: Callable[[], T | None]) -> T | None:
        """What `look` finds of something that was put on the bus; None if nothing came of it in good time."""
        deadline = self.clock() + ANSWER_WITHIN
        while (found := look()) is None and self.clock() < deadline:
            self.sleep(_POLL_SECONDS)
        return found

    def http(self) -> httpx.Client:
        """A client for the approval page; a first call may have to wait for the function behind it."""
        return httpx.Client(transport=self.transport, timeout=30.0)


def cloud_of(context: typer.Context) -> Cloud:
    """The cloud that the command line's global options name."""
    found = context.find_object(Cloud)
    assert found is not None, "the app's callback makes it"
    return found
