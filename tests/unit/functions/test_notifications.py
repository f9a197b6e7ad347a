"""notify_people: each event once on each channel, not too many, in one thread; a channel that is dark holds up nobody."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import boto3
import pytest
from slack_sdk import WebClient

from dr_core.application import Events
from dr_core.events import Incoming
from dr_core.moves import about
from dr_core.notes import BeingSentError, Notes
from dr_core.records import Approval, ApprovalStatus, Approver, Ballot, DetailType, Event, ExecutionStatus, Move
from dr_people import notifications
from dr_people.channels import SlackChannel
from dr_people.notifications import MOST_IN_A_MINUTE, Notice, notify
from tests.support.control_plane import HOME, ID, T0, Cloud, a_layer, a_resource, an_approval, an_execution, error
from tests.support.deployed import BUCKET, SLACK_SECRET_NAME, Function, announced, on_bus
from tests.support.slack_workspace import CHANNEL, SIGNING_SECRET, TOKEN, Workspace

Functions = Callable[[str], Function]
NUMBER = 15  # resources, more than are told of one by one


@dataclass
class Channel:
    """Remembers what was said, and is dark while `dark`. Its messages are numbered from 1."""

    name: str = "here"
    dark: bool = False
    has_threads: bool = True
    said: list[tuple[Notice, str | None]] = field(default_factory=list)

    def send(self, notice: Notice, thread: str | None) -> str:
        if self.dark:
            raise ConnectionError("nobody there")
        self.said.append((notice, thread))
        return str(len(self.said))

    @property
    def kinds(self) -> list[str]:
        return [notice.detail_type.value for notice, _ in self.said]


@pytest.fixture
def halted(cloud: Cloud) -> Cloud:
    """An execution of which every resource has failed: its events, in one transaction."""
    execution = an_execution()
    assert cloud.table.create(execution, [a_layer()], [a_resource()], an_approval(), T0)
    no = {"code": "AccessDenied", "class": "TERMINAL", "message": "no <way>", "requestId": "req-1"}
    failed = [a_resource(1, number) for number in range(1, NUMBER + 1)]
    events = (
        Event(DetailType.APPROVAL_GRANTED, {"approver": "ann", "reason": ""}),
        Event(DetailType.EXECUTION_STARTED, {"layersTotal": 1}),
        *(about(one, DetailType.RESOURCE_FAILED, error=no, willRetry=False) for one in failed),
        Event(DetailType.LAYER_COMPLETED, {"layer": 1, "outcome": "FAILED", "counts": {"FAILED": NUMBER}}),
        Event(DetailType.EXECUTION_HALTED, {"layer": 1, "reason": "layer 1 failed: lamp-1"}),
    )
    assert cloud.table.commit(execution, Move((), events), T0)
    return cloud


def told(cloud: Cloud, *channels: Channel, events: Events = "all", kinds: tuple[str, ...] = ()) -> None:
    """Every event of the execution reaches the function, in order."""
    for body in announced(cloud, ID, *(kinds or sorted(notifications.ALL))):
        notify(cloud.table, Incoming.model_validate_json(body), lambda _: (events, channels), cloud.clock)


def test_people_are_told_what_happened_to_what_and_what_to_do(halted: Cloud) -> None:
    channel = Channel()
    told(halted, channel, kinds=("Execution Started", "Execution Halted"))
    (started, _), (stopped, _) = channel.said
    assert started.subject == "ACTIVATE of shop: execution started" and not started.is_problem
    assert stopped.is_problem and "layer 1 failed: lamp-1" in stopped.text
    assert stopped.text.endswith(f"drctl status {ID}")


def test_each_event_is_told_once_on_each_channel_though_it_comes_twice(halted: Cloud) -> None:
    here, there = Channel("here"), Channel("there")
    told(halted, here)
    before = here.kinds
    told(halted, here, there)
    assert here.kinds == before and there.kinds == before


def test_a_channel_that_is_dark_keeps_nobody_else_from_being_told_and_is_told_when_it_is_back(halted: Cloud) -> None:
    dark, light = Channel("dark", dark=True), Channel("light")
    with pytest.raises(ExceptionGroup, match="1 of 2 channels"):
        told(halted, dark, light, kinds=("Execution Halted",))
    assert light.kinds == ["Execution Halted"]
    dark.dark = False
    told(halted, dark, light, kinds=("Execution Halted",))
    assert dark.kinds == light.kinds == ["Execution Halted"]


def test_no_more_than_so_many_in_a_minute_and_the_rest_in_a_number(halted: Cloud) -> None:
    channel = Channel()
    told(halted, channel)
    assert channel.kinds.count("Resource Failed") == MOST_IN_A_MINUTE
    assert channel.kinds[-1] == "Execution Halted", "how it ends is always told"
    left_out = NUMBER + 1 - MOST_IN_A_MINUTE  # the layer's end too
    assert f"{left_out} further happenings were not told one by one." in channel.said[-1][0].text
    halted.clock.advance(60)
    told(halted, channel)
    assert "further" not in channel.said[-1][0].text or len(channel.said) == MOST_IN_A_MINUTE + 3


def test_a_recovery_time_that_runs_out_and_what_is_stuck_are_problems(cloud: Cloud) -> None:
    execution, channel = an_execution(), Channel()
    assert cloud.table.create(execution, [a_layer()], [a_resource()], an_approval(), T0)
    ratio = {"elapsedSeconds": 1440.0, "targetSeconds": 1800, "ratio": 0.8}
    stalled = {"status": "WAITING", "dueAt": "2031-03-01T12:00:50.000Z", "sweeps": 3}
    events = (
        Event(DetailType.RTO_AT_RISK, ratio),
        Event(DetailType.RTO_MISSED, ratio),
        *(about(a_resource(1, number), DetailType.STUCK_DETECTED, **stalled) for number in range(1, NUMBER + 1)),
    )
    assert cloud.table.commit(execution, Move((), events), T0)
    told(cloud, channel, events="problems")
    assert channel.kinds == ["RTO At Risk", "RTO Missed", *["Stuck Detected"] * MOST_IN_A_MINUTE]
    first, _, stuck = (channel.said[number][0] for number in range(3))
    assert first.is_problem and first.subject == "ACTIVATE of shop: RTO at risk" and "24 min 0 s of 30 min 0 s" in first.text
    assert stuck.subject == "ACTIVATE of shop: lamp-1 (Lamp) stuck" and "nothing has come of it since 12:00:50" in stuck.text


def test_who_has_not_decided_is_reminded(cloud: Cloud) -> None:
    execution, channel = an_execution(), Channel()
    assert cloud.table.create(execution, [a_layer()], [a_resource()], an_approval(), T0)
    fields = {"share": 75, "expiresAt": "2031-03-01T12:30:00.000Z", "escalated": True}
    assert cloud.table.commit(execution, Move((), (Event(DetailType.APPROVAL_REMINDER, fields),)), T0)
    told(cloud, channel, events="outcomes")
    assert channel.kinds == ["Approval Reminder"]
    assert "75 % of the time to decide are over, expires at 2031-03-01 12:30:00" in channel.said[0][0].text


def reminded(cloud: Cloud, workspace: Workspace, approval: Approval, share: int) -> str:
    """What Slack is told when people are reminded of the approval after `share` percent of their time."""
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], approval, T0)
    fields = {"share": share, "expiresAt": "2031-03-01T12:30:00.000Z", "escalated": share >= 50}
    assert cloud.table.commit(an_execution(), Move((), (Event(DetailType.APPROVAL_REMINDER, fields),)), T0)
    client = WebClient(token=TOKEN, base_url=workspace.url)
    (reminder,) = announced(cloud, ID, "Approval Reminder")
    slack = SlackChannel(lambda: client, CHANNEL)
    notify(cloud.table, Incoming.model_validate_json(reminder), lambda _: ("all", [slack]), cloud.clock)
    (posted,) = workspace.messages.values()
    return str(posted["text"])


@pytest.mark.parametrize(
    ("share", "votes", "mentions"),
    [
        (25, (), ["<@U0ANN>", "<@U0BOB>"]),
        (50, (), ["<@U0ANN>", "<@U0BOB>", "<@U0EVE>"]),
        (75, ("Ann",), ["<@U0BOB>", "<@U0EVE>"]),
    ],
)
def test_slack_mentions_who_is_to_decide_and_has_not(
    cloud: Cloud, workspace: Workspace, share: int, votes: tuple[str, ...], mentions: list[str]
) -> None:
    eve = Approver("eve", slack_user_id="U0EVE", escalation=True)
    approvers = Approver("ann", slack_user_id="U0ANN"), Approver("bob", slack_user_id="U0BOB"), Approver("cid", "cid@example.com"), eve
    voted = tuple(Ballot(True, one, "slack", "U0", "", T0) for one in votes)
    approval = an_approval(approvers=approvers, votes=voted, quorum=2)
    assert reminded(cloud, workspace, approval, share).splitlines()[-1].split() == mentions


def test_a_reminder_that_comes_after_the_decision_mentions_nobody(cloud: Cloud, workspace: Workspace) -> None:
    approval = an_approval(approvers=(Approver("ann", slack_user_id="U0ANN"),), status=ApprovalStatus.APPROVED)
    assert "<@" not in reminded(cloud, workspace, approval, 25)


def test_the_next_minute_has_room_again(cloud: Cloud) -> None:
    notes = Notes(ID, "here")
    assert [notes.admit(T0, 2) for _ in range(3)] == [True, True, False]
    assert notes.left_out() == 1 and notes.left_out() == 0
    cloud.clock.advance(60)
    assert notes.admit(cloud.clock(), 2)


def test_what_is_being_sent_is_not_sent_by_another_until_it_must_have_died(cloud: Cloud) -> None:
    notes = Notes(ID, "here")
    assert notes.claim("e", T0)
    with pytest.raises(BeingSentError):
        notes.claim("e", T0)
    cloud.clock.advance(61)
    assert notes.claim("e", cloud.clock()), "its sender has died"
    notes.told("e", cloud.clock())
    assert notes.claim("e", cloud.clock()) is False
    cloud.clock.advance(3600)
    assert notes.claim("e", cloud.clock()) is False, "what was told is told for good"
    notes.give_back("x")


def test_an_execution_is_one_thread(halted: Cloud) -> None:
    channel = Channel()
    told(halted, channel, kinds=("Approval Granted", "Execution Started", "Execution Halted"))
    assert [thread for _, thread in channel.said] == [None, "1", "1"]


def test_two_events_at_once_are_one_thread_too(halted: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second event comes while the first one's message is being written: it waits for it, and stands below it."""
    channel, waits = Channel(), []
    first, other = Notes(ID, "here"), Channel(has_threads=False, name="other")
    assert first.open_thread(halted.clock()) and not first.open_thread(halted.clock())

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            first.keep_thread("1")

    monkeypatch.setattr(notifications, "sleep", wait)
    told(halted, channel, other, kinds=("Execution Started",))
    assert [thread for _, thread in channel.said] == ["1"] and len(waits) == 3
    assert [thread for _, thread in other.said] == [None], "where there are no threads nobody waits"


def test_a_first_message_that_is_not_written_keeps_the_others_waiting_for_a_while(halted: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    channel, notes = Channel(), Notes(ID, "here")
    assert notes.open_thread(halted.clock())
    monkeypatch.setattr(notifications, "sleep", lambda _: None)
    with pytest.raises(ExceptionGroup) as failed:
        told(halted, channel, kinds=("Execution Started",))
    assert isinstance(failed.value.exceptions[0], BeingSentError) and channel.said == []
    halted.clock.advance(61)
    told(halted, channel, kinds=("Execution Started",))
    assert [thread for _, thread in channel.said] == [None], "its writer has died"


def test_a_first_message_that_failed_leaves_the_thread_to_the_next(halted: Cloud) -> None:
    channel = Channel(dark=True)
    with pytest.raises(ExceptionGroup):
        told(halted, channel, kinds=("Approval Granted",))
    channel.dark = False
    told(halted, channel, kinds=("Execution Started", "Approval Granted"))
    assert [thread for _, thread in channel.said] == [None, "1"]


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        ("none", []),
        ("problems", ["Execution Halted"]),
        ("outcomes", ["Approval Granted", "Execution Started", "Execution Halted"]),
        ("all", ["Approval Granted", "Execution Started", "Layer Completed", "Execution Halted"]),
    ],
)
def test_an_application_is_told_what_it_wants(halted: Cloud, wanted: Events, kinds: list[str]) -> None:
    channel = Channel()
    told(halted, channel, events=wanted, kinds=("Approval Granted", "Execution Started", "Layer Completed", "Execution Halted"))
    assert sorted(channel.kinds) == sorted(kinds)


def test_nobody_is_told_of_a_dry_run_or_of_an_attempt_that_is_tried_again(cloud: Cloud) -> None:
    channel = Channel()
    detail = {"eventId": "01X", "executionId": ID, "occurredAt": "2031-03-01T12:00:00.000Z"}
    dry = an_execution(status=ExecutionStatus.PLANNING, dry_run=True)
    assert cloud.table.create(dry, [a_layer()], [a_resource()], None, T0)
    for kind, more in (("Execution Completed", {}), ("Resource Failed", {"willRetry": True})):
        incoming = Incoming.model_validate_json(on_bus(kind, {**detail, **more}, "dr.execution", "01X"))
        notify(cloud.table, incoming, lambda _: ("all", [channel]), cloud.clock)
    assert channel.said == []


# --- the function ---


@pytest.fixture
def topic(cloud: Cloud) -> None:
    boto3.client("sns").create_topic(Name="the-notifications")
    boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": HOME})  # type: ignore[typeddict-item]


def registered(**more: object) -> None:
    document = {"application": "shop", "regions": {"primary": "us-east-1", "standby": "us-west-2"}, **more}
    boto3.client("s3").put_object(Bucket=BUCKET, Key="shop/application.json", Body=json.dumps(document).encode())


@pytest.mark.usefixtures("topic")
def test_notify_people_twice(function: Functions, halted: Cloud) -> None:
    bodies = announced(halted, ID, "Execution Halted")
    assert function("notify_people").deliver(*bodies) == []
    assert function("notify_people").deliver(*bodies) == []
    (published,) = halted.made("Publish")
    assert published.parameters["MessageAttributes"]["problem"] == {"DataType": "String", "StringValue": "true"}
    assert published.parameters["Subject"] == "ACTIVATE of shop: layer 1 execution halted"


@pytest.mark.usefixtures("topic")
def test_notify_people_as_the_application_wants(function: Functions, halted: Cloud) -> None:
    registered(notifications={"events": "none"})
    assert function("notify_people").deliver(*announced(halted, ID, "Execution Halted")) == []
    assert halted.made("Publish") == []


@pytest.mark.usefixtures("topic")
def test_a_registration_that_cannot_be_read_keeps_nobody_from_being_told(function: Functions, halted: Cloud) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key="shop/application.json", Body=b"{")
    assert function("notify_people").deliver(*announced(halted, ID, "Execution Halted")) == []
    assert len(halted.made("Publish")) == 1


@pytest.mark.usefixtures("topic")
def test_with_the_topic_dark_the_message_comes_again_and_the_execution_is_as_it_was(function: Functions, halted: Cloud) -> None:
    body = announced(halted, ID, "Execution Halted")[0]
    halted.answer("sns", "Publish", error("InternalError"))
    before = [item for item in halted.items() if not item["sk"]["S"].startswith(("NOTE#", "CHANNEL#"))]
    with pytest.raises(Exception, match="channels were not reached"):
        function("notify_people").deliver(body)
    assert [item for item in halted.items() if not item["sk"]["S"].startswith(("NOTE#", "CHANNEL#"))] == before
    assert function("notify_people").deliver(body) == []
    assert len(halted.made("Publish")) == 2


# --- the function, of a stack with Slack ---


@pytest.fixture
def token(topic: None) -> None:
    secret = json.dumps({"botToken": TOKEN, "signingSecret": SIGNING_SECRET})
    boto3.client("secretsmanager").create_secret(Name=SLACK_SECRET_NAME, SecretString=secret)


@pytest.mark.usefixtures("token")
def test_in_slack_an_execution_is_one_thread_names_are_no_markup_and_problems_are_loud(
    function: Functions, halted: Cloud, workspace: Workspace
) -> None:
    bodies = [*announced(halted, ID, "Execution Started"), *announced(halted, ID, "Resource Failed")[:1]]
    for body in bodies + bodies:  # each comes twice
        assert function("notify_people").deliver(body) == []
    (first, started), (_, failed) = workspace.messages.items()
    assert started["channel"] == failed["channel"] == CHANNEL
    assert "thread_ts" not in started and not started["reply_broadcast"]
    assert failed["thread_ts"] == first and failed["reply_broadcast"]
    assert "no &lt;way&gt;" in failed["text"]
    assert len(halted.made("Publish")) == 2, "the topic is told too"


@pytest.mark.usefixtures("token")
def test_an_application_has_a_slack_channel_of_its_own(function: Functions, halted: Cloud, workspace: Workspace) -> None:
    workspace.channels.add("C0SHOP")
    registered(notifications={"events": "problems", "slackChannel": "C0SHOP"})
    assert function("notify_people").deliver(*announced(halted, ID, "Execution Halted")) == []
    assert workspace.message["channel"] == "C0SHOP"
    assert function("notify_people").deliver(*announced(halted, ID, "Execution Started")) == []
    assert len(workspace.messages) == 1, "it wants problems alone"


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("broken", ["500", "invalid_auth", "ratelimited"])
def test_with_slack_dark_the_topic_tells_and_slack_is_told_when_it_is_back(
    function: Functions, halted: Cloud, workspace: Workspace, broken: str
) -> None:
    (body,) = announced(halted, ID, "Execution Halted")
    workspace.broken = broken
    with pytest.raises(Exception, match="1 of 2 channels were not reached"):
        function("notify_people").deliver(body)
    assert len(halted.made("Publish")) == 1 and not workspace.messages
    state = halted.table.load(ID)
    assert state and state.execution == an_execution()
    workspace.broken = ""
    assert function("notify_people").deliver(body) == []
    assert len(halted.made("Publish")) == 1 and "layer 1 failed" in workspace.message["text"]


@pytest.mark.usefixtures("topic", "workspace")
def test_a_secret_that_cannot_be_read_keeps_the_topic_from_nothing(function: Functions, halted: Cloud) -> None:
    with pytest.raises(Exception, match="1 of 2 channels were not reached"):
        function("notify_people").deliver(*announced(halted, ID, "Execution Halted"))
    assert len(halted.made("Publish")) == 1


@pytest.mark.usefixtures("token")
def test_a_stack_without_slack_tells_the_topic_alone(function: Functions, halted: Cloud) -> None:
    registered(notifications={"slackChannel": "C0SHOP"})
    assert function("notify_people").deliver(*announced(halted, ID, "Execution Halted")) == []
    assert len(halted.made("Publish")) == 1
    assert halted.made("GetSecretValue") == []
