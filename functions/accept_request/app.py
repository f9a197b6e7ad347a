"""Take a request, a command or a vote of somebody whom AWS knows.

In:  an HTTP request to the function's URL, signed for IAM (payload format 2.0)
Out: the same as of start_execution and control_execution, or a vote; the answer says at once what became of it
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.observability import logger, utc_now
from dr_core.settings import optional
from dr_engine.intake import intake
from dr_engine.signed_requests import respond


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, object]:
    """Answer one request."""
    return respond(event, intake(), utc_now, optional("BREAK_GLASS_PRINCIPALS").split(",")).as_function_url()
