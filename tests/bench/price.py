"""What a run would cost on AWS: list prices of us-east-1 in US dollars, arm64 functions of 512 MB, without free tiers."""

from typing import Final

from tests.bench.run import Run

_MILLION: Final = 1e6
_LAMBDA_REQUEST: Final = 0.20 / _MILLION
_LAMBDA_SECOND: Final = 0.5 * 0.0000133334
_EVENT: Final = 1.00 / _MILLION
_QUEUE_REQUEST: Final = 0.40 / _MILLION
_TRANSITION: Final = 25.00 / _MILLION
_WRITE_UNIT: Final = 0.625 / _MILLION
_READ_UNIT: Final = 0.125 / _MILLION
# An item that a transaction checks or writes has at most 1 KB and costs two units; every third is in an index, too.
_UNITS_OF_AN_ITEM: Final = 8 / 3
# A message is sent, received and deleted; a rule brings most events to one queue.
_REQUESTS_OF_A_MESSAGE: Final = 3


def write_units(run: Run) -> int:
    """Of the table, about."""
    transactions = _UNITS_OF_AN_ITEM * run.items.get(("dynamodb", "TransactWriteItems"), 0)
    return round(transactions) + run.called("dynamodb", "UpdateItem", "PutItem")


def read_units(run: Run) -> int:
    """Of the table, about: an item of at most 4 KB for each read, two for a query."""
    return run.called("dynamodb", "GetItem") + 2 * run.called("dynamodb", "Query") + run.items.get(("dynamodb", "BatchGetItem"), 0)


def of_orchestrator(run: Run) -> float:
    """Dollars: functions, events, queues and the table."""
    events = run.steps * (_EVENT + _REQUESTS_OF_A_MESSAGE * _QUEUE_REQUEST)
    return _functions(run) + events + write_units(run) * _WRITE_UNIT + read_units(run) * _READ_UNIT


def of_nested(run: Run) -> float:
    """Dollars: functions and state transitions."""
    return _functions(run) + run.steps * _TRANSITION


def _functions(run: Run) -> float:
    return run.invocations * _LAMBDA_REQUEST + run.billed_seconds * _LAMBDA_SECOND
