"""The messages of a batch, worked on at the same time: each of them mostly waits for AWS."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any, Final

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType

MOST: Final = 10  # the template's BatchSize

_threads = ThreadPoolExecutor(MOST, thread_name_prefix="message")


class SideBySide(BatchProcessor):
    """Powertools' processor of SQS messages, each in a thread, with a context, and so keys of the log, of its own."""

    def __init__(self) -> None:
        super().__init__(event_type=EventType.SQS)

    def process(self) -> list[tuple[Any, ...]]:
        """Each record's outcome, in their order."""
        contexts = [copy_context() for _ in self.records]
        return list(_threads.map(self._process_in, contexts, self.records))

    def _process_in(self, context: Context, record: dict[str, Any]) -> tuple[Any, ...]:
        return context.run(self._process_record, record)
