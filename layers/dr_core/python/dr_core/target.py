"""The way into an account and Region: assume the execution role there, with no more rights than the task needs."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from dr_core.aws import client, new_session, own_session
from dr_core.calls import watch
from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_core.settings import setting

if TYPE_CHECKING:
    from mypy_boto3_sts.type_defs import TagTypeDef

# Three tries inside a call; a dark Region is noticed in seconds (connect) and a hanging call does not outlive the lease.
_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10)
_SESSION_SECONDS = 3600  # the most that role chaining allows
_REUSE_SECONDS = 1800  # a warm function asks anew well before a session ends


# Calls that start later than this are not sent: by then another executor may have taken over.
_deadline: ContextVar[datetime | None] = ContextVar("deadline", default=None)
# The longest that one try of a call can last (see _CONFIG), so that none is still under way when a lease ends.
_TRY_SECONDS = 15


# A session is not made for threads, the clients that it makes are: preflight looks at many resources side by side.
_making = threading.Lock()
# Who opens the same target meanwhile waits for that session, for the sake of the clients that it has; others are not held up.
_opening = tuple(threading.Lock() for _ in range(64))
# The clients of each session, by service and Region: to make one takes longer than most calls.
_made: WeakKeyDictionary[Session, dict[tuple[str, str], Any]] = WeakKeyDictionary()


@contextmanager
def acting_until(lease_until: datetime | None) -> Iterator[None]:
    """Within this context no AWS call is sent when the lease is about to end."""
    token = _deadline.set(lease_until)
    try:
        yield
    finally:
        _deadline.reset(token)


def hold_back(**_: object) -> None:
    """Raise ModuleError where the lease of this context is about to end."""
    lease_until = _deadline.get()
    if lease_until is not None and datetime.now(UTC) > lease_until - timedelta(seconds=_TRY_SECONDS):
        raise ModuleError("LeaseEnding", "the executor's lease ends: the call was not sent", ErrorClass.AMBIGUOUS)


@dataclass(frozen=True)
class Target:
    """An account and its two Regions, with credentials to act there.

    `region` is the Region that the phase acts on, `peer_region` the other one.
    """

    session: Session
    account: str
    region: str
    peer_region: str

    def client(self, service: str, region: str | None = None, config: Config | None = None) -> Any:
        """A client of `service` in `region`, by default the target Region; one with a `config` of its own is made anew."""
        where, merged = region or self.region, _CONFIG.merge(config) if config else _CONFIG
        with _making:
            known = _made.setdefault(self.session, {}) if config is None else {}
            if (service, where) not in known:
                known[service, where] = self.session.create_client(service, region_name=where, config=merged)
            return known[service, where]


@dataclass(frozen=True)
class Run:
    """What a module knows of the execution that it works for.

    `undoes`: in a drill's CLEANUP, for each target what the drill's act found before it; None in every other run.
    """

    execution_id: str
    application: str
    phase: Phase
    mode: Mode
    resource_id: str
    resource_name: str
    attempt: int
    undoes: tuple[Mapping[str, Any], ...] | None = None


CLEANUP_SUFFIX = "-Cleanup"
"""The role that CLEANUP assumes is called as the other one, with this behind: what deletes is nobody's right on any other day."""


@dataclass(frozen=True)
class Purpose:
    """What a session is for. Its session tags say so to IAM and in CloudTrail: dr-execution, dr-application, dr-phase."""

    execution_id: str
    application: str
    phase: Phase

    @property
    def tags(self) -> "list[TagTypeDef]":
        """The session's tags."""
        named = {"dr-execution": self.execution_id, "dr-application": self.application, "dr-phase": self.phase.value}
        return [{"Key": key, "Value": value} for key, value in named.items()]


class TargetAccess:
    """Opens targets with the role `role_name` of each account, for CLEANUP with its own, identified by `external_id`."""

    def __init__(self, role_name: str, external_id: str) -> None:
        self._role_name = role_name
        self._external_id = external_id

    def open(self, account: str, region: str, peer_region: str, purpose: Purpose, actions: Sequence[str]) -> Target:
        """Assume the role of the phase in `account`, its rights cut down to `actions` (IAM action names).

        Without actions the session may only say who it is. The execution names the session: CloudTrail shows which one made a call.
        Raises ModuleError when the role does not exist or does not trust the orchestrator.
        """
        role_name = self._role_name + (CLEANUP_SUFFIX if purpose.phase is Phase.CLEANUP else "")
        slot = int(time.time() // _REUSE_SECONDS)
        allowed = tuple(sorted(set(actions))) or ("sts:GetCallerIdentity",)
        with _opening[hash((account, region, purpose, allowed)) % len(_opening)]:
            session = _assume(role_name, self._external_id, account, region, purpose, allowed, slot)
        return Target(session, account, region, peer_region)


@cache
def target_access() -> TargetAccess:
    """The access that the environment names."""
    return TargetAccess(setting("TARGET_ROLE_NAME"), setting("EXTERNAL_ID"))


@lru_cache(maxsize=128)
def _assume(role_name: str, external_id: str, account: str, region: str, purpose: Purpose, actions: tuple[str, ...], slot: int) -> Session:
    """A session of the role; `slot` changes with the time, so that an answer is never reused past its end."""
    del slot
    role_arn = f"arn:{own_session().get_partition_for_region(region)}:iam::{account}:role/{role_name}"
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    with _making:
        sts = client("sts", region_name=region, config=_CONFIG)
    try:
        credentials = sts.assume_role(
            RoleArn=role_arn,
            RoleSessionName=f"dr-{purpose.execution_id}"[:64],
            ExternalId=external_id,
            Tags=purpose.tags,
            Policy=json.dumps(policy, separators=(",", ":")),
            DurationSeconds=_SESSION_SECONDS,
        )["Credentials"]
    except sts.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        hopeless = code.startswith(("AccessDenied", "NoSuchEntity", "Validation", "PackedPolicy"))
        raise ModuleError(
            code,
            f"cannot assume {role_arn}: {error.response['Error']['Message']}. "
            "Deploy deploy/TargetAccountsAssumeRole.yaml in that account, with this orchestrator's OrchestratorRoleArns and ExternalId",
            ErrorClass.TERMINAL if hopeless else ErrorClass.THROTTLED if "Throttl" in code else ErrorClass.RETRYABLE,
            error.response["ResponseMetadata"].get("RequestId"),
        ) from error
    except BotoCoreError as error:
        raise ModuleError(type(error).__name__, f"cannot assume {role_arn}: {error}", ErrorClass.RETRYABLE) from error
    session = new_session()
    session.set_credentials(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    session.set_config_variable("region", region)
    session.get_component("event_emitter").register_first("before-send", hold_back)
    watch(session)
    return session
