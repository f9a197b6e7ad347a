"""How often a stack's functions were called, and for how long, by the lines that Lambda itself logs."""

import re
from typing import Final

from localcloud.cloud import LocalCloud

REPORT: Final = re.compile(r"REPORT RequestId: \S+\tDuration: ([0-9.]+) ms")


def invocations(cloud: LocalCloud, stack: str, since: float) -> tuple[int, float]:
    """Since then (seconds since 1970): their number, and the seconds of all together."""
    logs = cloud.client("logs")
    durations: list[float] = []
    for groups in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=f"/aws/lambda/{stack}-"):
        for group in groups["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"], startTime=int(since * 1000)):
                durations += [float(found[1]) for event in page["events"] if (found := REPORT.match(event["message"]))]
    return len(durations), sum(durations) / 1000
