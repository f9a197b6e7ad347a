"""Errors in the words of AWS."""

from moto.core.exceptions import ServiceException


def refusal(code: str, message: str) -> ServiceException:
    """An error answer; moto takes the HTTP status from the service's model."""
    return ServiceException(code, message)
