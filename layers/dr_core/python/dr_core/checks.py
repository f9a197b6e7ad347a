"""When a waiting resource is looked at next, and what earlier runs say of how long it takes. Pure.

Looking costs calls of the service, and not looking costs recovery time. So a resource is looked at rarely until it has ever been done,
often about the time at which it was done before, and then less and less often again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from dr_core.records import Resource, ResourceStatus

SHORTEST: Final = 1.0  # seconds: a queue holds messages back by whole ones
# What checks may ask of one service in one account and Region, on average. EC2 refills 20 a second for most reading calls
# (docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html); the rest is for others, and other services publish less.
READS_PER_SECOND: Final = 10.0
_RUNS: Final = 5
_EARLY: Final = 0.9  # of the shortest time known: so much earlier than ever before it may be done
_LOOKS: Final = 20  # between the earliest and the latest moment at which it may be done as before
_GROWTH: Final = 0.2  # of the time that is over the latest one

Steps = tuple[float, ...]
"""How many seconds each step of an operation took, in order."""


def check_delay(
    check_no: int,
    first_seconds: float,
    cap_seconds: float,
    jitter: float,
    *,
    passed: float = 0.0,
    known: Sequence[float] = (),
    least: float = 0.0,
) -> float:
    """Seconds until the check after `check_no`, spread by 20 % either way as `jitter` in [0, 1) says; never less than `least` but for that.

    Without `known`, how many seconds the step took in earlier runs: 1.5 times longer each time, from `first_seconds` up to the cap.

    With it, and `passed` seconds after the step began: until nine tenths of the shortest known time at most twice that; from then on until
    the longest every twentieth of that time, at least a second; thereafter a fifth of what it takes longer, up to the cap. Of four known
    times or more the shortest and the longest do not count. So where the times are wrong the end is noticed at most 1.2 caps later than
    without them, and there are at most 60 more checks, however long it takes.
    """
    spread = 0.8 + 0.4 * jitter
    usual = min(cap_seconds, first_seconds * float(1.5 ** min(check_no, 20)))
    if known:
        usual = _about(known, passed, usual, cap_seconds, spread)
    return max(usual, least) * spread


def _about(known: Sequence[float], passed: float, usual: float, cap: float, spread: float) -> float:
    """Seconds to the next check, before they are spread."""
    times = sorted(known)
    shortest, longest = _EARLY * times[len(times) // 4], times[-1 - len(times) // 4]
    if passed < shortest:
        return min(2 * usual, max(SHORTEST, (shortest - passed) / spread))  # all that know the same begin together
    looks = max(SHORTEST, (longest - shortest) / _LOOKS)
    return min(cap, max(looks, _GROWTH * (passed - longest)))


def least_delay(resource: Resource, reads: float) -> float:
    """Seconds between two checks with so many reading calls each that keep all of its layer, module and account within the limit."""
    return resource.peers * reads / READS_PER_SECOND


def taken(resource: Resource, now: datetime) -> Steps:
    """The steps of this run, with the present one, which ends now."""
    began = resource.claimed_at or now
    return (*resource.taken, round((now - began).total_seconds(), 1))


def known_times(resource: Resource) -> list[float]:
    """How many seconds the present step took in earlier runs."""
    return [steps[resource.step] for steps in resource.known if resource.step < len(steps)]


def with_known_times(resources: Sequence[Resource], earlier: Sequence[Resource]) -> tuple[Resource, ...]:
    """The resources of a new run with what is known of their times: from those of one earlier run, which knew of the runs before it."""
    known: Mapping[object, tuple[Steps, ...]] = {_same(resource): _learned(resource) for resource in earlier}
    return tuple(replace(resource, known=known.get(_same(resource), ())) for resource in resources)


def _same(resource: Resource) -> object:
    return resource.layer, resource.name, resource.module, resource.account


def _learned(resource: Resource) -> tuple[Steps, ...]:
    """What was known before a run, and how long the run took; what was found done already took no time that says anything."""
    waited = resource.status is ResourceStatus.SUCCEEDED and resource.check_no > 0 and len(resource.taken) == resource.step + 1
    return ((resource.taken, *resource.known) if waited else resource.known)[:_RUNS]
