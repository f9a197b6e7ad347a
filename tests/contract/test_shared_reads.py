"""What modules read of many resources in one call: ten that are checked at once come out as each alone, in fewer calls."""

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

import dr_modules
from dr_core.calls import Recording, journal
from dr_core.errors import ModuleError
from dr_core.phases import Phase
from dr_modules import _drs
from dr_modules._listed import Listed
from dr_modules.base import Progress, modules
from tests.support import compute_scenes, drs_scenes, scenes
from tests.support.aws import World, emulated
from tests.support.meeting import at_once

_TEN = range(10)
_MISSING = 4


@dataclass(frozen=True)
class Ten:
    """Resources of one module, in different states, one of them not there; the calls of their checks together, and how many one by one."""

    module: str
    phase: Phase
    scene: Callable[[World], None]
    raw: Callable[[int], dict[str, object]]
    calls: dict[str, int]
    one_by_one: int


def _services(world: World) -> None:
    ecs = scenes.service(world)
    for number in _TEN:
        if number != _MISSING:
            ecs.create_service(cluster="prod", serviceName=f"api-{number}", taskDefinition="api", desiredCount=number % 3)
    world.time.advance(120)
    for number in (1, 3, 5):
        world.client("application-autoscaling").register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/prod/api-{number}",
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=number,
            MaxCapacity=10,
        )


def _service(number: int) -> dict[str, object]:
    name = f"arn:aws:ecs:us-west-2:123456789012:service/prod/api-{number}" if number == 7 else f"api-{number}"
    return {"EcsClusterName": "prod", "EcsServiceName": name, "EcsDesiredSize": 1, "EcsAsgMinSize": 1}


def _instances(world: World) -> None:
    for number in _TEN:
        if number != _MISSING:
            compute_scenes.host(world, f"web-{number}", "running" if number % 2 else "stopped")


def _groups(world: World) -> None:
    for number in _TEN:
        if number != _MISSING:
            scenes.group(world, f"workers-{number}", (0, number % 3, 4))


def _servers(world: World) -> None:
    ids = drs_scenes.servers(world, *(f"web-{number}" for number in _TEN if number != _MISSING))
    drs_scenes.recover(world, ids["web-1"], ids["web-2"], tags={"dr:application": "shop"})
    world.client("drs").start_recovery(sourceServers=[{"sourceServerID": ids["web-3"]}])


EVERY = [
    Ten("ECS", Phase.INSTANTIATE, _services, _service, {"DescribeServices": 1, "DescribeScalableTargets": 1}, 19),
    Ten(
        "EC2",
        Phase.ACTIVATE,
        _instances,
        lambda number: {"Orchestrator_HostNames": [f"web-{number}"]},
        {"DescribeInstances": 1, "DescribeInstanceStatus": 1},
        15,
    ),
    Ten(
        "AutoScaling",
        Phase.INSTANTIATE,
        _groups,
        lambda number: {"Autoscalinggroupnames": [f"workers-{number}"], "DesiredCount": 1},
        {"DescribeAutoScalingGroups": 1},
        10,
    ),
    Ten(
        "DRS",
        Phase.ACTIVATE,
        _servers,
        lambda number: {"HostNames": [f"web-{number}"]},
        {"DescribeSourceServers": 1, "DescribeRecoveryInstances": 1, "DescribeJobs": 1},
        28,
    ),
]


def _check(world: World, ten: Ten, number: int) -> tuple[object, Recording]:
    """What a check makes of one of them, as an executor runs it."""
    module = world.module(modules()[ten.module], ten.phase)
    with journal() as calls:
        try:
            return module.observe(ten.raw(number)), calls
        except ModuleError as error:
            return (error.code, error.message, error.error_class), calls


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, socket_disabled: None) -> Iterator[World]:
    """An empty account, in a minute of which each look at the clock takes a second."""
    minute, seconds = datetime.now(UTC).replace(second=0), count()
    monkeypatch.setattr(_drs, "utc_now", lambda: minute + timedelta(seconds=next(seconds) % 60))
    with emulated(monkeypatch) as made:
        yield made


@pytest.mark.parametrize("ten", EVERY, ids=lambda ten: ten.module)
def test_ten_that_are_checked_at_once_come_out_as_each_alone_in_fewer_calls(
    world: World, monkeypatch: pytest.MonkeyPatch, ten: Ten
) -> None:
    ten.scene(world)
    alone = [_check(world, ten, number)[0] for number in _TEN]
    assert isinstance(alone[_MISSING], tuple) and all(not isinstance(one, tuple) for one in alone[:_MISSING] + alone[_MISSING + 1 :])
    assert len({getattr(one, "progress", Progress.FAILED) for one in alone}) > 2, "they are not all alike"
    assert len(world.calls) == ten.one_by_one
    world.calls.clear()

    work = [lambda number=number: _check(world, ten, number) for number in _TEN]
    found = [one.result() for one in at_once(monkeypatch, *work)]

    assert [outcome for outcome, _ in found] == alone
    assert Counter(call.operation for call in world.calls) == ten.calls
    assert sum(calls.reads for _, calls in found) == pytest.approx(len(world.calls)), "each counts its share"
    for number, (_, calls) in enumerate(found):
        shared = [call.shared_by for call in calls.calls]
        assert shared and min(one or 1 for one in shared) > 1, "each shows the calls that told of it"
        assert len(shared) == (1 if number == _MISSING else len(alone_calls(ten, number)))


def alone_calls(ten: Ten, number: int) -> list[str]:
    """The operations that tell of one that is there: of an instance that does not run no status checks are asked for."""
    return [name for name in ten.calls if name != "DescribeInstanceStatus" or number % 2]


def test_every_reading_call_that_may_be_shared_is_held_to_it() -> None:
    declared = set()
    for info in pkgutil.iter_modules(dr_modules.__path__):
        found = vars(importlib.import_module(f"dr_modules.{info.name}")).values()
        declared |= {one.operation.replace("_", "") for one in found if isinstance(one, Listed)}
    assert declared == {name.lower() for ten in EVERY for name in ten.calls}
