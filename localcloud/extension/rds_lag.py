"""RDS: the lag of Aurora's global clusters, as CloudWatch publishes it in the Region of each secondary cluster.

https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html
"""

from collections.abc import Iterable
from typing import Final

from moto.rds.models import rds_backends

from localcloud.extension import cloudwatch
from localcloud.extension.agenda import settle
from localcloud.extension.rds_global import AuroraGlobalCluster

LAG_MILLISECONDS: Final = 120.0
METRICS: Final = ("AuroraGlobalDBReplicationLag", "AuroraGlobalDBRPOLag")


def install() -> None:
    """Publish the metrics in this process."""
    for metric in METRICS:
        cloudwatch.live("AWS/RDS", metric, "Milliseconds", _lags)


def _lags(account: str, region: str) -> Iterable[tuple[dict[str, str], float]]:
    """A secondary that replicates has a lag; the writer, one that is being rebuilt and one that has left have none."""
    backends = list(rds_backends[account].values())
    settle(backends)
    for found in [one for backend in backends for one in backend.global_clusters.values()]:
        if not isinstance(found, AuroraGlobalCluster) or found.writer() is None:
            continue
        for member in found.members:
            replicates = not member.is_writer and member.status not in ("creating", "promoting", "resynchronizing")
            if member.region == region and replicates:
                yield {"DBClusterIdentifier": member.db_cluster_identifier}, LAG_MILLISECONDS
