"""Operations that are accepted and fail later, as a fault of effect `fail-later` asks for.

    ec2:StartInstances                    the instances stop again while they start
    elasticache:CreateReplicationGroup    the group ends as create-failed
    es:UpdateDomainConfig                 the change ends as FAILED, and the domain is as before
    memorydb:CopySnapshot                 the export to S3 writes nothing
    memorydb:CreateCluster                the cluster ends as create-failed, or restore-failed where it restores a snapshot
    rds:CreateDBInstance                  the instance ends as failed
    rds:RestoreDBInstanceToPointInTime    the instance ends as incompatible-restore
    drs:StartRecovery                     the launches fail

Some are prepared before the call, for the next of its kind; others act on what the call has begun.
Configured on moto's server by POST to PATH: {"operation": "rds:CreateDBInstance", "account", "region", "parameters", "reason"}.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

PATH: Final = "/_localcloud/failures"
_SOON_SECONDS: Final = 5.0  # after which an instance that RDS makes is seen to have failed

# What each of these needs of moto is imported when it is asked for: whoever only reads the names need not load it.


def _ec2_start(account: str, region: str, parameters: Mapping[str, Any], reason: str | None) -> None:
    from moto.ec2.models import ec2_backends

    from localcloud.extension import ec2
    from localcloud.extension.agenda import agenda_of

    for name, instance_id in parameters.items():
        if name.startswith("InstanceId."):
            ec2.fail_starts(account, region, instance_id, reason or "Client.InternalError")
            agenda_of(ec2_backends[account][region]).after(ec2.START_SECONDS, partial(ec2.fail_starts, account, region, instance_id, None))


def _elasticache_creation(account: str, region: str, parameters: Mapping[str, Any], reason: str | None) -> None:
    from localcloud.extension import elasticache

    del reason
    elasticache.fail_next_creation(account, region, parameters["ReplicationGroupId"].lower())


def _opensearch_change(account: str, region: str, parameters: Mapping[str, Any], reason: str | None) -> None:
    from localcloud.extension import opensearch

    opensearch.fail_next_change(account, region, parameters["DomainName"], *([reason] if reason else []))


def _memorydb_copy(account: str, region: str, parameters: Mapping[str, Any], reason: str | None) -> None:
    from localcloud.extension import memorydb

    del parameters, reason
    memorydb.fail_next(account, region, "CopySnapshot")


def _memorydb_cluster(account: str, region: str, parameters: Mapping[str, Any], reason: str | None) -> None:
    from localcloud.extension import memorydb

    del parameters, reason
    memorydb.fail_next(account, region, "CreateCluster")


def _rds_instance(status: str, name: str) -> "Hook":
    def end_badly(account: str, region: str, parameters: Mapping[str, Any], reason: str | None) -> None:
        from moto.rds.models import rds_backends

        from localcloud.extension.agenda import agenda_of
        from localcloud.extension.rds_backups import break_instance

        backend = rds_backends[account][region]
        agenda_of(backend).after(_SOON_SECONDS, partial(break_instance, backend, parameters[name], reason or status))

    return end_badly


def _drs_launch(account: str, region: str, parameters: Mapping[str, Any], reason: str | None) -> None:
    from localcloud.extension import drs
    from localcloud.extension.agenda import agenda_of

    backend = drs.drs_backends[account][region]
    for asked in parameters["sourceServers"]:
        tags = backend.server(asked["sourceServerID"]).tags
        tags[drs.LAUNCH_FAILS_TAG] = reason or "the launch failed"
        agenda_of(backend).after(drs.START_JOB_SECONDS + drs.LAUNCH_SECONDS, partial(tags.pop, drs.LAUNCH_FAILS_TAG, None))


Hook = Callable[[str, str, Mapping[str, Any], str | None], None]


@dataclass(frozen=True, slots=True)
class Operation:
    """How to have an operation fail later: by `hook`, called before the operation or after it."""

    hook: Hook
    after: bool = False


OPERATIONS: Final[Mapping[str, Operation]] = {
    "drs:StartRecovery": Operation(_drs_launch, after=True),
    "ec2:StartInstances": Operation(_ec2_start, after=True),
    "elasticache:CreateReplicationGroup": Operation(_elasticache_creation),
    "es:UpdateDomainConfig": Operation(_opensearch_change),
    "memorydb:CopySnapshot": Operation(_memorydb_copy),
    "memorydb:CreateCluster": Operation(_memorydb_cluster),
    "rds:CreateDBInstance": Operation(_rds_instance("failed", "DBInstanceIdentifier"), after=True),
    "rds:RestoreDBInstanceToPointInTime": Operation(_rds_instance("incompatible-restore", "TargetDBInstanceIdentifier"), after=True),
}


def arm(body: bytes) -> None:
    """Have an operation fail later, as the body of a request says. Raises LookupError for a resource or an operation that is not there."""
    wanted = json.loads(body)
    OPERATIONS[wanted["operation"]].hook(wanted["account"], wanted["region"], wanted["parameters"], wanted.get("reason"))
