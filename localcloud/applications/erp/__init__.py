"""The ERP system: something of every module, in two accounts, primary in us-east-1, standby in us-west-2.

The workload account has databases and caches (`data`), servers and services (`compute`), events and the DRS Orchestration Solution's
stand-in (`integration`). The orchestrator's own account has the public DNS zone and the function that announces what is going on.
"""

from concurrent.futures import ThreadPoolExecutor

from localcloud.applications import wait_until
from localcloud.applications.erp import compute, data, integration
from localcloud.applications.erp.plan import steady, steps
from localcloud.cloud import PRIMARY_REGION, STANDBY_REGION, LocalCloud

__all__ = ["NAME", "create", "observe", "steps"]

NAME = "erp"
_PARTS = (data, compute, integration)


def create(cloud: LocalCloud) -> None:
    """Make the system in both Regions: us-east-1 serves, us-west-2 stands by."""
    with ThreadPoolExecutor() as pool:
        for made in [pool.submit(part.create, cloud) for part in _PARTS]:
            made.result()
    integration.point_names_at_primary(cloud)
    wait_until(lambda: observe(cloud), steady())


def observe(cloud: LocalCloud) -> dict[str, str]:
    """What the cloud itself says of the system: one line for each fact, the same facts each time."""
    facts: dict[str, str] = {}
    for part in _PARTS:
        facts |= part.observe(cloud)
        for region in (PRIMARY_REGION, STANDBY_REGION):
            facts |= {f"{fact} in {region}": value for fact, value in part.observe_region(cloud, region).items()}
    return facts
