"""Nobody decided in time.

In:  {"executionId", "layer"} from the approval state machine, when its wait has timed out
Out: the approval is EXPIRED (Approval Expired), unless it was decided at the last moment
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core import flow
from dr_core.observability import logger, utc_now
from dr_core.state import table
from dr_core.triggers import Expire


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> None:
    """Expire the approval: the table decides who was first."""
    logger.append_keys(execution_id=event["executionId"])
    state = table().load(event["executionId"])
    if state is not None and state.approval is not None and state.approval.layer == event.get("layer", 0):
        flow.follow(table(), state, Expire(), utc_now)
