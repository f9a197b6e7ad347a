"""What is called on AWS: a journal of real calls, and in a rehearsal a list of those that would be made, of which none is sent.

Both come from botocore's own hooks, so a module needs no code for either. `watch(session)` once, then `with journal() as calls:` or
`with rehearsal() as calls:` around the module's work; outside of both nothing is recorded. Reading calls are sent in any case.
Values of members that AWS marks as sensitive, or whose name says so, are never kept.
"""

import copy
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Final

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.response import StreamingBody
from botocore.session import Session

from dr_core.moves import text

READING: Final = ("Describe", "Get", "List", "Head")
_IAM_PREFIXES: Final = {"monitoring": "cloudwatch"}  # where IAM's prefix is not the name that signs the call
_IAM_NAMES: Final = {"lambda:Invoke": "lambda:InvokeFunction", "s3:ListObjectsV2": "s3:ListBucket"}
_SECRET_NAME: Final = re.compile(r"password|secret|authtoken|credential", re.IGNORECASE)
_HIDDEN: Final = "***"
_LONGEST_TEXT: Final = 300
_MOST_ITEMS: Final = 50
_DEEPEST: Final = 8


def is_reading(operation: str) -> bool:
    """Whether an operation, by its API name, changes nothing."""
    return operation.startswith(READING)


@dataclass(frozen=True)
class Call:
    """One call. `action` is IAM's name of it; `at` is UTC, RFC 3339; a call that was not sent has neither request id nor duration.

    `shared_by`: how many resources one reading call told of, each of which shows it; None for a call of one alone.
    """

    action: str
    region: str
    parameters: Mapping[str, object]
    at: str
    sent: bool = True
    request_id: str | None = None
    duration_ms: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    shared_by: int | None = None

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing."""
        return is_reading(self.action.partition(":")[2])

    def document(self) -> dict[str, object]:
        """The call as JSON takes it, without what is absent."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass
class Recording:
    """The calls so far, in order. `secrets` are values that must not be kept wherever they stand."""

    planning: bool
    calls: list[Call] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)

    def changing(self) -> list[Call]:
        """The calls that change something."""
        return [call for call in self.calls if not call.is_reading]

    @property
    def reads(self) -> float:
        """How many calls have been sent to read; of one that several share, a share."""
        return sum(1 / (call.shared_by or 1) for call in self.calls if call.is_reading)

    @property
    def is_apart(self) -> bool:
        """Whether what is read here is not shared with others: in a rehearsal, and where a call is sent once."""
        return self.planning or _read.get() is not None

    def worth_keeping(self, *, failed: bool) -> list[Call]:
        """The calls that change something, and if the work has failed also those that read in vain."""
        return [call for call in self.calls if not call.is_reading or (failed and call.error_code)]


_recording: ContextVar[Recording | None] = ContextVar("recording", default=None)
# What has been answered to reading calls, by service, Region, operation and parameters.
_read: ContextVar[dict[tuple[str, str, str, str], Mapping[str, Any]] | None] = ContextVar("read", default=None)


def recording() -> Recording:
    """What is recorded here; outside of both contexts one that nobody reads."""
    return _recording.get() or Recording(planning=False)


@contextmanager
def journal() -> Iterator[Recording]:
    """Within this context every call is sent and recorded."""
    with _as_current(Recording(planning=False)) as recording:
        yield recording


@contextmanager
def rehearsal() -> Iterator[Recording]:
    """Within this context calls that would change something are recorded and answered without being sent."""
    with _as_current(Recording(planning=True)) as recording:
        yield recording


@contextmanager
def reading_once() -> Iterator[None]:
    """Within this context a reading call is sent once: asked again, its answer is the same. For one session, and while nothing changes."""
    token = _read.set({})
    try:
        yield
    finally:
        _read.reset(token)


@contextmanager
def _as_current(recording: Recording) -> Iterator[Recording]:
    token = _recording.set(recording)
    try:
        yield recording
    finally:
        _recording.reset(token)


def watch(session: Session) -> None:
    """Have the calls of all clients that the session makes from now on recorded. Once for each session."""
    events = session.get_component("event_emitter")
    events.register("before-parameter-build.*.*", _begin)
    events.register_first("before-call.*.*", _answer)
    events.register("after-call.*.*", _end)
    events.register("after-call-error.*.*", _fail)


def _begin(params: Mapping[str, Any], model: OperationModel, context: dict[str, Any], **_: object) -> None:
    recording = _recording.get()
    if recording is not None:
        shown = _redacted(params, model.input_shape, recording.secrets, 0)
        context["dr_call"] = action(model), shown, text(datetime.now(UTC)), time.monotonic()
    if _read.get() is not None and is_reading(model.name) and not model.has_streaming_output:
        asked = json.dumps(params, sort_keys=True, default=repr)
        context["dr_read"] = model.service_model.service_name, str(context.get("client_region", "")), model.name, asked


def _answer(model: OperationModel, context: dict[str, Any], **_: object) -> tuple[Any, dict[str, Any]] | None:
    known = (_read.get() or {}).get(context.get("dr_read", ()))
    if known is not None:
        del context["dr_read"]
        context.pop("dr_call", None)
        return SimpleNamespace(status_code=200), copy.deepcopy(dict(known))
    recording = _recording.get()
    if recording is None or not recording.planning or is_reading(model.name):
        return None
    recording.calls.append(_call(context, sent=False))
    del context["dr_call"]
    answer = _made_up_answer(model)
    return SimpleNamespace(status_code=200), {**answer, "ResponseMetadata": {"HTTPStatusCode": 200, "RequestId": "", "RetryAttempts": 0}}


def _end(http_response: Any, parsed: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
    answers = _read.get()
    if answers is not None and "dr_read" in context and http_response.status_code < 300:
        answers[context["dr_read"]] = copy.deepcopy(parsed)
    recording = _recording.get()
    if recording is None or "dr_call" not in context:
        return
    error = parsed.get("Error", {}) if http_response.status_code >= 300 else {}
    recording.calls.append(
        _call(
            context,
            request_id=parsed.get("ResponseMetadata", {}).get("RequestId"),
            duration_ms=_since(context),
            error_code=error.get("Code"),
            error_message=_short(str(error["Message"]), recording.secrets) if "Message" in error else None,
        )
    )


def _fail(exception: Exception, context: dict[str, Any], **_: object) -> None:
    """A call that got no answer."""
    recording = _recording.get()
    if recording is None or "dr_call" not in context:
        return
    message = _short(str(exception), recording.secrets)
    recording.calls.append(_call(context, duration_ms=_since(context), error_code=type(exception).__name__, error_message=message))


def _call(context: Mapping[str, Any], **more: Any) -> Call:
    called, shown, at, _ = context["dr_call"]
    return Call(called, str(context.get("client_region", "")), shown, at, **more)


def _since(context: Mapping[str, Any]) -> int:
    """Milliseconds since the call began."""
    return round((time.monotonic() - float(context["dr_call"][3])) * 1000)


def action(model: OperationModel) -> str:
    """What IAM calls an operation."""
    return iam_action(model.service_model.signing_name, model.name)


def iam_action(service: str, operation: str) -> str:
    """What IAM calls an operation of the service that signs with that name."""
    name = f"{_IAM_PREFIXES.get(service, service)}:{operation}"
    return _IAM_NAMES.get(name, name)


def _redacted(value: Any, shape: Shape | None, secrets: set[str], depth: int) -> Any:
    """A copy fit for keeping: short, JSON, without secrets."""
    if shape is not None and shape.metadata.get("sensitive"):
        return _HIDDEN
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        members: Mapping[str, Shape] = shape.members if isinstance(shape, StructureShape) else {}
        inner = shape.value if isinstance(shape, MapShape) else None
        return {
            _short(str(key), secrets): _HIDDEN
            if _SECRET_NAME.search(str(key))
            else _redacted(child, members.get(key, inner), secrets, depth + 1)
            for key, child in list(value.items())[:_MOST_ITEMS]
        }
    if isinstance(value, list | tuple):
        inner = shape.member if isinstance(shape, ListShape) else None
        return [_redacted(child, inner, secrets, depth + 1) for child in value[:_MOST_ITEMS]]
    if isinstance(value, bool | int | float) or value is None:
        return _HIDDEN if str(value) in secrets else value
    return _document_or_text(value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value), secrets, depth)


def _document_or_text(value: str, secrets: set[str], depth: int) -> Any:
    """A text that is a JSON document, such as a function's payload, may name secrets within, or be one as a whole."""
    value = _hidden(value, secrets)
    if value.lstrip().startswith(("{", "[")):
        try:
            return _redacted(json.loads(value), None, secrets, depth + 1)
        except (ValueError, RecursionError):  # no JSON after all, or none that anybody would read
            return _short(value, secrets)
    return _short(value, secrets)


def _hidden(value: str, secrets: set[str]) -> str:
    """The text without the secrets, the longest first: one may be a part of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        value = value.replace(secret, _HIDDEN)
    return value


def _short(value: str, secrets: set[str]) -> str:
    value = _hidden(value, secrets)
    return value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}…"


def _made_up_answer(model: OperationModel) -> dict[str, Any]:
    """What a call that was not sent is answered with; a stream, such as a function's answer, says null."""
    shape = model.output_shape
    if not isinstance(shape, StructureShape):
        return {}
    stream = shape.serialization.get("payload") if model.has_streaming_output else None
    streamed = {stream: StreamingBody(BytesIO(b"null"), 4)} if stream else {}
    return {**_made_up(shape, 0), **streamed}


def _made_up(shape: Shape, depth: int) -> Any:
    """An answer that says nothing, in the shape that the operation's has: lists are empty, so that no failure is read out of them."""
    if isinstance(shape, StructureShape):
        return {name: _made_up(member, depth + 1) for name, member in shape.members.items()} if depth < _DEEPEST else {}
    match shape.type_name:
        case "list":
            return []
        case "map":
            return {}
        case "boolean":
            return False
        case "integer" | "long":
            return 0
        case "float" | "double":
            return 0.0
        case "timestamp":
            return datetime.now(UTC)
        case "blob":
            return b""
        case _:
            enum: list[str] = getattr(shape, "enum", [])
            return enum[0] if enum else "not-known-before-the-call"
