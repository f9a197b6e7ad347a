"""The demonstration: one application through all four phases, on the real template, and what the cloud says after each.

`python -m localcloud.demo [APPLICATION]`. Exit code 0 only if every phase succeeded and every expected fact held.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dr_core.phases import Phase
from localcloud.applications import storefront
from localcloud.cloud import PRIMARY_REGION, REPOSITORY, STANDBY_REGION

_STATE_DIR: Final = REPOSITORY / ".local" / "demo"
_TIME_SCALE: Final = 0.04  # a minute of AWS's takes two and a half seconds


@dataclass(frozen=True)
class Step:
    """A phase of the demonstration: the request that starts it, and the facts that must hold after it."""

    phase: Phase
    entries: Path
    expected: Mapping[str, str]


def steps() -> tuple[Step, ...]:
    """The storefront's four phases, as in an outage of us-east-1 and after it."""
    requests = REPOSITORY / "events" / "put-events"
    east, west = PRIMARY_REGION, STANDBY_REGION
    return (
        Step(
            Phase.INSTANTIATE,
            requests / "StartInstantiate.json",
            {
                "Aurora writer": east,
                f"Aurora instances in {west}": "storefront-1 available, storefront-2 available",
                f"storefront-api running in {west}": "4",
                f"storefront-web running in {west}": "2",
                f"workers in service in {west}": "3",
                f"{storefront.RULE} in {west}": "DISABLED",
            },
        ),
        Step(
            Phase.ACTIVATE,
            requests / "StartActivate.json",
            {
                "Aurora writer": west,
                f"{storefront.RECORD} points to": f"the load balancer in {west}",
                f"{storefront.RULE} in {west}": "ENABLED",
            },
        ),
        Step(
            Phase.CLEANUP,
            requests / "StartCleanup.json",
            {
                "Aurora writer": west,
                f"Aurora instances in {east}": "none",
                f"storefront-api running in {east}": "0",
                f"storefront-web running in {east}": "0",
                f"workers in service in {east}": "0",
                f"{storefront.RULE} in {east}": "DISABLED",
                f"storefront-api running in {west}": "4",
            },
        ),
        Step(
            Phase.REPLICATE,
            requests / "StartReplicate.json",
            {"Aurora writer": west, f"Aurora instances in {east}": "storefront-1 available"},
        ),
    )
