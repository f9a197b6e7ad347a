"""Ask for a preflight of every application, so that what stands in a failover's way is known before it is needed.

In:  {"scheduledTime"} from a schedule (the stack's parameter PreflightSchedule)
Out: for each published application an Execution Requested with dryRun, for INSTANTIATE and for ACTIVATE of its standby Region
"""

from functools import cache

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.aws import client
from dr_core.bus import publish
from dr_core.changes import Entry
from dr_core.observability import logger
from dr_core.settings import setting
from dr_engine.registered import Registered


@cache
def registered() -> Registered:
    """The published applications, read through one client."""
    return Registered(client("s3"), setting("MANIFEST_BUCKET"))


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, str], _context: LambdaContext) -> dict[str, int]:
    """Request all dry runs. The scheduled time stands for them: a second delivery requests nothing new."""
    requests = registered().preflights(event["scheduledTime"])
    if failed := publish([Entry("", "dr.operator", "Execution Requested", request) for request in requests]):
        raise RuntimeError(f"the bus did not take {len(failed)} of {len(requests)} requests")
    logger.info("preflights requested", extra={"requests": len(requests)})
    return {"requested": len(requests)}
