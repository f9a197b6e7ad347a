"""A message has come out of a queue: its ids are on every line of the log from here on, and how late it is becomes a metric."""

from datetime import UTC, datetime

from dr_core.events import WakeUp
from dr_core.metrics import Metric, measure
from dr_core.observability import logger


def arrived(body: str) -> WakeUp:
    """Parse the body of a queue's message. Raises pydantic's ValidationError.

    Only what came over the bus says when it happened; a wake-up that was sent past the bus is late on purpose.
    """
    wake_up = WakeUp.from_queue(body)
    logger.thread_safe_append_keys(execution_id=wake_up.execution_id, resource_id=wake_up.resource_id or None)
    if wake_up.occurred_at is not None:
        lag = max(0.0, (datetime.now(UTC) - wake_up.occurred_at).total_seconds())
        measure(Metric.EVENT_LAG, lag, application=wake_up.application, phase=wake_up.phase, execution_id=wake_up.execution_id)
    return wake_up
