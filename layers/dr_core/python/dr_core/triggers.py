"""What can make an execution move: an observation, a vote, a command, or a mere wake-up."""

from dataclasses import dataclass
from typing import Literal

from dr_core.commands import Command
from dr_core.records import Channel, Failure


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a module said. ERROR comes with the `failure` that was raised, FAILED with the one that the service reports."""

    kind: Literal["DONE", "IN_PROGRESS", "NEXT_STEP", "NOT_STARTED", "FAILED", "ERROR"]
    detail: str = ""
    percent: int | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Wake:
    """Look at the state and take the next step, whatever it is."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An executor, `owner`, has looked and wants to start a resource; with its lease expired, to take it over.

    `before`: what the world was before the first act, JSON text, if there is to be one now; it is stored before anything is done.
    `lag_seconds`: the data not yet replicated then, ahead of a failover; None where nothing is, or it could not be told.
    """

    resource_id: str
    attempt: int
    owner: str
    before: str | None = None
    lag_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The executor has acted or adopted, then observed. `delay_seconds` to the first check; `jitter` in [0, 1) spreads retries."""

    resource_id: str
    attempt: int
    owner: str
    outcome: Outcome
    handles: str | None
    delay_seconds: float
    jitter: float


@dataclass(frozen=True, slots=True)
class Checked:
    """A waiting resource has been observed. `delay_seconds` to the next check; `jitter` in [0, 1) spreads retries."""

    resource_id: str
    attempt: int
    check_no: int
    outcome: Outcome
    delay_seconds: float
    jitter: float


@dataclass(frozen=True, slots=True)
class Preflown:
    """Preflight is through and its reports are stored: how much stands in the way, and how many calls the acts would make.

    `plan_sha256`: of the plan that people are to be shown; empty where nobody decides on it.
    """

    errors: int
    warnings: int
    calls: int
    lag_seconds: float | None = None
    plan_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Vote:
    """A person decides on the approval; it binds to the manifest and to the plan that they were shown.

    `approver`: who it is, as `channel` knows them: on the page the name that the link is made out to, in Slack the user's id, for IAM the
    principal's ARN, for OIDC the subject or the e-mail address. `break_glass`: quorum and four eyes do not count; whoever makes the vote
    has looked whether this principal may.
    """

    approve: bool
    approver: str
    reason: str
    manifest_sha256: str
    plan_sha256: str = ""
    channel: Channel = "page"
    break_glass: bool = False


@dataclass(frozen=True, slots=True)
class TokenHeld:
    """The approval state machine waits, holding `task_token`. `plan_sha256`: of what people are about to be shown."""

    task_token: str
    plan_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request for approval has gone out. `sent`: the channels that took it, such as `mail: ann`, `topic`, `slack`.

    `share`: of the reminder, the percentage of the time to decide that is over; 0 for the request itself.
    """

    sent: tuple[str, ...] = ()
    share: int = 0


@dataclass(frozen=True, slots=True)
class Expire:
    """Nobody decided in time, or for `reason` there is nothing to decide any more."""

    reason: str = ""


Trigger = Wake | Claim | Started | Checked | Preflown | Vote | TokenHeld | Asked | Expire | Command
