"""A drill, seen from an application's past: which Region it must leave alone, and what of earlier drills its CLEANUP takes back."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from dr_core.application import FILE_NAME, Application
from dr_core.errors import InvalidInputError, Problem
from dr_core.phases import Mode, Phase
from dr_core.records import ExecutionStatus, Layer, LayerStatus, Resource, ResourceStatus
from dr_core.requests import ExecutionRequested
from dr_core.state import Listed, Table
from dr_engine.plan import Modules, Plan, as_stored, resource_id

# The newest executions of an application among which is looked: more than half a year of two scheduled preflights a day.
_LOOKED_AT = 400
_MOST_LAYERS = 80  # of the 100 actions of the transaction that creates an execution
_SUCCEEDED = (ExecutionStatus.SUCCEEDED, ExecutionStatus.SUCCEEDED_WITH_FAILURES)


@dataclass(frozen=True)
class Past:
    """An application's executions that opened a layer, newest first; dry runs and refusals are not among them."""

    runs: tuple[Listed, ...]

    @staticmethod
    def of(table: Table, application: str) -> "Past":
        """As the table lists it: an execution that ended within the last second may still be shown as it was before."""
        return Past(tuple(one for one in table.history(application, _LOOKED_AT) if one.started_at is not None and not one.dry_run))

    def live_region(self, registered: Application | None) -> tuple[str, str] | None:
        """The Region where the application runs, and who says so: the last failover, else its registration. None if nobody does."""
        for one in self.runs:
            if one.phase == Phase.ACTIVATE and one.mode != Mode.DRILL and one.status in _SUCCEEDED:
                return one.target_region, f"execution {one.id} has activated it there"
        return (registered.regions.primary, f"{FILE_NAME} calls it the primary") if registered else None

    def to_undo(self, region: str) -> tuple[list[Listed], Listed | None]:
        """The drills in `region` that nothing has taken back since, newest first, and the real execution after which there are no more.

        A real execution makes whatever stands there its own.
        """
        found: list[Listed] = []
        for one in self.runs:
            if one.mode != Mode.DRILL:
                return found, one
            if one.target_region != region:
                continue
            if one.phase == Phase.CLEANUP:
                if one.status == ExecutionStatus.SUCCEEDED:
                    break
            else:
                found.append(one)
        return found, None


def refuse_live(table: Table, request: ExecutionRequested, registered: Application | None) -> None:
    """Raise InvalidInputError where a drill would act on the Region in which the application runs."""
    live = Past.of(table, request.application).live_region(registered)
    if live and live[0] == request.target_region:
        what = f"{request.application} runs in {request.target_region} ({live[1]}): a drill leaves that Region alone"
        raise _refused("targetRegion", what, "name the Region that stands by")


def undoing(table: Table, request: ExecutionRequested, modules: Modules) -> tuple[Plan, str]:
    """What a drill's CLEANUP does, in place of a manifest, and its SHA-256: the newest act is taken back first.

    Raises InvalidInputError when there is nothing to take back.
    """
    drills, since = Past.of(table, request.application).to_undo(request.target_region)
    layers: list[Layer] = []
    resources: list[Resource] = []
    for drill in drills:
        acted = [one for one in table.resources(drill.id) if one.before is not None]
        for _, together in groupby(reversed(acted), key=lambda one: one.layer):
            number = len(layers) + 1
            parts = [part for one in sorted(together, key=lambda one: one.id) for part in _parts(one, modules)]
            resources += [replace(part, id=resource_id(number, position), layer=number) for position, part in enumerate(parts, start=1)]
            layers.append(Layer(number, LayerStatus.PENDING, 0, len(parts)))
    if not layers:
        what = f"no drill of {request.application} in {request.target_region} has left anything to take back"
        if since is not None:
            what += f" since execution {since.id} ({since.phase}, {since.mode}), to which belongs what stands there"
        raise _refused("mode", what, f"nothing is to be done; drctl executions {request.application} shows what has run")
    if len(layers) > _MOST_LAYERS:
        what = f"the drills of {request.application} in {request.target_region} have left {len(layers)} layers to take back"
        raise _refused("mode", what, f"at most {_MOST_LAYERS} can be: clean up by hand, then run a planned phase there")
    return Plan(tuple(layers), tuple(resources)), _digest(resources)


def _parts(acted: Resource, modules: Modules) -> Iterator[Resource]:
    """What is to be done about one resource of a drill: its targets that are taken back, and those that are left, with the reason."""
    module = modules.get(acted.module)
    raw, before = json.loads(acted.parameters), json.loads(acted.before or "[]")
    targets: Sequence[Mapping[str, object]] = raw if isinstance(raw, list) else [raw]
    reasons = [module.not_undone(one) if module else f"this version has no module {acted.module}" for one in targets]
    taken_back = [position for position, reason in enumerate(reasons) if not reason]
    new = Resource(
        id="",
        layer=0,
        name=acted.name,
        module=acted.module,
        account=acted.account,
        parameters=acted.parameters,
        status=ResourceStatus.PENDING,
        attempt=0,
        check_no=0,
        spent=0,
        max_attempts=module.max_attempts if module else 1,
        timeout_seconds=module.timeout(Phase.CLEANUP) if module else 1,
        lease_seconds=acted.lease_seconds,
        peers=acted.peers,
    )
    if taken_back:
        chosen = [targets[position] for position in taken_back]
        yield replace(new, parameters=as_stored(chosen), undoes=as_stored([before[position] for position in taken_back]))
    if len(taken_back) < len(targets):
        left = [one for one, reason in zip(targets, reasons, strict=True) if reason]
        why = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        yield replace(new, parameters=as_stored(left), status=ResourceStatus.SKIPPED, detail=why)


def _digest(resources: Sequence[Resource]) -> str:
    told = [[one.layer, one.name, one.module, one.account, one.parameters, one.undoes, one.detail] for one in resources]
    return hashlib.sha256(as_stored(told).encode()).hexdigest()


def _refused(key: str, what: str, remedy: str) -> InvalidInputError:
    return InvalidInputError([Problem("Execution Requested", "", "", key, what, remedy)])
