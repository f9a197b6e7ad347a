"""The page behind an approval's link.

In:  an HTTP request to the function's URL
Out: GET and HEAD: the page; POST: the decision is recorded (Approval Granted, Approval Rejected)
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.approvals import SignIn, link_signer, respond
from dr_core.observability import logger, utc_now
from dr_core.settings import optional
from dr_core.state import table
from dr_people import approval_views


def signing_in() -> SignIn | None:
    """How people sign in, if the stack has an OpenID provider: only then it is loaded."""
    if not optional("OIDC_ISSUER"):
        return None
    from dr_people.sign_in import sign_in

    return sign_in()


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, object]:
    """Answer one request."""
    response = respond(event, table(), link_signer(), utc_now, page_url=optional("APPROVAL_PAGE_URL"), sign_in=signing_in())
    return approval_views.answer(response, table())
