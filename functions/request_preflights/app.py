"""Ask for a preflight of every application, so that what stands in a failover's way is known before it is needed.

In:  {"scheduledTime"} from a schedule (the stack's parameter PreflightSchedule)
Out: for each published application an Execution Requested with dryRun, for INSTANTIATE and for ACTIVATE of its standby Region
"""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.observability import logger
from dr_core.settings import setting
from dr_engine.registered import Registered

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


@cache
def registered() -> Registered:
    """The published applications, read through one client."""
    return Registered(boto3.client("s3"), setting("MANIFEST_BUCKET"))


@cache
def bus() -> "EventBridgeClient":
    """The client, made once per environment."""
    return boto3.client("events")


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, str], _context: LambdaContext) -> dict[str, int]:
    """Request all dry runs. The scheduled time stands for them: a second delivery requests nothing new."""
    requests = registered().preflights(event["scheduledTime"])
    for start in range(0, len(requests), 10):
        entries = [
            {"EventBusName": setting("BUS_NAME"), "Source": "dr.operator", "DetailType": "Execution Requested", "Detail": request}
            for request in requests[start : start + 10]
        ]
        answer = bus().put_events(Entries=entries)  # type: ignore[arg-type]
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"the bus did not take {answer['FailedEntryCount']} of {len(entries)} requests: {answer['Entries']}")
    logger.info("preflights requested", extra={"requests": len(requests)})
    return {"requested": len(requests)}
