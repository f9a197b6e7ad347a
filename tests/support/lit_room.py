"""An execution that works on lamps, and executors that come and go."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from dr_core.errors import ModuleError
from dr_core.events import WakeUp
from dr_core.phases import Mode, Phase
from dr_core.records import ApprovalStatus, ExecutionStatus, LayerStatus, Resource, ResourceStatus
from dr_core.target import TargetAccess
from dr_engine.executor import Executor
from dr_engine.preflight import Preflight
from dr_modules.base import Status
from tests.support.control_plane import ID, Call, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.lamps import Lamp

LAMP = "0001-001"


class CrashError(BaseException):
    """The function dies here: nothing after it runs."""


class Room:
    """One resource, a lamp by default, requested and waiting for its executor."""

    def __init__(self, cloud: Cloud, patch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        self._patch = patch
        patch.setattr("dr_engine.opening.modules", lambda: {"Lamp": Lamp})
        patch.setattr(Lamp, "measured", [])

    def request(self, parameters: object = None, *, mode: Mode = Mode.PLANNED, phase: Phase = Phase.ACTIVATE, **values: Any) -> None:
        """The resource has been requested for the first time."""
        now = self.cloud.clock()
        execution = an_execution(status=ExecutionStatus.RUNNING, current_layer=1, started_at=now, mode=mode, phase=phase)
        layer = a_layer(status=LayerStatus.RUNNING)
        resource = a_resource(parameters=json.dumps(parameters or {}), status=ResourceStatus.REQUESTED, attempt=1, **values)
        assert self.cloud.table.create(execution, [layer], [resource], an_approval(status=ApprovalStatus.APPROVED), now)
        self.cloud.calls.clear()

    def plan(self, *parameters: object, dry_run: bool = True, **values: Any) -> None:
        """An execution has been requested, by default as a dry run; it has a lamp for each of `parameters`."""
        status = ExecutionStatus.PLANNING if dry_run else ExecutionStatus.PENDING_APPROVAL
        execution = an_execution(**{"status": status, "dry_run": dry_run, "requested_at": self.cloud.clock(), **values})
        resources = [a_resource(1, index + 1, parameters=json.dumps(given)) for index, given in enumerate(parameters)]
        approval = None if dry_run else an_approval()
        assert self.cloud.table.create(execution, [a_layer(total=len(resources))], resources, approval, self.cloud.clock())
        self.cloud.calls.clear()

    def loses(self, loss: float | ModuleError | None) -> None:
        """A failover would lose that many seconds of light, or it cannot be told."""
        self._patch.setattr(Lamp, "loss", loss)

    def watch(self, seen: Callable[[str], None]) -> None:
        """`seen` is told of each act, `before` and `after` its call."""
        self._patch.setattr(Lamp, "watch", staticmethod(seen))

    def crash(self, at: str) -> None:
        """The next executor dies at that moment of its act, the others live."""

        def once(moment: str) -> None:
            if moment == at:
                self.watch(lambda _: None)
                raise CrashError

        self.watch(once)

    def meanwhile(self, happens: Callable[[], object]) -> None:
        """It happens right after the next executor has observed the lamps, before it claims."""
        observed = Lamp.observe

        def once(lamp: Lamp, raw: object) -> Status:
            seen = observed(lamp, raw)
            self._patch.setattr(Lamp, "observe", observed)
            happens()
            return seen

        self._patch.setattr(Lamp, "observe", once)

    @property
    def preflight(self) -> Preflight:
        """It looks at what has been planned."""
        return Preflight(self.cloud.table, TargetAccess("the-role", "the-external-id"), self.cloud.clock)

    @property
    def executor(self) -> Executor:
        """One with a first check after five seconds."""
        return Executor(self.cloud.table, TargetAccess("the-role", "the-external-id"), self.cloud.clock, 5.0)

    def start(self, owner: str = "x", attempt: int = 1) -> Resource:
        """`Resource Requested` is delivered."""
        self.executor.start(WakeUp(executionId=ID, resourceId=LAMP, attempt=attempt), owner)
        return self.resource

    def check(self, check_no: int = 1, attempt: int = 1) -> Resource:
        """`Resource Waiting` is delivered."""
        self.executor.check(WakeUp(executionId=ID, resourceId=LAMP, attempt=attempt, checkNo=check_no))
        return self.resource

    @property
    def resource(self) -> Resource:
        """The resource as it is stored."""
        (found,) = self.cloud.table.resources(ID)
        return found

    @property
    def acts(self) -> list[Call]:
        """What was changed in the target account."""
        return self.cloud.made("PutParameter")

    def delays(self) -> list[tuple[str, int]]:
        """The wake-ups sent so far, each with its delay."""
        both = self.cloud.sent("CHECK_QUEUE_URL") + self.cloud.sent("ADVANCE_QUEUE_URL")
        return [(message["type"], delay) for message, delay in both]


@pytest.fixture
def room(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Lamps are the only technology; nothing is requested yet."""
    return Room(cloud, monkeypatch)
