"""What people do with the request for approval in Slack.

In:  an HTTP request of Slack to the function's URL, signed
Out: a click opens a dialog, the dialog casts a vote (Vote Recorded, Approval Granted, Approval Rejected)
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.approval_votes import votes
from dr_core.observability import logger, utc_now
from dr_core.state import table
from dr_people.slack import secret, slack
from dr_people.slack_interactions import Interactions


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, object]:
    """Answer one request; without a channel there is nothing to answer."""
    channel = slack()
    if channel is None:
        return {"statusCode": 404, "body": ""}
    return Interactions(table(), votes(), channel, secret().signing_secret, utc_now).answer(event)
