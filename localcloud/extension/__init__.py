"""What moto lacks to stand in for AWS in a failover.

Resources change state over time, the operations of Aurora's global clusters exist, and what AWS refuses is refused.
In a test: `extension.install()` once, then `with moto.mock_aws():`.
"""

from localcloud.extension import autoscaling, ecs, rds

_installed = False


def install() -> None:
    """Extend moto in this process; a second call does nothing."""
    global _installed
    if _installed:
        return
    _installed = True
    rds.install()
    ecs.install()
    autoscaling.install()
