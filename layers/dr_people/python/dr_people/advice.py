"""What next: what happens without the operator, what waits for them, and the command to copy."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from dr_core.errors import ErrorClass
from dr_core.execution import DRY_RUN_WITHIN
from dr_core.records import ApprovalStatus, Execution, ExecutionStatus, Failure, Resource, ResourceStatus
from dr_core.reports import plural, read_reports, verdict
from dr_people.snapshot import Snapshot
from dr_people.wording import between, moment, plain

_MOST_RESOURCES = 10
# The sweep comes each minute: what is overdue for longer than that is not merely waiting its turn.
_STUCK_AFTER = timedelta(minutes=2)
_AWAITED = {
    ResourceStatus.REQUESTED: "start_resource",
    ResourceStatus.STARTING: "start_resource",
    ResourceStatus.WAITING: "check_resource",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """Sentences to read, and commands to copy."""

    sentences: tuple[str, ...]
    commands: tuple[str, ...] = ()


def advise(snapshot: Snapshot, command: str) -> Advice:
    """What follows from the state that an execution is in. `command`: how drctl is called."""
    return _BY_STATUS[snapshot.execution.status](snapshot, command)


def advise_away(execution: Execution, region: str, command: str) -> Advice:
    """What follows for who looks at a live execution from `region`, which is not its home."""
    home = execution.home_region
    seen = f"Its home is {home}: it is moved and steered there alone. This is what has been replicated to {region}, often a second old."
    lost = f"Only when {home} is lost, and you are sure of it, take it over here; what cannot be taken over can be abandoned here."
    there = f"drctl --region {home} status {execution.id}"
    return Advice((seen, lost), (there, f"{command} takeover {execution.id} --reason TEXT"))


def failure_words(failure: Failure) -> str:
    """The failure in AWS's own words, with the request's id."""
    request = f" (request id {failure.request_id})" if failure.request_id else ""
    return plain(f"{failure.code}: {failure.message}{request}")


def mending(execution: Execution, resource: Resource, command: str) -> str:
    """The command that goes on with a failed resource once its cause is mended. It can be given as it is."""
    return f"{command} retry {execution.id} {resource.id} --reason {shlex.quote('the cause is mended')}"


def _pending(snapshot: Snapshot, command: str) -> Advice:
    execution, approval = snapshot.execution, snapshot.approval
    if approval is None or approval.status is not ApprovalStatus.PENDING:
        decided = approval.status if approval else "decided"
        return Advice((f"The request is {decided}; the execution follows within seconds, or a minute if a message was lost.",))
    if snapshot.now >= approval.expires_at:
        return Advice((f"The time to decide ended at {moment(approval.expires_at)}; the execution expires within a minute.",))
    left = between(snapshot.now, approval.expires_at)
    waits = f"It waits for a decision until {moment(approval.expires_at)} ({left} from now), then it expires."
    sent = () if approval.asked_at else ("The request to the approvers has not gone out yet.",)
    decide = (f"{command} approve {execution.id} --reason TEXT", f"{command} reject {execution.id} --reason TEXT")
    return Advice((waits, *sent), decide)


def _planning(snapshot: Snapshot, command: str) -> Advice:
    execution = snapshot.execution
    until = moment(execution.requested_at + DRY_RUN_WITHIN)
    what = f"It is a dry run: the resources are being looked at, until {until} at the latest. Nothing is changed, locked or approved."
    return Advice((what,), (f"{command} watch {execution.id}",))


def _running(snapshot: Snapshot, command: str) -> Advice:
    execution = snapshot.execution
    current = [r for r in snapshot.resources if r.layer == execution.current_layer and not r.status.is_terminal]
    where = f"Layer {execution.current_layer} is under way"
    sentences = [f"{where}, {len(current)} of its resources are not done." if current else f"{where}; all its resources have ended."]
    sentences += [_waits_for(r, snapshot) for r in current[:_MOST_RESOURCES]]
    return Advice((*sentences, *stuck(snapshot)), (f"{command} watch {execution.id}",))


def _waits_for(resource: Resource, snapshot: Snapshot) -> str:
    """What happens to a resource next, and when, without anybody's doing."""
    deadline = f", may take until {moment(resource.deadline_at)}" if resource.deadline_at else ""
    at = moment(resource.next_at) if resource.next_at else "once"
    by_status = {
        ResourceStatus.REQUESTED: f"waits for an executor{deadline}",
        ResourceStatus.STARTING: f"is being started{deadline}",
        ResourceStatus.WAITING: f"is looked at again at {at}{deadline}",
        ResourceStatus.RETRY_WAIT: f"is tried again at {at}; " + (failure_words(resource.failure) if resource.failure else ""),
    }
    held = snapshot.execution.status is not ExecutionStatus.RUNNING and resource.status is not ResourceStatus.WAITING
    return f"{plain(resource.name)} {'is held back' if held else by_status.get(resource.status, 'is requested next')}."


def stuck(snapshot: Snapshot) -> Iterator[str]:
    """What should have happened long ago, if anything."""
    execution = snapshot.execution
    flagged = [r for r in snapshot.resources if r.is_stuck and r.status in _AWAITED]
    for resource in flagged:
        assert resource.due_at is not None  # it is stuck
        yield (
            f"Stuck: {plain(resource.name)} is {resource.status}, and nothing has come of it since {moment(resource.due_at)}, though sweep "
            f"after sweep called for it. Look into the log of {_AWAITED[resource.status]}."
        )
    unheld = (r for r in snapshot.resources if execution.status is ExecutionStatus.RUNNING or r.status is ResourceStatus.WAITING)
    moments = [(plain(r.name), r.due_at) for r in unheld if not r.status.is_terminal and r not in flagged]
    if all(r.status.is_terminal for r in snapshot.resources if r.layer == execution.current_layer):
        moments.append(("the execution", execution.due_at))  # else it is its resources that are waited for
    for name, due_at in moments:
        if due_at and snapshot.now >= due_at + _STUCK_AFTER:
            yield f"Stuck? {name} is overdue since {moment(due_at)}: the sweep, each minute, should have moved it. Is its schedule enabled?"


def _paused(snapshot: Snapshot, command: str) -> Advice:
    nothing = "It is paused: nothing new begins, what is under way is followed to its end."
    commands = tuple(f"{command} {name} {snapshot.execution.id} --reason TEXT" for name in ("resume", "cancel"))
    return Advice((nothing, *_running(snapshot, command).sentences[1:]), commands)


def _cancelling(snapshot: Snapshot, command: str) -> Advice:
    what = f"It is being cancelled ({plain(snapshot.execution.outcome_detail)}): what is under way is followed to its end."
    return Advice((what, *stuck(snapshot)), (f"{command} watch {snapshot.execution.id}",))


def _failed(snapshot: Snapshot, command: str) -> Advice:
    execution = snapshot.execution
    failed = [r for r in snapshot.resources if r.layer == execution.current_layer and r.status.is_failure]
    sentences = [f"Layer {execution.current_layer} failed, and the execution is halted: nothing goes on without a person."]
    for resource in failed[:_MOST_RESOURCES]:
        why = failure_words(resource.failure) if resource.failure else resource.status
        sentences.append(f"{plain(resource.name)} ({plain(resource.module)}, account {resource.account}): {why}")
        sentences.append(f"  {_remedy(resource)}")
    locks = f"{execution.application} stays locked in {execution.source_region} and {execution.target_region} until it is decided."
    give_up = f"{command} cancel {execution.id} --reason TEXT"
    go_on = [f"{command} {name} {execution.id} [RESOURCE]... --reason TEXT" for name in ("retry", "skip")]
    return Advice((*sentences, locks), (*go_on, give_up))


def _remedy(resource: Resource) -> str:
    """What to do about a failed resource, as far as the kind of failure says it."""
    if resource.status is ResourceStatus.TIMED_OUT:
        return f"Look whether it still moves; if it only needs longer, give it a longer timeout than {resource.timeout_seconds} s."
    if resource.failure and resource.failure.error_class is ErrorClass.TERMINAL:
        return "Trying again will not mend this: mend the cause first."
    return f"All {resource.attempt} attempts failed: find the cause in the account's CloudTrail, by the request id where there is one."


def _succeeded(snapshot: Snapshot, command: str) -> Advice:
    if snapshot.execution.dry_run:
        return _flown(snapshot, command)
    failed = [plain(r.name) for r in snapshot.resources if r.status.is_failure]
    accepted = (f"Failed, and accepted by the layer's policy: {', '.join(failed)}.",) if failed else ()
    return Advice(("Nothing is left to do.", *accepted))


def _flown(snapshot: Snapshot, command: str) -> Advice:
    execution, found = snapshot.execution, verdict(read_reports(snapshot.preflight), len(snapshot.resources))
    what = f"It was a dry run, and nothing was changed: {found.words()}."
    calls = f"The phase would make {plural(found.calls, 'call')} on {found.called} of {plural(found.resources, 'resource')}."
    where = "This shows them:" if execution.client_token else "A new dry run shows them as they are then:"
    return Advice((what, f"{calls} {where}"), (_again(execution, command),))


def _over(snapshot: Snapshot, command: str) -> Advice:
    execution = snapshot.execution
    why = f": {plain(execution.outcome_detail)}" if execution.outcome_detail else ""
    return Advice((f"It ended as {execution.status}{why}. A new one can be started.",), (_again(execution, command),))


def _again(execution: Execution, command: str) -> str:
    words = [execution.application, execution.phase.value, "--target", execution.target_region, "--source", execution.source_region]
    words += ["--mode", execution.mode.value]
    if not execution.dry_run:
        return f"{command} start {shlex.join([*words, '--reason', plain(execution.reason)])}"
    # The same token leads to the same dry run: its plan is shown, no new one is made.
    ended_well = execution.client_token and execution.status is ExecutionStatus.SUCCEEDED
    return f"{command} plan {shlex.join([*words, *(['--client-token', execution.client_token or ''] if ended_well else [])])}"


_BY_STATUS: Mapping[ExecutionStatus, Callable[[Snapshot, str], Advice]] = {
    ExecutionStatus.PLANNING: _planning,
    ExecutionStatus.PENDING_APPROVAL: _pending,
    ExecutionStatus.RUNNING: _running,
    ExecutionStatus.PAUSED: _paused,
    ExecutionStatus.CANCELLING: _cancelling,
    ExecutionStatus.FAILED: _failed,
    ExecutionStatus.SUCCEEDED: _succeeded,
    ExecutionStatus.SUCCEEDED_WITH_FAILURES: _succeeded,
    ExecutionStatus.REJECTED: _over,
    ExecutionStatus.EXPIRED: _over,
    ExecutionStatus.CANCELLED: _over,
    ExecutionStatus.ABANDONED: _over,
}
