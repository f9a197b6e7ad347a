"""What every module is: one technology, its closed parameters, and for each phase that it has an act and a status check."""

import importlib
import pkgutil
from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from dr_core.calls import is_reading
from dr_core.errors import THROTTLES, ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_core.target import Run, Target

# What an act leaves behind for its own status check: small, stored with the resource, one for each target.
Handle = dict[str, str]


class Progress(StrEnum):
    """How far an operation has come, as the cloud itself says."""

    NOT_STARTED = "NOT_STARTED"
    NEXT_STEP = "NEXT_STEP"
    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"
    FAILED = "FAILED"


# What an act is called for, beside the failure of an earlier attempt.
STARTABLE = frozenset({Progress.NOT_STARTED, Progress.NEXT_STEP})


@dataclass(frozen=True)
class Status:
    """An observation: `detail` is a line for people, `percent` (0 to 100) and `code` are the service's, where it gives them."""

    progress: Progress
    detail: str = ""
    percent: int | None = None
    code: str | None = None

    @staticmethod
    def not_started(detail: str = "") -> "Status":
        """The goal state is not there and nothing is under way towards it."""
        return Status(Progress.NOT_STARTED, detail)

    @staticmethod
    def next_step(detail: str) -> "Status":
        """One step of several has been observed to be done, and the act must be called again for the next: no attempt is spent."""
        return Status(Progress.NEXT_STEP, detail)

    @staticmethod
    def in_progress(detail: str, percent: int | None = None) -> "Status":
        """Something is under way; also the answer for a state that the module does not know."""
        return Status(Progress.IN_PROGRESS, detail, percent)

    @staticmethod
    def done(detail: str = "") -> "Status":
        """The goal state has been observed."""
        return Status(Progress.DONE, detail, 100)

    @staticmethod
    def failed(code: str, detail: str) -> "Status":
        """The service itself says that it failed, with its own reason."""
        return Status(Progress.FAILED, detail, code=code)

    @staticmethod
    def combined(statuses: Sequence["Status"]) -> "Status":
        """One status of many: a failure shows first, then what is missing, then what is under way; done only when all are."""
        for progress in (Progress.FAILED, Progress.NOT_STARTED, Progress.NEXT_STEP, Progress.IN_PROGRESS):
            found = [status for status in statuses if status.progress is progress]
            if found:
                percents = [status.percent for status in statuses if status.percent is not None]
                percent = sum(percents) // len(percents) if len(percents) == len(statuses) else None
                return Status(progress, "; ".join(status.detail for status in found if status.detail), percent, found[0].code)
        return Status.done("; ".join(status.detail for status in statuses if status.detail))


class Severity(StrEnum):
    """How much a finding matters: with an ERROR the phase would fail if it ran now."""

    ERROR = "ERROR"
    WARNING = "WARNING"


@dataclass(frozen=True)
class PreflightFinding:
    """What stands in a phase's way, or may: `message` names the resource, what is wrong and the remedy."""

    severity: Severity
    code: str
    message: str


class ModuleParameters(BaseModel):
    """Base of every module's parameters: closed, and tolerant of numbers and booleans that arrive as strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, coerce_numbers_to_str=True)


# Field types of the models, as manifests write them: one or many, numbers and booleans also as strings.
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[
    tuple[Text, ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value], json_schema_input_type=Text | list[Text]),
]
Count = Annotated[int, Field(ge=0), BeforeValidator(lambda value: value, json_schema_input_type=int | str)]
Flag = Annotated[bool, BeforeValidator(lambda value: value, json_schema_input_type=bool | str)]


class Tag(ModuleParameters):
    """A tag, as most services write one."""

    key: str = Field(alias="Key", min_length=1, max_length=128, description="a string of 1 to 128 characters")
    value: str = Field(alias="Value", max_length=256, description='a string of at most 256 characters; may be "", true in quotes')


_TAG_LIST = TypeAdapter(list[Tag])


def _by_key(value: object) -> object:
    """Tags by key, out of either form. Raises for a list in which a key stands twice, and for what is neither form."""
    if isinstance(value, list):
        tags = _TAG_LIST.validate_python(value)  # its errors are reported at their places in the list
        if len({tag.key for tag in tags}) < len(tags):
            raise PydanticCustomError("tags", "a Key stands twice", {"remedy": "keep one tag for each Key"})
        return {tag.key: tag.value for tag in tags}
    if not isinstance(value, dict):
        remedy = 'write {"Owner": "shop"} or [{"Key": "Owner", "Value": "shop"}]'
        raise PydanticCustomError("tags", "must be an object or an array of tags", {"remedy": remedy})
    if value.keys() == {"Key", "Value"}:  # else it would be two tags, called Key and Value
        raise PydanticCustomError("tags", "this is one tag", {"remedy": 'put it into an array: [{"Key": ..., "Value": ...}]'})
    return value


def _none_of_aws(tags: dict[str, str]) -> dict[str, str]:
    if any(key.lower().startswith("aws:") for key in tags):
        raise PydanticCustomError("tags", 'a key begins with "aws:"', {"remedy": "only AWS itself makes such tags: choose another key"})
    return tags


# Tags by key; a manifest writes them as an object, or as an array of Key and Value. Limits: "Tag naming limits and requirements" of AWS.
Tags = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=256)]],
    Field(max_length=50, description='{"Owner": "shop"} or [{"Key": "Owner", "Value": "shop"}], all values strings'),
    BeforeValidator(_by_key, json_schema_input_type=dict[str, str | float] | list[Tag]),
    AfterValidator(_none_of_aws),
]

Permissions = Mapping[Phase, tuple[str, ...]]


@dataclass(frozen=True)
class NativeEvent:
    """An event that an AWS service puts on its account's default bus. `detail`: a pattern of EventBridge, where not all of them matter."""

    source: str
    detail_type: str
    detail: Mapping[str, object] = field(default_factory=dict)


P = TypeVar("P", bound=ModuleParameters)

_DENIED_PREFIXES = ("AccessDenied", "Unauthorized")
_INVALID_PREFIXES = ("Validation", "InvalidParameter", "InvalidInput", "InvalidRequest")
_TERMINAL_PREFIXES = (*_DENIED_PREFIXES, *_INVALID_PREFIXES, "OptInRequired", "NoSuch")


class DRModule(ABC, Generic[P]):
    """One technology. A module overrides the methods of the phases that it has: `<phase>` acts, `<phase>_status_check` observes.

    An act converges: it reads the present state and does only what is missing. A status check has no side effects. Both raise
    ModuleError, or let boto3's errors through: those are classed here, once.

    What nobody can observe after an act (that a function was called, a change's id) the act returns as a handle. Handles are
    kept with the resource over checks, attempts and takeovers; the check of the same target finds its own in `self.handle`. One
    is lost when an executor dies between act and record: a check without it must not report done for lack of anything to look at.
    """

    name: ClassVar[str]
    parameters_model: ClassVar[type[ModuleParameters]]
    permissions: ClassVar[Permissions]  # the actions that the module calls
    # Actions that AWS asks of the caller although the module never calls them, such as the use of a key.
    implied_permissions: ClassVar[Permissions] = {}
    # Actions that its status checks call although their names do not say that they only read, such as asking a function.
    observing: ClassVar[Permissions] = {}
    irreversible: ClassVar[frozenset[Phase]] = frozenset()
    # The phases, of INSTANTIATE and ACTIVATE, that a drill runs: they leave production untouched. `undo` takes back what they did.
    drills: ClassVar[frozenset[Phase]] = frozenset()
    # AWS's own events that say that work has moved on: each is a reason to look, and no more.
    native_events: ClassVar[tuple[NativeEvent, ...]] = ()
    # The keys, in parameters, handles and `before`, of the names by which such an event calls what the resource is about.
    named_in_events: ClassVar[tuple[str, ...]] = ()
    check_cap_seconds: ClassVar[int] = 15
    timeout_seconds: ClassVar[int] = 900
    timeouts: ClassVar[Mapping[Phase, int]] = {}  # of the phases that take longer
    terminal_codes: ClassVar[frozenset[str]] = frozenset()  # error codes of this technology that no retry can mend
    # Longer than any call that an act makes can last (dr_core.target's time-outs), so that two executors never act at once.
    lease_seconds: ClassVar[int] = 120
    max_attempts: ClassVar[int] = 3
    # Seconds of data that a planned ACTIVATE may find not yet replicated, where the manifest does not say (`maxLagSeconds`).
    max_lag_seconds: ClassVar[int] = 60

    def __init__(self, target: Target, run: Run, handles: Sequence[Mapping[str, str]] = ()) -> None:
        """`handles`: what earlier acts on this resource left behind, by position of the target."""
        self.target = target
        self.run = run
        self.handles: list[Handle] = [dict(handle) for handle in handles]
        self.position = 0  # of the target at hand, in the manifest's list of parameters

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            arguments = get_args(base)
            if arguments and isinstance(arguments[0], type):
                cls.parameters_model = arguments[0]

    # The specification's eight methods.
    def instantiate(self, parameters: P) -> Handle | None:
        """Prewarm the standby."""
        raise NotImplementedError

    def instantiate_status_check(self, parameters: P) -> Status:
        """Observe the prewarming."""
        raise NotImplementedError

    def activate(self, parameters: P) -> Handle | None:
        """Make the standby the primary."""
        raise NotImplementedError

    def activate_status_check(self, parameters: P) -> Status:
        """Observe the failover."""
        raise NotImplementedError

    def cleanup(self, parameters: P) -> Handle | None:
        """Remove what is left in the old primary; refuses to destroy the live side."""
        raise NotImplementedError

    def cleanup_status_check(self, parameters: P) -> Status:
        """Observe the removal."""
        raise NotImplementedError

    def replicate(self, parameters: P) -> Handle | None:
        """Rebuild replication towards the target Region."""
        raise NotImplementedError

    def replicate_status_check(self, parameters: P) -> Status:
        """Observe the replication."""
        raise NotImplementedError

    def undo(self, parameters: P) -> Handle | None:
        """Take back what a drill's act did, as far as it still stands; `before_drill` says what was before it. Has a guard of its own."""
        raise NotImplementedError

    def undo_status_check(self, parameters: P) -> Status:
        """Observe that: done when nothing is left of what the drill did."""
        raise NotImplementedError

    @classmethod
    def not_undone(cls, raw: Mapping[str, object]) -> str:
        """Why the CLEANUP of a drill leaves this target alone, in words for people; empty where `undo` takes it back. `raw`: as stored."""
        del raw
        return ""

    def before(self, parameters: P) -> Mapping[str, object]:
        """What must be known of the world before the first act, for a rollback by people; stored with the resource."""
        del parameters
        return {}

    def guard(self, parameters: P) -> None:
        """Raise ModuleError where the act must not run now, such as against the live side. Reads only; every act begins with it."""
        del parameters

    def preflight(self, parameters: P) -> Iterable[PreflightFinding]:
        """What else could keep the phase from succeeding: permissions, state, capacity, quotas, replication. Reads only.

        `guard` has passed, and the status check said that there is something to do. May raise ModuleError: an ERROR of its own.
        """
        del parameters
        return ()

    def lag_seconds(self, parameters: P) -> float | None:
        """Seconds of data that this target would lose if it became the primary now; None where nothing is replicated. ACTIVATE only.

        Reads only, and in an unplanned run only in the target Region. Raises ModuleError when it cannot be told.
        """
        del parameters
        return None

    @classmethod
    def check_parameters(cls, phase: Phase, parameters: P) -> list[tuple[str, str, str]]:
        """What `phase` needs of one target beyond the closed model: (key, what is wrong, remedy) for each problem."""
        del phase, parameters
        return []

    def act(self, due: Mapping[int, P]) -> None:
        """Act on the targets `due`, by position, one after the other. A module whose API takes several at once overrides this."""
        self._one_after_the_other(due, getattr(self, self.run.phase.lower()))

    # What modules use.
    @property
    def handle(self) -> Handle:
        """What the last act on the target at hand left behind; empty if there was none or it was lost."""
        return self.handles[self.position] if self.position < len(self.handles) else {}

    @property
    def before_drill(self) -> Mapping[str, Any]:
        """In `undo` and its check: what the drill's act found of the target at hand before it, as `before` told it then."""
        return (self.run.undoes or ())[self.position]

    @property
    def is_undoing(self) -> bool:
        """Whether this run takes back what a drill did."""
        return self.run.undoes is not None

    def keep(self, position: int, handle: Handle | None) -> None:
        """Keep what an act on the target at `position` left behind."""
        self.handles += [{} for _ in range(position + 1 - len(self.handles))]
        self.handles[position] = handle or {}

    def client(self, service: str, config: Config | None = None) -> Any:
        """A boto3 client in the target Region."""
        return self.target.client(service, config=config)

    def peer_client(self, service: str) -> Any:
        """A boto3 client in the other Region. Raises ModuleError in an unplanned run: nothing calls a Region that may be dark.

        CLEANUP may call it in every mode: its other Region is the one that serves now, and only that one can show that it does.
        """
        if self.run.mode is Mode.UNPLANNED and self.run.phase is not Phase.CLEANUP:
            raise self.error("SourceRegionNotCalled", f"an unplanned run never calls {self.target.peer_region}")
        return self.target.client(service, region=self.target.peer_region)

    def error(self, code: str, message: str, error_class: ErrorClass = ErrorClass.TERMINAL) -> ModuleError:
        """A ModuleError that names the resource; `message` says what is wrong and the remedy."""
        return ModuleError(code, f"{self.run.resource_name} ({self.name}): {message}", error_class)

    def warning(self, code: str, message: str) -> PreflightFinding:
        """A finding of preflight that need not keep the phase from succeeding; `message` says what is wrong and the remedy."""
        return PreflightFinding(Severity.WARNING, code, f"{self.run.resource_name} ({self.name}): {message}")

    def obstacle(self, code: str, message: str) -> PreflightFinding:
        """A finding of preflight with which the phase would fail; `message` says what is wrong and the remedy."""
        return PreflightFinding(Severity.ERROR, code, f"{self.run.resource_name} ({self.name}): {message}")

    def refuse_drill(self, what: str) -> None:
        """Raise ModuleError in a drill, which leaves production untouched."""
        if self.run.mode is Mode.DRILL:
            raise self.error("RefusedInDrill", f"a drill does not {what}: this resource is left out of drills")

    # What the orchestrator calls.
    @classmethod
    def phases(cls) -> frozenset[Phase]:
        """The phases that this module has: those whose act it overrides."""
        return frozenset(phase for phase in Phase if getattr(cls, phase.lower()) is not getattr(DRModule, phase.lower()))

    @classmethod
    def parse(cls, raw: object) -> list[P]:
        """The parameters of a manifest resource, one object or a list, each validated. Raises pydantic's ValidationError."""
        items = raw if isinstance(raw, list) else [raw]
        return [cls.parameters_model.model_validate(item) for item in items]  # type: ignore[misc]

    @classmethod
    def actions(cls, phase: Phase) -> tuple[str, ...]:
        """The IAM actions that the module needs for `phase`."""
        return cls.permissions[phase] + cls.implied_permissions.get(phase, ())

    @classmethod
    def read_actions(cls, phase: Phase) -> tuple[str, ...]:
        """Those of `actions` that change nothing: what checks and preflight may call."""
        observing = cls.observing.get(phase, ())
        return tuple(action for action in cls.permissions[phase] if is_reading(action.partition(":")[2]) or action in observing)

    @classmethod
    def attempts(cls, phase: Phase) -> int:
        """How often the orchestrator tries `phase` by itself: what cannot be taken back is tried again only by a person."""
        return 1 if phase in cls.irreversible else cls.max_attempts

    @classmethod
    def timeout(cls, phase: Phase) -> int:
        """Seconds after which `phase` has failed, where the manifest does not say."""
        return cls.timeouts.get(phase, cls.timeout_seconds)

    def observe(self, raw: object) -> Status:
        """The status of all targets of a resource, combined. Raises ModuleError, classed."""
        with _classed(self):
            return Status.combined([status for _, status in self._statuses(raw)])

    def start(self, raw: object, *, again: bool) -> None:
        """Act on every target that is not yet done or under way. Raises ModuleError, classed.

        `again`: also act on targets whose last operation failed, as a fresh attempt does. Afterwards, also when an error was
        raised half-way, `handles` holds what must be stored with the resource.
        """
        startable = STARTABLE | {Progress.FAILED} if again else STARTABLE
        self._refuse_if_no_drill()
        with _classed(self):
            due = {position: item for position, (item, status) in enumerate(self._statuses(raw)) if status.progress in startable}
            if self.is_undoing:
                self._one_after_the_other(due, self.undo)
            else:
                self.act(due)

    def lag(self, raw: object) -> float | None:
        """The largest lag of all targets that are not done, in seconds; None where nothing is replicated. Raises ModuleError, classed."""
        with _classed(self):
            found = []
            for item, status in self._statuses(raw):
                if status.progress is not Progress.DONE and (lag := self.lag_seconds(item)) is not None:
                    found.append(lag)
            return max(found, default=None)

    def record_before(self, raw: object) -> list[Mapping[str, object]]:
        """`before` of every target. Raises ModuleError, classed."""
        with _classed(self):
            return [self.before(item) for item in self.parse(raw)]

    def obstacles(self, raw: object) -> list[PreflightFinding]:
        """What stands in the phase's way now, everything that reading can tell; a target that is done or under way has nothing."""
        found: list[PreflightFinding] = []
        for position, item in enumerate(self.parse(raw)):
            try:
                with _classed(self):
                    status = self._status(position, item)
                    if status.progress in (Progress.DONE, Progress.IN_PROGRESS):
                        continue
                    self._refuse_if_no_drill()
                    if not self.is_undoing:  # what an undo refuses shows when it is rehearsed
                        self.guard(item)
                        found.extend(self.preflight(item))
            except ModuleError as error:
                found.append(PreflightFinding(Severity.ERROR, error.code, error.message))
        return list(dict.fromkeys(found))  # what holds for several targets is said once

    def _refuse_if_no_drill(self) -> None:
        if self.run.phase not in self.drills and not self.is_undoing:
            self.refuse_drill(f"run {self.run.phase} on it")

    def _one_after_the_other(self, due: Mapping[int, P], act: Callable[[P], Handle | None]) -> None:
        for position, item in due.items():
            self.position = position
            self.keep(position, act(item))

    def _statuses(self, raw: object) -> list[tuple[P, Status]]:
        """Each target with its status."""
        return [(item, self._status(position, item)) for position, item in enumerate(self.parse(raw))]

    def _status(self, position: int, item: P) -> Status:
        self.position = position
        check: Callable[[P], Status] = (
            self.undo_status_check if self.is_undoing else getattr(self, f"{self.run.phase.lower()}_status_check")
        )
        return check(item)


class _classed:
    """Turns boto3's errors into ModuleErrors that name the resource, and classes them."""

    def __init__(self, module: DRModule[Any]) -> None:
        self._module = module

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        where = f"{self._module.run.resource_name} ({self._module.name})"
        if isinstance(error, ClientError):
            raise classify(error, where, self._module.terminal_codes) from error
        if isinstance(error, BotoCoreError):
            # The connection may have broken after the request was carried out: only an observation can tell.
            ambiguous = isinstance(error, (ConnectionError, HTTPClientError))
            error_class = ErrorClass.AMBIGUOUS if ambiguous else ErrorClass.RETRYABLE
            raise ModuleError(type(error).__name__, f"{where}: {error}", error_class) from error
        if isinstance(error, ValidationError):
            # Without the values, of which one may be a secret.
            found = error.errors(include_input=False, include_url=False)
            wrong = "; ".join(f"{'.'.join(str(step) for step in each['loc'])}: {each['msg']}" for each in found)
            raise ModuleError("InvalidParameters", f"{where}: {wrong}") from None


def classify(error: ClientError, where: str, terminal_codes: frozenset[str] = frozenset()) -> ModuleError:
    """A ClientError as a ModuleError: `where` names the resource, the message the call and the service's own words."""
    code = error.response["Error"]["Code"]
    metadata = error.response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    message = f"{where}: {error.operation_name}: {error.response['Error'].get('Message', '')}"
    if code.startswith(_DENIED_PREFIXES):
        message += ". Allow the action to the execution role of that account (deploy/TargetAccountsAssumeRole.yaml)"
    if code in THROTTLES:
        error_class = ErrorClass.THROTTLED
    elif code.startswith(_TERMINAL_PREFIXES) or "NotFound" in code or code in terminal_codes:
        error_class = ErrorClass.TERMINAL
    elif status >= 500:
        error_class = ErrorClass.AMBIGUOUS
    else:
        error_class = ErrorClass.RETRYABLE
    return ModuleError(code, message, error_class, metadata.get("RequestId"))


_registry: dict[str, type[DRModule[Any]]] = {}

M = TypeVar("M", bound=type[DRModule[Any]])


def register(name: str) -> Callable[[M], M]:
    """Class decorator: the module answers to `name`, the manifest's `action`."""

    def add(cls: M) -> M:
        if name in _registry:
            raise ValueError(f"two modules are called {name}: {_registry[name].__module__} and {cls.__module__}")
        cls.name = name
        _registry[name] = cls
        return cls

    return add


@cache
def modules() -> Mapping[str, type[DRModule[Any]]]:
    """Every module by name, found by walking this package."""
    package = importlib.import_module("dr_modules")
    for info in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"dr_modules.{info.name}")
    return dict(sorted(_registry.items()))
