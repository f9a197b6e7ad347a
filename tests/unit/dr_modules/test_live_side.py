"""The sample application's CLEANUP: it succeeds in the Region left behind, and every module refuses it in the Region that serves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from dr_core.errors import ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import DRModule, Progress, modules
from localcloud.applications import storefront
from localcloud.cloud import LocalCloud
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World

MANIFESTS = Path(__file__).parents[3] / "manifests" / "storefront"
REFUSING = ["AuroraMySQL", "EventBridge", "ECS", "AutoScaling"]


class OneAccount:
    """The emulators in this process, as the application wants to be given its cloud."""

    def __init__(self, world: World) -> None:
        self._world = world

    def client(self, service: str, region: str, account: str) -> Any:
        del account
        return self._world.client(service, region)


def resources(phase: str) -> Iterator[tuple[type[DRModule[Any]], object]]:
    """Module and parameters of each resource of the manifest, its references resolved."""
    text = (MANIFESTS / f"{phase}.json").read_text().replace("!Import StorefrontEcsCluster", "storefront")
    for layer in json.loads(text):
        for resource in layer["resources"]:
            raw = resource["parameters"]
            if isinstance(raw, dict):
                raw.pop("AccountId", None)
            yield modules()[resource["action"]], raw


def drive(world: World, phase: Phase, region: str, mode: Mode = Mode.PLANNED) -> None:
    for module, raw in resources(phase.title()):
        if module.name in REFUSING:
            assert world.drive(module, phase, raw, mode, region=region).progress is Progress.DONE, module.name


def refusals(world: World, region: str, mode: Mode) -> list[str]:
    """The modules that refuse to clean up a Region."""
    found = []
    for module, raw in resources("Cleanup"):
        made = world.module(module, Phase.CLEANUP, mode, region=region)
        with pytest.raises(ModuleError) as raised:
            made.start(raw, again=True)
        assert {one.code for one in made.obstacles(raw)} == {raised.value.code} == {"LiveSide"}
        found.append(module.name)
    return found


@pytest.fixture
def shop(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The sample application, as it is before a failover: us-east-1 serves, us-west-2 is scaled to nothing."""
    monkeypatch.setattr(storefront, "WORKLOAD_ACCOUNT", ACCOUNT)
    monkeypatch.setattr("time.sleep", lambda _: world.time.advance(30))
    storefront.create(cast(LocalCloud, OneAccount(world)))
    return world


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_a_cleanup_succeeds_after_the_failover_and_is_refused_before_it_and_in_the_wrong_region(shop: World, mode: Mode) -> None:
    assert refusals(shop, PRIMARY, mode) == REFUSING

    drive(shop, Phase.INSTANTIATE, STANDBY, mode)
    drive(shop, Phase.ACTIVATE, STANDBY, mode)
    shop.time.advance(300)
    drive(shop, Phase.CLEANUP, PRIMARY, mode)

    shop.calls.clear()
    assert refusals(shop, STANDBY, mode) == REFUSING
    assert shop.changes == []
