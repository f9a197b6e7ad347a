"""What happens to the system in the demonstration, a planned move to us-west-2, and what must be so before and after each phase."""

import json

from dr_core.phases import Phase
from localcloud.applications import Step
from localcloud.applications.erp.integration import API_NAME, PUBLIC_NAME, SESSIONS_NAME, public_host, sessions_host
from localcloud.cloud import PRIMARY_REGION, STANDBY_REGION

_EAST, _WEST = PRIMARY_REGION, STANDBY_REGION
_SIGNED = "(signed)"


def steady() -> dict[str, str]:
    """The facts once the system has been created."""
    return {
        "ledger's writer": _EAST,
        "sessions' primary": _EAST,
        f"{API_NAME} points to": f"the load balancer in {_EAST}",
        f"{PUBLIC_NAME} points to": public_host(_EAST),
        f"ledger in {_EAST}": "erp-ledger-1 available, erp-ledger-2 available",
        f"ledger in {_WEST}": "erp-ledger-1 available",
        f"payroll in {_EAST}": "available",
        f"payroll in {_WEST}": "none",
        f"payroll's copied backups in {_WEST}": "replicating",
        f"sessions in {_EAST}": "available",
        f"sessions in {_WEST}": "available",
        f"queue in {_EAST}": "available",
        f"queue in {_WEST}": "none",
        f"search in {_EAST}": "4 data nodes, Active",
        f"search in {_WEST}": "2 data nodes, Active",
        f"services' tasks in {_EAST}": "erp-api 3, erp-jobs 1",
        f"services' tasks in {_WEST}": "erp-api 0, erp-jobs 0",
        f"workers in service in {_EAST}": "erp-imports 2, erp-exports 2",
        f"workers in service in {_WEST}": "erp-imports 0, erp-exports 0",
        f"servers in {_EAST}": "3 running",
        f"servers in {_WEST}": "3 stopped",
        f"source servers in {_EAST}": "2 STALLED",
        f"source servers in {_WEST}": "2 CONTINUOUS",
        f"rules in {_EAST}": "4 ENABLED",
        f"rules in {_WEST}": "4 DISABLED",
        f"orders to work on in {_EAST}": "2",
        f"orders to work on in {_WEST}": "0",
    }


def steps() -> tuple[Step, ...]:
    """The four phases, planned, with the facts after each."""
    return (
        Step(
            Phase.INSTANTIATE,
            _request(Phase.INSTANTIATE, "the move to us-west-2 is prepared"),
            {
                "ledger's writer": _EAST,
                f"ledger in {_WEST}": "erp-ledger-1 available, erp-ledger-2 available",
                f"search in {_WEST}": "4 data nodes, Active",
                f"servers in {_WEST}": "2 running, 1 stopped",
                f"services' tasks in {_WEST}": "erp-api 3, erp-jobs 1",
                f"workers in service in {_WEST}": "erp-imports 2, erp-exports 2",
                f"rules in {_WEST}": "4 DISABLED",
                f"announced in {_WEST}": f"INSTANTIATE: the standby is ready {_SIGNED}",
            },
        ),
        Step(
            Phase.ACTIVATE,
            _request(Phase.ACTIVATE, "the move to us-west-2"),
            {
                "ledger's writer": _WEST,
                "sessions' primary": _WEST,
                f"payroll in {_WEST}": "available",
                f"queue in {_WEST}": "available",
                f"servers in {_WEST}": "3 running",
                f"recovery instances in {_WEST}": "2 RUNNING",
                "warehouse's recovery plan": "COMPLETED",
                f"{API_NAME} points to": f"the load balancer in {_WEST}",
                f"{SESSIONS_NAME} points to": sessions_host(_WEST),
                f"{PUBLIC_NAME} points to": public_host(_WEST),
                f"rules in {_WEST}": "4 ENABLED",
                f"orders to work on in {_WEST}": "2",
                f"announced in {_WEST}": f"ACTIVATE: the standby serves {_SIGNED}",
            },
        ),
        Step(
            Phase.CLEANUP,
            _request(Phase.CLEANUP, "us-east-1 serves no more: remove what is left there"),
            {
                "ledger's writer": _WEST,
                "sessions' primary": _WEST,
                f"ledger in {_EAST}": "no instances",
                f"payroll in {_EAST}": "none",
                f"sessions in {_EAST}": "none",
                f"queue in {_EAST}": "none",
                f"queue's last export in {_EAST}": "2 of 2 shards",
                f"search in {_EAST}": "2 data nodes, Active",
                f"search in {_WEST}": "4 data nodes, Active",
                f"services' tasks in {_EAST}": "erp-api 0, erp-jobs 0",
                f"services' tasks in {_WEST}": "erp-api 3, erp-jobs 1",
                f"workers in service in {_EAST}": "erp-imports 0, erp-exports 0",
                f"servers in {_EAST}": "3 stopped",
                f"source servers in {_EAST}": "none",
                f"rules in {_EAST}": "4 DISABLED",
                f"announced in {_EAST}": f"CLEANUP: the old side goes {_SIGNED}",
            },
        ),
        Step(
            Phase.REPLICATE,
            _request(Phase.REPLICATE, "us-east-1 becomes the standby"),
            {
                "ledger's writer": _WEST,
                "sessions' primary": _WEST,
                f"ledger in {_EAST}": "erp-ledger-1 available",
                f"payroll's copied backups in {_EAST}": "replicating",
                f"sessions in {_EAST}": "available",
                f"source servers in {_EAST}": "2 CONTINUOUS",
                f"announced in {_EAST}": f"REPLICATE: there is a standby again {_SIGNED}",
            },
        ),
    )


def _request(phase: Phase, reason: str) -> list[dict[str, str]]:
    """The entries of put-events that request a phase, such as those in events/put-events are."""
    ahead = phase in (Phase.INSTANTIATE, Phase.ACTIVATE)
    detail = {
        "application": "erp",
        "phase": phase,
        "sourceRegion": _EAST if ahead else _WEST,
        "targetRegion": _WEST if ahead else _EAST,
        "mode": "planned",
        "requestedBy": "alice",
        "reason": reason,
    }
    return [{"EventBusName": "dr-orchestrator", "Source": "dr.operator", "DetailType": "Execution Requested", "Detail": json.dumps(detail)}]
