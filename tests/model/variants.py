"""The searches: scopes in which the protocol must hold, and mutations of it that must be caught."""

from dataclasses import replace

from dr_core.records import ApprovalStatus, Change, Kind, Move, ResourceStatus, State
from dr_core.triggers import Claim, Wake
from tests.model.checker import Result, check
from tests.model.facts import really
from tests.model.protocol import Counted, Mutation, Protocol, Variant
from tests.model.safety import Properties


def search(variant: Variant) -> Result:
    """Search all states of the variant."""
    protocol = Protocol(variant)
    properties = Properties(protocol)
    return check(protocol.start(), protocol.steps, properties.unsafe, properties.settled)


def without(move: Move | None, name: str, *kinds: Kind) -> Move | None:
    """The move with one guard taken out of its conditions."""

    def open_up(change: Change) -> Change:
        if change.kind not in kinds:
            return change
        return replace(change, expected={key: value for key, value in change.expected.items() if key != name})

    return move and replace(move, changes=tuple(map(open_up, move.changes)))


def without_epoch(state: State, trigger: object) -> Move | None:
    """A layer closes although somebody re-opened it since it was read."""
    return without(really(state, trigger), "epoch", Kind.LAYER)  # type: ignore[arg-type]


def without_attempt(state: State, trigger: object) -> Move | None:
    """A claim takes whatever attempt there is."""
    if not isinstance(trigger, Claim):
        return really(state, trigger)  # type: ignore[arg-type]
    resource = state.resource(trigger.resource_id)
    present = trigger if resource is None else replace(trigger, attempt=resource.attempt)
    return without(really(state, present), "attempt", Kind.RESOURCE)


def without_lease(state: State, trigger: object) -> Move | None:
    """A claim holds whoever has claimed since the resource was read."""
    move = really(state, trigger)  # type: ignore[arg-type]
    return without(move, "lease_owner", Kind.RESOURCE) if isinstance(trigger, Claim) else move


def counting(state: State, trigger: object) -> Move | None:
    """A layer closes when as many endings were counted as it has resources, whoever ended."""
    if not isinstance(trigger, Counted):
        return really(state, trigger)  # type: ignore[arg-type]
    resources, layer = state.resources, state.layer(state.execution.current_layer)
    if layer is None or any(r.status.is_failure for r in resources):
        return really(state, Wake())
    if trigger.endings >= layer.total:
        resources = tuple(replace(r, status=ResourceStatus.SUCCEEDED) for r in resources)
    elif all(r.status.is_terminal for r in resources):
        return None
    return really(replace(state, resources=resources), Wake())


def without_asking(state: State, trigger: object) -> Move | None:
    """A layer opens as any other, although it is to wait for people."""
    return really(replace(state, layers=tuple(replace(layer, approval_seconds=None) for layer in state.layers)), trigger)  # type: ignore[arg-type]


def by_any_approval(state: State, trigger: object) -> Move | None:
    """What was approved once counts for each layer."""
    waits, approval = state.execution.status == "PENDING_APPROVAL", state.approval
    if approval is None or not approval.layer or not waits:
        return really(state, trigger)  # type: ignore[arg-type]
    approved = replace(state, approval=replace(approval, status=ApprovalStatus.APPROVED))
    return without(really(approved, trigger), "status", Kind.APPROVAL)  # type: ignore[arg-type]


# Small enough to be searched with every run of the tests; `python -m tests.model` takes bigger ones.
SCOPES: dict[str, Variant] = {
    "base": Variant(crash=1, broken=1, retry=1),
    "takeovers": Variant(layers=(1,), crash=3, broken=1),
    "people": Variant(crash=1, broken=1, retry=1, skip=1, pause=1, gap=0),
    "lossy": Variant(network="lossy", crash=1, broken=1, retry=1, gap=0),
    "lossy, stale": Variant(layers=(1,), network="lossy", crash=1, broken=1, cancel=1, pause=1),
    "cancel": Variant(layers=(2,), crash=1, broken=1, cancel=1, pause=1),
    "deadline": Variant(layers=(2,), crash=1, deadline=1, retry=1),
    "automatic retries": Variant(layers=(2,), broken=2, max_attempts=2, retry=1),
    "steps": Variant(layers=(1,), step=2, crash=1),
    "steps and people": Variant(layers=(1,), step=1, crash=1, cancel=1, pause=1),
    "steps that fail": Variant(layers=(1,), step=1, crash=1, broken=1, deadline=1, retry=1),
    "fail fast": Variant(layers=(2,), policy="failFast", broken=1, max_attempts=2, retry=1, crash=1),
    "abandon and force": Variant(layers=(2,), crash=1, pause=1, abandon=1, force_complete=1, repoll=1),
    "approval": Variant(layers=(1,), votes=True, cancel=1, network="lossy"),
    "approval before a layer": Variant(layers=(1, 1), asks=(2,), cancel=1, network="lossy"),
    "approval before a layer that failed": Variant(layers=(1, 1), asks=(2,), broken=1, retry=1, crash=1),
}

# Each protection of the protocol taken away, and what must come of it.
MUTANTS: dict[str, tuple[Variant, str]] = {
    "counter join": (Variant(mutation=Mutation(counting, counts_endings=True)), "is open while an earlier one is not done"),
    "no epoch fence on close": (
        Variant(layers=(2,), broken=1, retry=1, mutation=Mutation(without_epoch)),
        "FAILED without a failed resource",
    ),
    "claim not fenced by attempt": (Variant(layers=(1,), broken=1, retry=1, mutation=Mutation(without_attempt)), "two acts in one attempt"),
    "claim not fenced by lease": (Variant(layers=(1,), crash=1, mutation=Mutation(without_lease)), "two executors hold one resource"),
    "claim on a read after the look": (
        Variant(layers=(1,), crash=2, mutation=Mutation(claims_on_a_later_read=True)),
        "two acts in one attempt",
    ),
    "an owner comes again": (Variant(layers=(1,), crash=2, mutation=Mutation(owners_come_again=True)), "two executors hold one resource"),
    "lease shorter than the time-out": (Variant(layers=(1,), mutation=Mutation(lease_too_short=True)), "two acts in one attempt"),
    "takeover acts on what failed": (
        Variant(layers=(1,), crash=1, broken=1, mutation=Mutation(takeover_acts_on_failed=True)),
        "two acts in one attempt",
    ),
    "takeover takes the next step": (
        Variant(layers=(1,), crash=1, step=1, mutation=Mutation(takeover_takes_next_step=True)),
        "two acts in one attempt",
    ),
    "a layer opens without asking": (
        Variant(layers=(1, 1), asks=(2,), mutation=Mutation(without_asking)),
        "layer 2 is open and nobody has approved it",
    ),
    "one approval for all layers": (
        Variant(layers=(1, 1), asks=(2,), mutation=Mutation(by_any_approval)),
        "layer 2 is open and nobody has approved it",
    ),
    "no sweep on a lossy network": (Variant(network="lossy", gap=0, mutation=Mutation(sweeps=False)), "stuck"),
}
