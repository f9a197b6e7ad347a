"""Whether the orchestrator itself is well: its dead-letter queues, its relay, its sweep. Three calls, none of which is waited for long."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dr_core.aws import client
from dr_people.wording import duration

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# A page that waits for CloudWatch is no help while CloudWatch is impaired.
_IMPATIENT: Final = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1, "mode": "standard"})
_WINDOW = timedelta(minutes=15)
_SLOW_RELAY = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that was looked at: `well` is None where it could not be told. `words`: what was seen, and what to do if it is not well."""

    name: str
    well: bool | None
    words: str


@dataclass(frozen=True, slots=True)
class Wellbeing:
    """All that was looked at."""

    signs: tuple[Sign, ...]

    @property
    def well(self) -> bool | None:
        """Whether all is well: False if anything is not, None if nothing is wrong but not all could be told."""
        states = {sign.well for sign in self.signs}
        return False if False in states else None if None in states else True


def look(stack: str, dead_letters: Mapping[str, str], now: datetime) -> Wellbeing:
    """Look at the orchestrator's stack. `dead_letters`: the queues of what could not be delivered, name to URL."""
    return Wellbeing((*(_dead_letters(name, url) for name, url in dead_letters.items()), *_metrics(stack, now)))


@cache
def _sqs() -> "SQSClient":
    """The client, made once per environment: that takes longer than the call."""
    return client("sqs", config=_IMPATIENT)


@cache
def _cloudwatch() -> Any:
    return client("cloudwatch", config=_IMPATIENT)


def _dead_letters(name: str, url: str) -> Sign:
    try:
        found = _sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    except (BotoCoreError, ClientError) as error:
        return Sign(name, None, f"SQS does not say: {_short(error)}")
    number = int(found["Attributes"]["ApproximateNumberOfMessages"])
    return Sign(name, number == 0, "empty" if number == 0 else f"{number} messages: docs/operations.md, messages in a dead-letter queue")


def _metrics(stack: str, now: datetime) -> tuple[Sign, ...]:
    queries = [
        _query("relay", "IteratorAge", f"{stack}-publish-changes", "Maximum"),
        _query("sweeps", "Invocations", f"{stack}-sweep", "Sum"),
        _query("failures", "Errors", f"{stack}-sweep", "Sum"),
    ]
    try:
        answer = _cloudwatch().get_metric_data(
            MetricDataQueries=queries, StartTime=now - _WINDOW, EndTime=now, ScanBy="TimestampDescending"
        )
    except (BotoCoreError, ClientError) as error:
        why = f"CloudWatch does not say: {_short(error)}"
        return Sign("Relay", None, why), Sign("Sweep", None, why)
    values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
    return _relay(values.get("relay", [])), _sweep(values.get("sweeps", []), values.get("failures", []))


def _query(identity: str, metric: str, function: str, statistic: str) -> dict[str, object]:
    named = {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": [{"Name": "FunctionName", "Value": function}]}
    return {"Id": identity, "MetricStat": {"Metric": named, "Period": 60, "Stat": statistic}}


def _relay(milliseconds: list[float]) -> Sign:
    if not milliseconds:
        return Sign("Relay", None, f"has had nothing to do for {_minutes()}")
    worst = timedelta(milliseconds=max(milliseconds))
    words = f"at most {duration(worst.total_seconds())} behind in {_minutes()}"
    return Sign("Relay", True, words) if worst <= _SLOW_RELAY else Sign("Relay", False, f"{words}: look into publish-changes")


def _sweep(runs: list[float], failures: list[float]) -> Sign:
    if not sum(runs):
        return Sign("Sweep", False if runs else None, f"no run in {_minutes()}: is its schedule enabled?")
    failed = int(sum(failures))
    words = f"{int(sum(runs))} runs in {_minutes()}" + (f", {failed} of them failed: look into its log" if failed else "")
    return Sign("Sweep", failed == 0, words)


def _minutes() -> str:
    return f"{round(_WINDOW.total_seconds() / 60)} min"


def _short(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__
