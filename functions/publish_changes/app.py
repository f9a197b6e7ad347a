"""Announce what the table has recorded.

In:  the table's stream
Out: the events of new outbox items, on the bus; a record whose event the bus did not take is delivered again
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from dr_core.bus import publish
from dr_core.changes import to_publish
from dr_core.observability import logger
from dr_core.settings import setting


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, list[dict[str, str]]]:
    """Put the events on the bus. The stream goes on from the first record that failed."""
    region = setting("AWS_REGION")
    entries = [entry for record in event["Records"] if (entry := to_publish(record, region))]
    failed = publish(entries)
    return {"batchItemFailures": [{"itemIdentifier": entry.sequence_number} for entry in failed[:1]]}
