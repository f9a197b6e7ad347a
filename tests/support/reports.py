"""Reports of preflight, as it makes them."""

from dataclasses import replace
from typing import Any

from dr_engine.preflight import Report
from dr_modules.base import PreflightFinding, Severity


def report(**values: Any) -> Report:
    """A resource on which nothing has begun, and in whose way nothing stands."""
    return replace(Report("NOT_STARTED", "", (), None, (), ()), **values)


def obstacle(code: str, message: str) -> PreflightFinding:
    """A finding with which the phase would fail."""
    return PreflightFinding(Severity.ERROR, code, message)


def warning(code: str, message: str) -> PreflightFinding:
    """A finding that need not matter."""
    return PreflightFinding(Severity.WARNING, code, message)


def planned(action: str, **parameters: object) -> dict[str, object]:
    """A call that would be made."""
    return {"action": action, "region": "us-west-2", "parameters": parameters, "at": "2031-03-01T12:00:00.000Z", "sent": False}
