"""The page behind an approval's link.

In:  an HTTP request to the function's URL
Out: GET and HEAD: the page; POST: the decision is recorded (Approval Granted, Approval Rejected)
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.approvals import link_signer, respond
from dr_core.observability import logger, utc_now
from dr_core.settings import optional
from dr_core.state import table
from dr_people import approval_views


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, object]:
    """Answer one request."""
    return approval_views.answer(respond(event, table(), link_signer(), utc_now, page_url=optional("APPROVAL_PAGE_URL")), table())
