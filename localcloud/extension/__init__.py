"""What moto lacks to stand in for AWS in a failover.

Resources change state over time, the operations of Aurora's global clusters exist, and what AWS refuses is refused.
In a test: `extension.install()` once, then `with moto.mock_aws():`.
"""

_installed = False


def install() -> None:
    """Extend moto in this process; a second call does nothing."""
    global _installed
    if _installed:
        return
    # Not at the top: they bring all of moto, and not everybody who reads a constant of this package needs it.
    from localcloud.extension import (
        autoscaling,
        cloudwatch,
        drs,
        ec2,
        ecs,
        elasticache,
        memorydb,
        opensearch,
        rds,
        rds_lag,
        rds_orderable,
        service_quotas,
    )

    rds.install()
    ecs.install()
    autoscaling.install()
    cloudwatch.install()
    drs.install()
    elasticache.install()
    memorydb.install()
    rds_lag.install()
    rds_orderable.install()
    ec2.install()
    opensearch.install()
    service_quotas.install()
    _installed = True
