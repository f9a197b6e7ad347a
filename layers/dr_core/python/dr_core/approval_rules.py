"""The rules of an approval: who may vote, what a vote leads to, when it is over. Pure, like `execution`, which calls them.

A person counts once, under whatever identity they come; the requester does not count at all; one rejection ends it.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from dr_core.commands import NotAllowedError
from dr_core.moves import LOST_AFTER, end, if_still, on_approval, on_execution, on_layer, text
from dr_core.records import (
    Approval,
    ApprovalStatus,
    Approver,
    Ballot,
    Change,
    Channel,
    DetailType,
    Event,
    ExecutionStatus,
    Layer,
    LayerStatus,
    Move,
    State,
)
from dr_core.triggers import Asked, Expire, TokenHeld, Vote

_LONGEST_REASON = 500
# Shares of the time to decide, in %, after which people are reminded; from this one on those of the escalation list are asked too.
REMINDERS = (25, 50, 75)
ESCALATED = 50

# --- who ---


def person(approval: Approval, channel: Channel, identity: str) -> str | None:
    """The name of the person whom `channel` knows as `identity`; without configured approvers whoever it lets in. None if nobody."""
    if not approval.approvers:
        return identity or None
    return next((one.name for one in approval.approvers if _same(identity, _known_as(one, channel))), None)


def _known_as(one: Approver, channel: Channel) -> tuple[str | None, ...]:
    by_channel: dict[Channel, tuple[str | None, ...]] = {
        "page": (one.name,),
        "slack": (one.slack_user_id,),
        "iam": (one.principal,),
        "oidc": (one.subject, one.email),
    }
    return by_channel[channel]


def _same(identity: str, known: tuple[str | None, ...]) -> bool:
    return bool(identity) and any(one is not None and one.casefold() == identity.casefold() for one in known)


def is_requester(approval: Approval, voter: str, identity: str) -> bool:
    """Whether the voter, or any identity of theirs, is who asked: as verified, or as merely claimed.

    The last part of an ARN counts as well: it is what drctl states, and for IAM Identity Center the person's own name.
    """
    asked = _words(approval.requester)
    configured = next((one for one in approval.approvers if one.name == voter), None)
    known = {voter, identity}
    if configured is not None:
        known |= {one for one in (configured.email, configured.slack_user_id, configured.principal, configured.subject) if one}
    return any(asked & _words(one) for one in known)


def _words(identity: str) -> set[str]:
    folded = identity.strip().casefold()
    return {folded, folded.rpartition("/")[2]} if folded.startswith("arn:") else {folded}


# --- votes ---


def vote(trigger: Vote, state: State, now: datetime) -> Move:
    """The transaction that records the vote, and with it the decision if it is one. Raises NotAllowedError, saying why not."""
    approval = state.approval
    if approval is None or state.execution.status is not ExecutionStatus.PENDING_APPROVAL:
        raise NotAllowedError(f"execution {state.execution.id} is {state.execution.status}: there is nothing to decide")
    if approval.status is not ApprovalStatus.PENDING:
        by = f" by {approval.approver}" if approval.approver else ""
        raise NotAllowedError(f"this request is already {approval.status}{by}")
    if now >= approval.expires_at:
        raise NotAllowedError(f"this request expired at {approval.expires_at:%Y-%m-%d %H:%M:%SZ}")
    if trigger.manifest_sha256 != approval.manifest_sha256:
        raise NotAllowedError("the manifest is not the one that was shown: request the execution again")
    if trigger.plan_sha256 != (approval.plan_sha256 or ""):
        raise NotAllowedError("the plan is not the one that was shown: look at it again, and decide on what it is now")
    ballot = Ballot(trigger.approve, _voter(trigger, approval), trigger.channel, trigger.approver, trigger.reason, now, trigger.break_glass)
    votes = (*approval.votes, ballot)
    approved = sum(one.approve for one in votes)
    recorded = Event(
        DetailType.VOTE_RECORDED,
        {
            "approver": ballot.approver,
            "channel": ballot.channel,
            "decision": "approve" if ballot.approve else "reject",
            "reason": ballot.reason,
            "votes": approved,
            "quorum": approval.quorum,
            "breakGlass": ballot.break_glass,
            **about_layer(approval),
        },
    )
    if ballot.approve and approved < approval.quorum and not ballot.break_glass:
        return Move((_cast(approval, votes=votes),), (recorded,))
    deciding = votes if ballot.approve else (ballot,)
    by, why = ", ".join(one.approver for one in deciding), _reasons(deciding)
    status = ApprovalStatus.APPROVED if ballot.approve else ApprovalStatus.REJECTED
    decided = _cast(approval, votes=votes, status=status, approver=by, reason=why, decided_at=now, due_at=None)
    detail_type = DetailType.APPROVAL_GRANTED if ballot.approve else DetailType.APPROVAL_REJECTED
    outcome = Event(detail_type, {"approver": by, "channel": ballot.channel, "reason": why, **about_layer(approval)})
    if not ballot.break_glass:
        return Move((decided,), (recorded, outcome))
    bypassed = Event(
        DetailType.APPROVAL_BYPASSED,
        {
            "actor": ballot.identity,
            "reason": ballot.reason,
            "votes": approved,
            "quorum": approval.quorum,
            "requestedBy": approval.requester,
        },
    )
    return Move((decided,), (recorded, bypassed, outcome))


def approvals_of(approval: Approval) -> int:
    """How many people have approved so far."""
    return sum(one.approve for one in approval.votes)


def _voter(trigger: Vote, approval: Approval) -> str:
    """The name under which the vote counts. Raises NotAllowedError if it may not."""
    if trigger.break_glass:
        if not (trigger.approve and trigger.channel == "iam" and trigger.reason):
            raise NotAllowedError("break-glass is an approval of a principal of IAM, with a reason")
        return person(approval, trigger.channel, trigger.approver) or trigger.approver
    voter = person(approval, trigger.channel, trigger.approver)
    if voter is None:
        names = ", ".join(one.name for one in approval.approvers)
        raise NotAllowedError(f"you are not one of those who may decide on this: {names}" if names else "nobody knows who you are")
    if trigger.approve and is_requester(approval, voter, trigger.approver):
        raise NotAllowedError(f"{voter} asked for this, and may reject it but not approve it: somebody else has to")
    if trigger.approve and any(one.approve and one.approver.casefold() == voter.casefold() for one in approval.votes):
        raise NotAllowedError(f"{voter} has approved this already: {approval.quorum} different people have to")
    return voter


def _reasons(deciding: tuple[Ballot, ...]) -> str:
    if len(deciding) == 1:
        return deciding[0].reason
    return "; ".join(f"{one.approver}: {one.reason}" for one in deciding if one.reason)[:_LONGEST_REASON]


def _cast(approval: Approval, **values: object) -> Change:
    """A change that a vote makes: it holds on the votes before it and on the plan that was shown."""
    change = if_still(on_approval(approval, **values), plan_sha256=approval.plan_sha256)
    # Where one vote decides, the status alone tells whether somebody was faster.
    return if_still(change, votes=approval.votes) if approval.quorum > 1 else change


# --- asking ---


def of_layers(approval: Approval, layers: Iterable[Layer]) -> list[Approval]:
    """The approvals before layers: the same people decide, and nobody is asked yet. Before the first layer the execution's own counts."""
    later = sorted(layers, key=lambda layer: layer.number)[1:]
    return [replace(approval, layer=one.number, opened_at=None, due_at=None) for one in later if one.approval_seconds is not None]


def opened(approval: Approval, seconds: int, now: datetime) -> Change:
    """The layer's approval is waited for from now on; nobody has been asked, whoever was asked elsewhere before."""
    waited = {"opened_at": now, "expires_at": now + timedelta(seconds=seconds), "due_at": now, "reminded": 0}
    return on_approval(approval, **waited, asked_at=None, task_token=None)


def is_waited_for(state: State) -> bool:
    """Whether people decide on the approval of the snapshot now."""
    waits = state.execution.status is ExecutionStatus.PENDING_APPROVAL
    return waits and state.approval is not None and state.approval.status is ApprovalStatus.PENDING


def about_layer(approval: Approval) -> dict[str, object]:
    """What an event says of the layer that waits; nothing for the approval of the execution itself."""
    return {"layer": approval.layer} if approval.layer else {}


def is_being_asked(approval: Approval) -> bool:
    """Whether people have been, or are just being, shown what they decide on."""
    return approval.asked_at is not None or approval.plan_sha256 is not None


def is_to_be_asked(approval: Approval, one: Approver, share: int) -> bool:
    """Whether the approver is asked when `share` % of the time to decide are over, 0 for the first time. Whoever has voted is not."""
    voted = any(ballot.approver.casefold() == one.name.casefold() for ballot in approval.votes)
    return not voted and (share >= ESCALATED or not one.escalation)


def share_over(approval: Approval, now: datetime) -> int:
    """The last of REMINDERS, in %, that the time to decide has reached; 0 before the first."""
    return max((share for share in REMINDERS if now >= _at(approval, share)), default=0)


def show(approval: Approval, plan_sha256: str) -> Change:
    """The plan with that digest is what people are shown; empty leaves it open."""
    return on_approval(approval, **({"plan_sha256": plan_sha256} if plan_sha256 else {}))


def hold_token(trigger: TokenHeld, state: State) -> Move | None:
    """Keep the token with which the state machine waits."""
    approval = state.approval
    if approval is None or not is_waited_for(state):
        return None
    if approval.plan_sha256 or not trigger.plan_sha256:
        return Move((on_approval(approval, task_token=trigger.task_token),))
    change = on_approval(approval, task_token=trigger.task_token, plan_sha256=trigger.plan_sha256)
    return Move((if_still(change, plan_sha256=None),))


def note_asked(trigger: Asked, state: State, now: datetime) -> Move | None:
    """The request, or a reminder of it, has gone out."""
    approval = state.approval
    if approval is None or not is_waited_for(state):
        return None
    if trigger.share:
        again = {"channels": list(trigger.sent), "share": trigger.share, **about_layer(approval)}
        return Move((on_approval(approval),), (Event(DetailType.APPROVAL_SENT, again),))
    if approval.asked_at is not None:
        return None
    # Whoever is asked late is not reminded at once of what they have just read.
    reminded = share_over(approval, now)
    due_at = _next_due(replace(approval, reminded=reminded))
    fields = {"channels": list(trigger.sent), **about_layer(approval)}
    sent = (Event(DetailType.APPROVAL_SENT, fields),) if trigger.sent else ()
    return Move((on_approval(approval, asked_at=now, due_at=due_at, reminded=reminded),), sent)


def _at(approval: Approval, share: int) -> datetime:
    """When `share` % of the time are over; of approvals of earlier versions it is not known when they began, and nobody is reminded."""
    if approval.opened_at is None:
        return approval.expires_at
    return approval.opened_at + (approval.expires_at - approval.opened_at) * share / 100


def _next_due(approval: Approval) -> datetime:
    return min((_at(approval, share) for share in REMINDERS if share > approval.reminded), default=approval.expires_at)


def _remind(approval: Approval, now: datetime) -> Move | None:
    """People are reminded when a share of the time is over: once for each, and of several that went by unseen, of the last alone."""
    share = share_over(approval, now)
    if share <= approval.reminded or approval.asked_at is None:
        return None
    change = on_approval(approval, reminded=share, due_at=_next_due(replace(approval, reminded=share)))
    fields = {"share": share, "expiresAt": text(approval.expires_at), "escalated": share >= ESCALATED, **about_layer(approval)}
    return Move((if_still(change, reminded=approval.reminded),), (Event(DetailType.APPROVAL_REMINDER, fields),))


# --- the end ---


def expire(trigger: Expire, state: State, now: datetime) -> Move | None:
    """Nobody decided in time, or what was to be decided is no more."""
    approval = state.approval
    if approval is None or not is_waited_for(state):
        return None
    why = {"reason": trigger.reason} if trigger.reason else {}
    return Move(
        (on_approval(approval, status=ApprovalStatus.EXPIRED, decided_at=now, due_at=None, **why),),
        (Event(DetailType.APPROVAL_EXPIRED, {"expiresAt": text(approval.expires_at), **why, **about_layer(approval)}),),
    )


def follow(state: State, now: datetime) -> Move | None:
    """What the approval leads to: the execution starts, ends, or goes on waiting."""
    execution, approval, first = state.execution, state.approval, state.next_layer()
    if approval is None or first is None:
        return None
    if approval.status is ApprovalStatus.PENDING:
        return expire(Expire(), state, now) if now >= approval.expires_at else _remind(approval, now)
    if approval.status is ApprovalStatus.APPROVED:
        started = {} if approval.layer else {"started_at": now}
        goes_on = DetailType.EXECUTION_RESUMED if approval.layer else DetailType.EXECUTION_STARTED
        fields = {"actor": approval.approver, "reason": approval.reason} if approval.layer else {"layersTotal": execution.layers_total}
        return Move(
            (
                on_execution(execution, status=ExecutionStatus.RUNNING, current_layer=first.number, due_at=now + LOST_AFTER, **started),
                on_approval(approval),
                on_layer(first, status=LayerStatus.RUNNING, started_at=now),
            ),
            (
                Event(goes_on, fields),
                Event(DetailType.LAYER_STARTED, {"layer": first.number, "epoch": first.epoch, "resources": first.total}),
            ),
        )
    if approval.status is ApprovalStatus.REJECTED:
        status, detail_type = ExecutionStatus.REJECTED, DetailType.EXECUTION_REJECTED
        why = f"rejected by {approval.approver}: {approval.reason}"
    else:
        status, detail_type = ExecutionStatus.EXPIRED, DetailType.EXECUTION_EXPIRED
        why = approval.reason or _nobody_decided(approval)
    if approval.layer:
        why = f"before layer {approval.layer}: {why}; what stands in the layers before it was carried out, and stays as it is"
    return Move((*end(execution, status, now, why), on_approval(approval)), (Event(detail_type, {"outcome": status, "reason": why}),))


def _nobody_decided(approval: Approval) -> str:
    so_far = [one.approver for one in approval.votes if one.approve]
    said = f"; approved by {', '.join(so_far)} alone, {approval.quorum} were needed" if so_far else ""
    return f"nobody decided by {approval.expires_at:%Y-%m-%d %H:%M:%SZ}{said}"
