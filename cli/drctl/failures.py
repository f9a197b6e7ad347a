"""What goes wrong for reasons that are not drctl's: one line that says what, and what to do about it. No traceback."""

from collections.abc import Mapping
from typing import Any

import httpx
import typer
from botocore import exceptions as aws
from pynamodb.exceptions import PynamoDBException
from rich.console import Console
from typer.core import TyperGroup

from dr_core.errors import InvalidInputError, OrchestratorError

FAILED = 1  # the execution or the check failed
WRONG_USE = 2  # wrong use, invalid input, or no way to what is needed


class WrongUseError(Exception):
    """drctl cannot do what was asked, and the operator can mend it. `remedy` says how."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class UnreachablePageError(Exception):
    """The approval page does not answer."""


class Commands(TyperGroup):
    """The commands of drctl: what their failures mean is said here, once."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a failure that is known becomes a line on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except _KNOWN as error:
            message, remedy, code = explain(error)
            say(message, remedy)
            raise typer.Exit(code) from error


def say(message: str, remedy: str = "") -> None:
    """Say on stderr what is wrong, and the remedy on a line of its own."""
    stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    stderr.print(f"drctl: {message}", style="bold red")
    if remedy:
        stderr.print(f"       {remedy}")


def explain(error: BaseException) -> tuple[str, str, int]:
    """What the failure is, the remedy, and the exit code."""
    if isinstance(error, WrongUseError):
        return str(error), error.remedy, WRONG_USE
    if isinstance(error, InvalidInputError):
        return "\n       ".join(str(problem) for problem in error.problems), "", WRONG_USE
    if isinstance(error, UnreachablePageError):
        return str(error), "", FAILED
    if isinstance(error, PynamoDBException):
        return _aws(error.cause) if error.cause else (str(error), "", WRONG_USE)
    if isinstance(error, OrchestratorError | httpx.InvalidURL):
        return str(error), "", WRONG_USE
    return _aws(error)


def _aws(error: BaseException) -> tuple[str, str, int]:
    if isinstance(error, aws.ClientError):
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        return f"AWS refused {error.operation_name}: {code}: {message}", _REMEDIES.get(code, ""), WRONG_USE
    if isinstance(error, aws.NoRegionError):
        return "no Region is chosen", "name the orchestrator's own: drctl --region us-west-2 …, or set AWS_DEFAULT_REGION", WRONG_USE
    if isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError | aws.TokenRetrievalError | aws.CredentialRetrievalError):
        return f"no AWS credentials: {error}", _LOG_IN, WRONG_USE
    return f"AWS cannot be asked: {error}", "", WRONG_USE


_LOG_IN = "log in (aws sso login), or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_RIGHTS = "ask for the rights of an operator, or use another profile (AWS_PROFILE)"
_REMEDIES: Mapping[str, str] = {
    "AccessDenied": _RIGHTS,
    "AccessDeniedException": _RIGHTS,
    "ExpiredToken": _LOG_IN,
    "ExpiredTokenException": _LOG_IN,
    "InvalidClientTokenId": _LOG_IN,
    "UnrecognizedClientException": _LOG_IN,
}
_KNOWN = (WrongUseError, UnreachablePageError, OrchestratorError, PynamoDBException, aws.BotoCoreError, aws.ClientError, httpx.InvalidURL)
