"""A recovery with everything that a report has to tell: a halt, a retry by hand, a pause, lag, calls, and markup."""

from datetime import timedelta

from dr_core.calls import Call
from dr_core.moves import text
from dr_core.triggers import Outcome
from tests.support.desk import DONE, ID, Desk, failed

DATABASE, CACHE, WEB = "0001-001", "0001-002", "0002-001"
UNDER_WAY = Outcome("IN_PROGRESS", "under way", 10)
EVIL = "web <b>| x</b>"


def called(
    desk: Desk,
    resource_id: str,
    attempt: int,
    action: str,
    code: str | None = None,
    message: str | None = None,
    region: str = "us-west-2",
    **parameters: object,
) -> None:
    """A call to AWS, made now, is in the journal."""
    call = Call(
        action,
        region,
        parameters,
        text(desk.now),
        request_id=f"req-{action}-{attempt}",
        duration_ms=12,
        error_code=code,
        error_message=message,
    )
    desk.table.keep_calls(desk.execution_id, resource_id, attempt, [call], desk.now)


def wait(desk: Desk, seconds: float) -> None:
    """Time passes."""
    desk.now += timedelta(seconds=seconds)


def recovered(desk: Desk) -> None:
    """It halts in its first layer, is retried, paused in its second, and ends well."""
    halted(desk)
    wait(desk, 300)
    desk.command("retry", "mended")
    desk.move_on()
    wait(desk, 1.25)
    called(desk, DATABASE, 2, "rds:FailoverGlobalCluster", "Throttling", "Rate exceeded")
    desk.begin(DATABASE, UNDER_WAY)
    wait(desk, 60)
    desk.check(DATABASE, DONE)
    wait(desk, 0.75)
    desk.begin(WEB, UNDER_WAY)
    called(desk, WEB, 1, "ecs:UpdateService")
    wait(desk, 20)
    desk.command("pause", "wait a moment")
    wait(desk, 10)
    desk.check(WEB, DONE)
    wait(desk, 5)
    desk.command("resume", "go on")
    desk.move_on()


def halted(desk: Desk) -> None:
    """One resource of the first layer fails after a minute and a half, the other was done at once."""
    desk.request([("database-tier", "AuroraMySQL"), ("cache", "ElastiCache")], [(EVIL, "ECS")], reason="Region down")
    wait(desk, 40)
    desk.approve()
    wait(desk, 2)
    desk.begin(CACHE, DONE)
    called(desk, DATABASE, 1, "rds:FailoverGlobalCluster")
    desk.begin(DATABASE, UNDER_WAY, lag_seconds=75.5)
    wait(desk, 90)
    desk.check(DATABASE, failed("InvalidState", "no <i>way</i>", "req-9"))


__all__ = ["CACHE", "DATABASE", "EVIL", "ID", "WEB", "called", "halted", "recovered", "wait"]
