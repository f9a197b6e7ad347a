"""Find what was lost, and send it again.

In:  a schedule, each minute
Out: the steps that are overdue, and a wake-up for each resource or request that nobody looked at in time
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core import flow
from dr_core.observability import logger, utc_now
from dr_core.settings import setting
from dr_core.state import table


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    """Sweep this Region's executions once."""
    return {"wakeUpsSent": flow.sweep(table(), setting("AWS_REGION"), utc_now)}
