"""The channels on which people are told: an SNS topic, and a Slack channel in which an execution is one thread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from dr_core.application import FILE_NAME, Events, Notifications, read_application
from dr_core.errors import InvalidInputError
from dr_core.observability import logger
from dr_core.records import DetailType
from dr_core.settings import optional, setting
from dr_people.notifications import Channel, Notice, sns_subject
from dr_people.slack import web_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from slack_sdk import WebClient

_GOOD = frozenset({DetailType.EXECUTION_COMPLETED, DetailType.APPROVAL_GRANTED})


@dataclass(frozen=True)
class TopicChannel:
    """A topic. Subscribers can filter by application, phase, detailType and problem."""

    client: "SNSClient"
    topic_arn: str
    name: str = "sns"
    has_threads: bool = False

    def send(self, notice: Notice, thread: str | None) -> None:
        """Publish it; a topic has no threads."""
        said = {
            "application": notice.application,
            "phase": notice.phase,
            "detailType": notice.detail_type.value,
            "problem": str(notice.is_problem).lower(),
        }
        self.client.publish(
            TopicArn=self.topic_arn,
            Subject=sns_subject(notice.subject),
            Message=notice.text,
            MessageAttributes={key: {"DataType": "String", "StringValue": value} for key, value in said.items()},
        )


@dataclass(frozen=True)
class SlackChannel:
    """A channel of a Slack workspace. `connect` gives the client: only when something is said, so that its secret can fail nobody else."""

    connect: Callable[[], "WebClient"]
    channel: str
    has_threads: bool = True

    @property
    def name(self) -> str:
        """Another channel is told anew, and has a thread of its own."""
        return f"slack-{self.channel}"

    def send(self, notice: Notice, thread: str | None) -> str:
        """Post it under the execution's first message; problems and the end are shown in the channel too. Who is to decide is mentioned."""
        loud = thread is not None and (notice.is_problem or notice.detail_type in _GOOD)
        mark = ":red_circle:" if notice.is_problem else ":large_green_circle:" if notice.detail_type in _GOOD else ":information_source:"
        mentions = " ".join(f"<@{one}>" for one in notice.awaited)
        answer = self.connect().chat_postMessage(
            channel=self.channel,
            text="\n".join(part for part in (f"{mark} {_escaped(notice.text)}", mentions) if part),
            thread_ts=thread,
            reply_broadcast=loud,
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(answer["ts"])


def channels_of(application: str, s3: "S3Client", sns: "SNSClient") -> tuple[Events, Sequence[Channel]]:
    """What the application wants to be told of, and the channels that the stack has."""
    wanted = _preferences(application, s3)
    channels: list[Channel] = [TopicChannel(sns, setting("NOTIFICATION_TOPIC_ARN"))]
    if own := optional("SLACK_CHANNEL"):
        channels.append(SlackChannel(web_client, wanted.slack_channel or own))
    elif wanted.slack_channel:
        logger.warning("the stack has no Slack: its parameter SlackChannel is empty", extra={"channel": wanted.slack_channel})
    return wanted.events, channels


def _preferences(application: str, s3: "S3Client") -> Notifications:
    """Those of the published application.json. What cannot be read holds nobody up: people are told of everything then."""
    key = f"{application}/{FILE_NAME}"
    try:
        body = s3.get_object(Bucket=setting("MANIFEST_BUCKET"), Key=key)["Body"].read()
        return read_application(key, body, application).notifications
    except ClientError as error:
        logger.info("application not registered", extra={"error_code": error.response["Error"]["Code"]})
    except InvalidInputError as error:
        logger.error("application not registered", extra={"problems": [str(problem) for problem in error.problems]})
    return Notifications()


def _escaped(text: str) -> str:
    """Slack's own three: docs.slack.dev, formatting message text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
