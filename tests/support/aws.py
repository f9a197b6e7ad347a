"""An AWS for tests: moto with the local cloud's extension in this process, its clock, and a record of what was called.

What neither can show is answered by `World.answer`, inside botocore: its validation of parameters stays in force, and answers are held
against the operation's output shape.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.model import OperationModel, Shape
from botocore.validate import ParamValidator
from moto import mock_aws

from dr_core import calls
from dr_core.calls import action, is_reading, journal, watch
from dr_core.phases import Mode, Phase
from dr_core.target import Run, Target
from dr_engine.preflight import Report, rehearse
from dr_modules.base import STARTABLE, DRModule, Handle, Progress, Status
from localcloud import extension
from localcloud.extension import clock
from tests.support.control_plane import a_resource, an_execution
from tests.support.sessions import OneOfEach

STANDBY, PRIMARY = "us-west-2", "us-east-1"
ACCOUNT = "123456789012"


@dataclass(frozen=True)
class Call:
    """One call that the code under test made."""

    service: str
    operation: str
    action: str  # what IAM calls it
    region: str
    parameters: dict[str, Any]

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return not is_reading(self.operation)


@dataclass(frozen=True)
class Rehearsed:
    """An act that was first rehearsed: what was sent meanwhile, what the report says, and the changing calls that the act then made."""

    sent: list[str]
    report: Report
    made: list[calls.Call]


class CrashError(BaseException):
    """The executor dies here: what its act would have left behind is lost."""


@dataclass
class World:
    """Two Regions of one account: `module` makes what is under test, whose calls are recorded, `client` is for setting the scene."""

    time: clock.ManualClock
    calls: list[Call] = field(default_factory=list)
    only_look: bool = False  # `drive` observes, records and preflights, and does not act
    crash_after: int = 0  # the executor dies after so many changing calls, once; another goes on
    execution_id: str = "01EXECUTION"
    told: dict[object, object] = field(default_factory=dict)  # the stories whose scene is set, with their parameters
    ended: Status = field(default_factory=Status.not_started)  # how the last `drive` ended
    tell_ahead: bool = False  # `drive` rehearses each act before it acts, and keeps both in `rehearsed`
    sent: list[str] = field(default_factory=list)  # the operations that left botocore, or were answered instead
    rehearsed: list[Rehearsed] = field(default_factory=list)
    _answers: dict[tuple[str, str], tuple[dict[str, Any] | Exception, int]] = field(default_factory=dict)

    @property
    def changes(self) -> list[str]:
        """The operations called that may change something."""
        return [call.operation for call in self.calls if call.changes]

    @property
    def actions(self) -> set[str]:
        """The IAM actions of all calls."""
        return {call.action for call in self.calls}

    def client(self, service: str, region: str = STANDBY) -> Any:
        """A client that is not recorded."""
        return _scene().create_client(service, region_name=region)

    def answer(self, service: str, operation: str, response: dict[str, Any] | Exception, status: int = 200) -> None:
        """Answer every further call of `operation` with `response`, an `{"Error": …}` with its HTTP status, or an exception."""
        self._answers[service, operation] = response, status

    def forget_answers(self) -> None:
        """Let the emulator answer everything again."""
        self._answers.clear()

    def answered(self, model: OperationModel) -> tuple[Any, dict[str, Any]] | None:
        """The answer to a call, None to leave it to the emulator."""
        found = self._answers.get((model.service_model.service_name, model.name))
        if found is None:
            return None
        self.sent.append(model.name)
        response, status = found
        if isinstance(response, Exception):
            raise response
        _check(model, response)
        metadata = {"HTTPStatusCode": status, "RequestId": "answered"}
        return SimpleNamespace(status_code=status), {"ResponseMetadata": metadata, **response}

    def module(
        self,
        kind: type[DRModule[Any]],
        phase: Phase,
        mode: Mode = Mode.PLANNED,
        *,
        region: str = STANDBY,
        handles: Sequence[Handle] = (),
        attempt: int = 1,
        undoes: Sequence[Mapping[str, Any]] | None = None,
    ) -> DRModule[Any]:
        """A module as the executor makes it: for one claim or check."""
        peer = PRIMARY if region == STANDBY else STANDBY
        undone = None if undoes is None else tuple(undoes)
        run = Run(self.execution_id, "shop", phase, mode, "1#1", "the-resource", attempt, undone)
        return kind(Target(_under_test(), ACCOUNT, region, peer), run, handles)

    def drive(
        self,
        kind: type[DRModule[Any]],
        phase: Phase,
        raw: object,
        mode: Mode = Mode.PLANNED,
        *,
        region: str = STANDBY,
        handles: Sequence[Handle] = (),
        steps: int = 20,
        undoes: Sequence[Mapping[str, Any]] | None = None,
    ) -> Status:
        """What an executor does with a resource: act when a step is due, let half a minute pass, look again; until done or failed."""
        status = Status.not_started()
        if self.only_look:
            module = self.module(kind, phase, mode, region=region, handles=handles, undoes=undoes)
            module.record_before(raw)
            self._rehearse(module, phase, raw)
            return module.observe(raw)
        for _ in range(steps):
            module = self.module(kind, phase, mode, region=region, handles=handles, undoes=undoes)
            try:
                status = module.observe(raw)
                if status.progress in (Progress.DONE, Progress.FAILED):
                    if status.progress is Progress.DONE and self.tell_ahead:
                        self._rehearse_act(module, raw)
                    break
                if status.progress in STARTABLE:
                    self._rehearse(module, phase, raw)
                    self._start(module, raw)
                    handles = module.handles
            except CrashError:
                self.crash_after = 0
            self.time.advance(30)
        self.ended = status
        return status

    def _start(self, module: DRModule[Any], raw: object) -> None:
        if self.tell_ahead:
            self._rehearse_act(module, raw)
        with journal() as recording:
            module.start(raw, again=True)
        if self.tell_ahead:
            self.rehearsed[-1].made.extend(recording.changing())

    def _rehearse_act(self, module: DRModule[Any], raw: object) -> None:
        """What preflight reports of an act that is due, or of one that is done."""
        run, target = module.run, module.target
        execution = an_execution(phase=run.phase, mode=run.mode, target_region=target.region, source_region=target.peer_region)
        resource = a_resource(module=module.name, name=run.resource_name, max_lag_seconds=module.max_lag_seconds)
        before = len(self.sent)
        report = rehearse(type(module)(target, run, module.handles), raw, execution, resource)
        self.rehearsed.append(Rehearsed(self.sent[before:], report, []))

    def drill(self, kind: type[DRModule[Any]], phase: Phase, raw: object) -> list[Mapping[str, Any]]:
        """Run the phase in a drill, as far as it goes. Returns what was before it, as it is stored."""
        before: list[Mapping[str, Any]] = json.loads(json.dumps(self.module(kind, phase, Mode.DRILL).record_before(raw), default=str))
        self.drive(kind, phase, raw, Mode.DRILL)
        return before

    def take_back(self, kind: type[DRModule[Any]], raw: object, before: Sequence[Mapping[str, Any]]) -> Status:
        """Run the CLEANUP of a drill."""
        return self.drive(kind, Phase.CLEANUP, raw, Mode.DRILL, undoes=before)

    @staticmethod
    def _rehearse(module: DRModule[Any], phase: Phase, raw: object) -> None:
        """What precedes an act: preflight, and ahead of a failover the lag."""
        module.obstacles(raw)
        if phase is Phase.ACTIVATE:
            module.lag(raw)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, socket_disabled: None) -> Iterator[World]:
    """An empty account whose clock only the test moves."""
    with emulated(monkeypatch) as made:
        yield made


@contextmanager
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """moto, extended, with a clock that stands still."""
    _install()
    manual = clock.ManualClock()
    monkeypatch.setattr(clock, "now", manual)
    monkeypatch.setenv(clock.TIME_SCALE_VARIABLE, "1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", STANDBY)
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # thousands of images, a second for each test
    with mock_aws():
        _worlds.append(World(manual))
        try:
            yield _worlds[-1]
        finally:
            _worlds.pop()


_worlds: list[World] = []  # the last one is the present one; sessions and clients outlive it, making them takes longer than the calls


@cache
def _scene() -> OneOfEach:
    """For setting scenes."""
    return OneOfEach(STANDBY)


@cache
def _under_test() -> OneOfEach:
    """For the code under test."""
    session = OneOfEach(STANDBY)
    events = session.get_component("event_emitter")
    events.register("before-parameter-build.*.*", _record)
    watch(session)  # before the answers: what is not sent is not answered by them either
    events.register("after-call.*.*", _die)
    events.register_first("before-call.*.*", _answer)
    events.register_first("before-send.*.*", _send)
    return session


def _record(params: dict[str, Any], model: OperationModel, context: dict[str, Any], **_: object) -> None:
    call = Call(model.service_model.signing_name, model.name, action(model), str(context["client_region"]), dict(params))
    _worlds[-1].calls.append(call)


def _answer(model: OperationModel, **_: object) -> tuple[Any, dict[str, Any]] | None:
    return _worlds[-1].answered(model)


def _send(event_name: str, **_: object) -> None:
    _worlds[-1].sent.append(event_name.rpartition(".")[2])


def _die(model: OperationModel, **_: object) -> None:
    world = _worlds[-1]
    if world.crash_after and not is_reading(model.name):
        world.crash_after -= 1
        if world.crash_after == 0:
            raise CrashError


@cache
def _install() -> None:
    extension.install()


def error(code: str, message: str = "refused") -> dict[str, Any]:
    """An error answer."""
    return {"Error": {"Code": code, "Message": message}}


def _check(model: OperationModel, response: dict[str, Any]) -> None:
    """Raise unless the service could answer that: a modelled error, or members of the output shape and no others."""
    if "Error" in response:
        known = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
        common = {"AccessDenied", "AccessDeniedException", "Throttling", "ThrottlingException", "InternalFailure"}
        assert response["Error"]["Code"] in known | common, f"{model.name} has no error {response['Error']['Code']}"
        return
    shape: Shape | None = model.output_shape
    assert shape is not None
    report = ParamValidator().validate(response, shape)
    assert not report.has_errors(), report.generate_report()
    assert set(response) <= set(shape.members), f"{model.name} does not answer {set(response) - set(shape.members)}"  # type: ignore[attr-defined]
