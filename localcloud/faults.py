"""Faults that the local cloud injects between a caller and AWS: what they are called, and how to set them.

A fault covers calls by account, Region, service, operation and calling function, each a shell pattern (`Describe*`) or left out for all.
Of the calls that it covers it strikes those `first` to `last`, each with `probability`. The first fault that strikes a call has its way.

    throttle           the service's own throttling error
    error [CODE]       an error of the service, by default InternalFailure
    slow SECONDS       the call is held up, then carried out
    hang SECONDS       no answer for so long, then the connection is cut; not carried out
    cut                the connection is cut at once; not carried out
    cut-after          carried out, then the connection is cut
    dark               the Region does not answer: every service of it but those in `spared`
    wrong-then-right [CODE]
                       a read sees too little, as one that comes too early: empty lists or the error CODE; `last` says how often
    crash before|after
                       the Lambda function that calls is killed, before the call is carried out or after it
    fail-later [REASON]
                       accepted, and what it began ends badly; see `localcloud.extension.failures` for the operations that can

In a test:  with cloud.faults.during(Fault(effect=Effect.DARK, region="us-west-2")): ...
By HTTP:    GET, POST (one fault) and DELETE /_localcloud/faults, and DELETE /_localcloud/faults/<name>.

A Region here is the one that answers: IAM and Route 53 live in us-east-1, wherever they are called from; STS is in each Region.
Not covered are function URLs, and what the control plane's emulator does by itself: a rule sends to a queue, a queue calls a function.
"""

import difflib
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from localcloud import wire
from localcloud.extension import failures
from localcloud.wire import Call

PATH: Final = "/_localcloud/faults"
READS: Final = ("BatchGet", "Describe", "Get", "Head", "List", "Query", "Scan")

_GLOBAL: Final = frozenset({"iam", "route53"})
_GLOBAL_REGION: Final = "us-east-1"
_SERVICE_OF_MODEL: Final = {model: service for service, models in wire.MODELS.items() for model in models}
# Any operation may answer these, so that no operation's model names them.
_COMMON_CODES: Final = frozenset(
    {
        *("AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "InternalError", "InternalFailure"),
        *("InternalServerError", "InvalidClientTokenId", "InvalidParameterCombination", "InvalidParameterValue", "OptInRequired"),
        *("RequestExpired", "RequestLimitExceeded", "RequestThrottled", "ServiceUnavailable", "SlowDown", "Throttling"),
        *("ThrottlingException", "UnauthorizedOperation", "UnrecognizedClientException", "ValidationError", "ValidationException"),
    }
)


class Effect(StrEnum):
    """What a fault does to a call."""

    THROTTLE = "throttle"
    ERROR = "error"
    SLOW = "slow"
    HANG = "hang"
    CUT = "cut"
    CUT_AFTER = "cut-after"
    DARK = "dark"
    WRONG_THEN_RIGHT = "wrong-then-right"
    CRASH = "crash"
    FAIL_LATER = "fail-later"


class When(StrEnum):
    """On which side of the call a function is killed."""

    BEFORE = "before"
    AFTER = "after"


# The field that holds an effect's one argument, and whether it must be there.
ARGUMENTS: Final = {
    Effect.ERROR: ("code", False),
    Effect.SLOW: ("seconds", True),
    Effect.HANG: ("seconds", True),
    Effect.WRONG_THEN_RIGHT: ("code", False),
    Effect.CRASH: ("when", True),
    Effect.FAIL_LATER: ("reason", False),
}


class FaultError(Exception):
    """A fault that makes no sense, or that the cloud did not take; says why."""


class Fault(BaseModel):
    """One fault. A name is given to it where it has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect
    name: str = Field("", pattern=r"^[\w.-]*$")
    account: str = "*"
    region: str = "*"
    service: str = "*"
    operation: str = "*"
    function: str = Field("*", description="the name of the Lambda function that calls")
    first: int = Field(1, ge=1, description="the first of the calls covered that it strikes")
    last: int | None = Field(None, ge=1, description="the last of the calls covered that it strikes; without it, all of them")
    probability: float = Field(1.0, gt=0, le=1)
    seed: int = Field(0, description="of the dice for `probability`: the same seed strikes the same calls")
    code: str | None = Field(None, description="an AWS error code")
    seconds: float | None = Field(None, ge=0)
    when: When | None = None
    reason: str | None = Field(None, description="what AWS will say is wrong")
    spared: tuple[str, ...] = Field((), description="services of a dark Region that answer")

    @classmethod
    def parse(cls, given: object) -> Self:
        """A fault from what JSON or a command line says. Raises FaultError with everything that is wrong with it."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            problems = [": ".join([*(str(part) for part in found["loc"]), found["msg"]]) for found in error.errors()]
            raise FaultError("; ".join(problem.replace("Value error, ", "") for problem in problems)) from error

    @model_validator(mode="before")
    @classmethod
    def _known_by_their_signing_names(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = dict(given)
        if isinstance(known.get("service"), str):
            known["service"] = _SERVICE_OF_MODEL.get(known["service"], known["service"])
        if isinstance(known.get("spared"), list | tuple):
            known["spared"] = tuple(_SERVICE_OF_MODEL.get(service, service) for service in known["spared"])
        return known

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        wanted, required = ARGUMENTS.get(self.effect, (None, False))
        for name in ("code", "seconds", "when", "reason"):
            if getattr(self, name) is not None and name != wanted:
                raise ValueError(f"{self.effect} takes no {name}")
        if required and wanted is not None and getattr(self, wanted) is None:
            raise ValueError(f"{self.effect} needs {wanted}" + (": before or after" if wanted == "when" else ""))
        if self.last is not None and self.last < self.first:
            raise ValueError(f"the last call, {self.last}, comes before the first, {self.first}")
        if self.effect is Effect.DARK and self.region == "*":
            raise ValueError("dark needs a region")
        if self.spared and self.effect is not Effect.DARK:
            raise ValueError(f"{self.effect} takes no spared services: dark does")
        if self.effect is Effect.WRONG_THEN_RIGHT and self.last is None:
            raise ValueError("wrong-then-right needs last: after how many calls it is right")
        for service in (self.service, *self.spared):
            _check_known(service, wire.MODELS, "service")
        self._check_operation()
        return self

    def _check_operation(self) -> None:
        models = wire.models(self.service)
        if models:
            _check_known(self.operation, [name for model in models for name in model.operation_names], f"operation of {self.service}")
        if self.effect is Effect.WRONG_THEN_RIGHT and not _is_pattern(self.operation) and not self.operation.startswith(READS):
            raise ValueError(f"wrong-then-right is for reads, which {self.operation} is not")
        if self.effect is Effect.FAIL_LATER and f"{self.service}:{self.operation}" not in failures.OPERATIONS:
            raise ValueError(f"fail-later can be had for {', '.join(failures.OPERATIONS)}")
        model = wire.operation_model(Call("", None, "", self.service, self.operation))
        if self.code is not None and model is not None and model.error_shapes:
            modelled = {code for shape in model.error_shapes for code in (shape.name, shape.metadata.get("error", {}).get("code"))}
            _check_known(
                self.code, {*(code for code in modelled if code), *_COMMON_CODES}, f"error code of {self.service}:{self.operation}"
            )

    def covers(self, call: Call) -> bool:
        """Whether a call is one of those that the fault is about, whoever makes it."""
        if self.effect is Effect.WRONG_THEN_RIGHT and not call.operation.startswith(READS):
            return False
        if self.effect is Effect.DARK and any(fnmatchcase(call.service, spared) for spared in self.spared):
            return False
        region = _GLOBAL_REGION if call.service in _GLOBAL else call.region
        pairs = ((call.account or "", self.account), (region, self.region), (call.service, self.service), (call.operation, self.operation))
        return all(fnmatchcase(value, pattern) for value, pattern in pairs)

    def __str__(self) -> str:
        """The fault in the words in which `drctl local fault add` takes it."""
        argument = ARGUMENTS.get(self.effect, ("", False))[0]
        words = [str(self.effect)]
        if argument and getattr(self, argument) is not None:
            value = getattr(self, argument)
            words.append(f"{value:g}" if isinstance(value, float) else str(value))
        defaults = type(self).model_fields
        for name in ("account", "region", "service", "operation", "function", "first", "last", "probability", "seed"):
            if getattr(self, name) != defaults[name].default:
                words.append(f"--{name} {getattr(self, name)}")
        return " ".join([*words, *(f"--spared {service}" for service in self.spared)])


class Armed(BaseModel):
    """A fault that is set: how many calls it has covered, and how many of them it has struck."""

    fault: Fault
    covered: int = 0
    struck: int = 0


class FaultClient:
    """Sets the faults of the local cloud at `endpoint_url`. A cloud that does not answer raises httpx.HTTPError."""

    def __init__(self, endpoint_url: str) -> None:
        self._url = endpoint_url + PATH

    def add(self, fault: Fault) -> str:
        """Set a fault from now on; gives the name under which the journal has it. Raises FaultError, as for a name that is taken."""
        answer = httpx.post(self._url, json=fault.model_dump(mode="json"))
        if answer.status_code != 201:
            raise FaultError(answer.json()["message"])
        return Armed.model_validate(answer.json()).fault.name

    def active(self) -> list[Armed]:
        """The faults that are set, in the order in which they are asked."""
        return [Armed.model_validate(one) for one in httpx.get(self._url).raise_for_status().json()]

    def remove(self, name: str) -> None:
        """Take a fault back. Raises FaultError where there is none of this name."""
        answer = httpx.delete(f"{self._url}/{name}")
        if answer.status_code != 200:
            raise FaultError(answer.json()["message"])

    def clear(self) -> None:
        """Take all faults back."""
        httpx.delete(self._url).raise_for_status()

    @contextmanager
    def during(self, *faults: Fault) -> Iterator[list[str]]:
        """Have faults for the length of a with statement; gives their names."""
        names: list[str] = []
        try:
            for fault in faults:
                names.append(self.add(fault))
            yield names
        finally:
            for name in names:
                self.remove(name)


def _is_pattern(text: str) -> bool:
    return re.search(r"[*?\[]", text) is not None


def _check_known(word: str, known: Collection[str], what: str) -> None:
    if word in known or _is_pattern(word):
        return
    close = difflib.get_close_matches(word, known, 3, 0.5)
    raise ValueError(f"{word} is no {what}" + (f": is it {' or '.join(close)}?" if close else ""))
