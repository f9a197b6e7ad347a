"""Ask people to decide.

In:  {"executionId", "layer", "taskToken"} from the approval state machine, which waits for the token
Out: the token is in the table, and the request with what preflight found has gone to the approvers by mail, topic and Slack
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core import flow
from dr_core.approval_plan import plan_digest
from dr_core.approval_rules import is_waited_for, share_over
from dr_core.moves import applied
from dr_core.observability import logger, utc_now
from dr_core.reports import read_reports
from dr_core.state import table
from dr_core.triggers import Asked, TokenHeld
from dr_people.approval_context import context_of
from dr_people.asking import ask, links, slack_channel
from dr_people.past_runs import completed_seconds


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> None:
    """Store the token, send the request, and note that it was sent. A repetition sends it again rather than not at all."""
    execution_id = event["executionId"]
    logger.append_keys(execution_id=execution_id)
    state = table().load(execution_id)
    if state is None or state.approval is None or not is_waited_for(state) or state.approval.layer != event.get("layer", 0):
        logger.info("nothing to decide any more")
        return
    execution, resources, reports = state.execution, table().resources(execution_id), table().preflights(execution_id)
    plan = plan_digest(resources, reports, state.approval.layer)
    held = flow.follow(table(), state, TokenHeld(event["taskToken"], plan), utc_now)
    approval = applied(state, held).approval if held else table().approval(execution_id)
    assert approval, "it was read a moment ago"
    past = completed_seconds(table(), execution.application, execution.phase)
    context = context_of(execution, approval, resources, read_reports(reports), past)
    now = utc_now()
    sent = ask(table(), context, approval, links(execution, approval, now), slack_channel(), share_over(approval, now))
    logger.info("approvers asked", extra={"sent": sent})
    flow.follow(table(), state, Asked(tuple(sent)), utc_now)
