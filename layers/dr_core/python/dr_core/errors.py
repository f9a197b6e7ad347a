"""What can go wrong, in the orchestrator's own words."""

from dataclasses import dataclass
from enum import StrEnum


class OrchestratorError(Exception):
    """Base of every error that the orchestrator raises on purpose."""


class ErrorClass(StrEnum):
    """What an error means for the attempt in which it happened."""

    RETRYABLE = "RETRYABLE"  # try again, it counts as an attempt
    THROTTLED = "THROTTLED"  # try again later, it does not count
    TERMINAL = "TERMINAL"  # a retry cannot mend it
    AMBIGUOUS = "AMBIGUOUS"  # the request may have been carried out: observe


# The codes with which AWS's services say that there were too many calls.
THROTTLES = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "BandwidthLimitExceeded",
        "SlowDown",
        "PriorRequestNotComplete",
        "EC2ThrottledException",
    }
)


class ModuleError(OrchestratorError):
    """A resource could not be acted on or observed.

    `code`: the AWS error code, or the orchestrator's own such as `LiveSide`. `message`: names the resource, the call and the remedy.
    """

    def __init__(self, code: str, message: str, error_class: ErrorClass = ErrorClass.TERMINAL, request_id: str | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.error_class = error_class
        self.request_id = request_id


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with an input: where it stands, what is wrong, and what would be right.

    `layer` is the manifest's layer number, `resource` the resource's name, `key` the path of the offending key, such as
    `parameters.0.EcsDesiredSize`; each is empty where it does not apply.
    """

    file: str
    layer: str
    resource: str
    key: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = ", ".join(
            part
            for part in (
                self.file,
                self.layer and f"layer {self.layer}",
                self.resource and f"resource {self.resource}",
                self.key and f"key {self.key}",
            )
            if part
        )
        return f"{where}: {self.message}" + (f" ({self.remedy})" if self.remedy else "")


class InvalidInputError(OrchestratorError):
    """An input that cannot be accepted; `problems` holds everything wrong with it, at least one."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems
