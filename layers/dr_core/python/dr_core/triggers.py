"""What can make an execution move: an observation, a vote, a command, or a mere wake-up."""

from dataclasses import dataclass
from typing import Literal

from dr_core.commands import Command
from dr_core.records import Failure


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
    """An executor, `owner`, wants to start a resource; with its lease expired, to take it over."""

    resource_id: str
    attempt: int
    owner: str


@dataclass(frozen=True, slots=True)
class Captured:
    """What the world was before the first act, JSON text; stored before anything is done.

    `lag_seconds`: the data not yet replicated then, ahead of a failover; None where nothing is, or it could not be told.
    """

    resource_id: str
    attempt: int
    owner: str
    before: str
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
    """Preflight is through and its reports are stored: how much stands in the way, and how many calls the acts would make."""

    errors: int
    warnings: int
    calls: int
    lag_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Vote:
    """A person decides on the approval; it binds to the manifest that they were shown.

    `channel`: how they were known: "page", by whoever has the link; "iam", by AWS, from the signature of their request.
    """

    approve: bool
    approver: str
    reason: str
    manifest_sha256: str
    channel: Literal["page", "iam"] = "page"


@dataclass(frozen=True, slots=True)
class TokenHeld:
    """The approval state machine waits, holding `task_token`."""

    task_token: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The request for approval has gone out."""


@dataclass(frozen=True, slots=True)
class Expire:
    """Nobody decided in time."""


Trigger = Wake | Claim | Captured | Started | Checked | Preflown | Vote | TokenHeld | Asked | Expire | Command
