"""What drctl shows of an execution: text for people, on any terminal or in a pipe. What comes from the table is never markup."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dr_core.moves import ATTEMPTS_PER_FENCE, counts
from dr_core.records import Execution, ExecutionStatus, Layer, Resource, ResourceStatus
from dr_core.reports import proof, read_reports
from dr_core.state import Refusal
from dr_people.advice import Advice, failure_words
from dr_people.snapshot import Snapshot
from dr_people.timeline import line
from dr_people.wording import between, duration, moment, percent_bar, plain
from drctl.report_view import in_brief

_STYLES: Mapping[str, str] = {
    "SUCCEEDED": "green",
    "SUCCEEDED_WITH_FAILURES": "yellow",
    "APPROVED": "green",
    "RUNNING": "cyan",
    "WAITING": "cyan",
    "STARTING": "cyan",
    "REQUESTED": "cyan",
    "RETRY_WAIT": "yellow",
    "PENDING_APPROVAL": "yellow",
    "PLANNING": "cyan",
    "PAUSED": "yellow",
    "CANCELLING": "yellow",
    "SKIPPED": "yellow",
    "PENDING": "dim",
}
_TRIED = (ResourceStatus.FAILED, ResourceStatus.TIMED_OUT, ResourceStatus.RETRY_WAIT)
# What needs a look comes first, what is over last.
_URGENCY = (
    *_TRIED,
    ResourceStatus.STARTING,
    ResourceStatus.WAITING,
    ResourceStatus.REQUESTED,
    ResourceStatus.PENDING,
    ResourceStatus.CANCELLED,
    ResourceStatus.SKIPPED,
    ResourceStatus.SUCCEEDED,
)
_PIPE_WIDTH = 160


def console(stderr: bool = False) -> Console:
    """Standard output or stderr: as wide as the terminal, or wide enough for whoever reads a pipe."""
    made = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = _PIPE_WIDTH
    return made


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=_STYLES.get(status, "red"))


def title(execution: Execution) -> Text:
    """What is being done, and how it stands."""
    mode = f"{execution.mode}, dry run" if execution.dry_run else execution.mode
    what = f"{execution.phase} of {plain(execution.application)} in {execution.target_region} ({mode})  "
    return Text.assemble((what, "bold"), status_text(execution.status))


def layers(all_layers: Iterable[Layer], resources: Iterable[Resource], now: datetime, most_lines: int | None = None) -> Group:
    """Each layer with its resources, as far as they are given.

    `most_lines`: of a layer's resources. Where there are more, those that need a look come first, and the others are counted.
    """
    known = tuple(resources)
    parts: list[RenderableType] = []
    for layer in all_layers:
        parts.append(_layer_line(layer, now))
        inside = [resource for resource in known if resource.layer == layer.number]
        if not inside:
            continue
        shown, others = inside, list[Resource]()
        if most_lines is not None and sum(map(_lines, inside)) > most_lines:
            inside.sort(key=lambda resource: _URGENCY.index(resource.status))  # in itself as the manifest has them
            fit = bisect_right(list(accumulate(map(_lines, inside))), most_lines - 1)
            shown, others = inside[:fit], inside[fit:]
        parts.append(Padding(_resource_table(shown, now), (0, 0, 0, 2)))
        parts += list(_failure_lines(shown))
        if others:
            counted = ", ".join(f"{number} {status}" for status, number in counts(others).items())
            parts.append(Text(f"  and {counted}", style="dim"))
    return Group(*parts)


def _lines(resource: Resource) -> int:
    """How many lines a resource takes: a failure has one of its own."""
    return 1 + (resource.failure is not None and resource.status in _TRIED)


def _layer_line(layer: Layer, now: datetime) -> Text:
    took = f"  {between(layer.started_at, layer.ended_at or now)}" if layer.started_at else ""
    policy = "" if layer.policy == "drain" else f", {layer.policy}"
    number = f"{layer.total} {'resource' if layer.total == 1 else 'resources'}{policy}"
    return Text.assemble((f"Layer {layer.number}  ", "bold"), status_text(layer.status), f"  {number}{took}")


def _resource_table(resources: Iterable[Resource], now: datetime) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(6):
        table.add_column(overflow="fold")
    for resource in resources:
        took = between(resource.started_at, resource.ended_at or now) if resource.started_at else ""
        number = resource.attempt and (resource.attempt - 1) % ATTEMPTS_PER_FENCE + 1  # each takeover numbers them from its own hundred on
        attempt = f"attempt {number} of {max(number, resource.max_attempts)}" if number else ""
        if resource.step:
            attempt = f"step {resource.step + 1}, attempt {resource.spent + 1} of {max(resource.spent + 1, resource.max_attempts)}"
        if resource.lag_seconds is not None:
            attempt = f"{attempt}, {duration(resource.lag_seconds)} not replicated"
        progress = [percent_bar(resource.percent)] if resource.percent is not None and not resource.status.is_terminal else []
        progress += [plain(resource.detail)] if resource.detail else []
        table.add_row(
            Text(plain(resource.name)),
            Text(plain(resource.module)),
            status_text(resource.status),
            Text(attempt),
            Text(took, justify="right"),
            Text("  ".join(progress)),
        )
    return table


def _failure_lines(resources: Iterable[Resource]) -> Iterator[Text]:
    for resource in resources:
        if resource.failure and resource.status in _TRIED:
            words = f"  {plain(resource.name)}: {failure_words(resource.failure)} [{resource.failure.error_class}]"
            yield Text(words, style="red" if resource.status.is_failure else "yellow")


def show(snapshot: Snapshot, advice: Advice, out: Console) -> None:
    """Everything that is known of an execution: header, layers, preflight, timeline, what next."""
    out.print(title(snapshot.execution))
    for name, value in _facts(snapshot):
        out.print(Text(f"{name:<11} {value}"))
    out.print()
    out.print(layers(snapshot.layers, snapshot.resources, snapshot.now), soft_wrap=False)
    for line_of_preflight in _preflight(snapshot):
        out.print(line_of_preflight)
    out.print(Text("\nTimeline (UTC, and since the request)", style="bold"))
    for one in snapshot.timeline:
        out.print(Text(line(one, snapshot.execution.requested_at)))
    out.print(Text("\nWhat next", style="bold"))
    for sentence in advice.sentences:
        out.print(Text(sentence))
    for command in advice.commands:
        out.print(Text(f"  {command}"))


def _preflight(snapshot: Snapshot) -> Iterator[Text]:
    """What preflight found, while it matters: until it is decided, and of a dry run."""
    execution, approval = snapshot.execution, snapshot.approval
    if not execution.dry_run and execution.status is not ExecutionStatus.PENDING_APPROVAL:
        return
    yield Text("\nPreflight", style="bold")
    undecided = execution.status is ExecutionStatus.PLANNING or (approval is not None and approval.asked_at is None)
    if execution.preflight_at is None and undecided:
        yield Text("It is under way.")
    else:
        yield from in_brief(execution, snapshot.resources, read_reports(snapshot.preflight))


def _facts(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    execution, approval = snapshot.execution, snapshot.approval
    yield "Execution", execution.id
    yield "Regions", f"acts on {execution.target_region}, the other is {execution.source_region}, run from {execution.home_region}"
    yield "Requested", f"{moment(execution.requested_at)} by {plain(execution.requested_by)} ({proof(execution.requester_verified)})"
    yield "Reason", plain(execution.reason)
    if approval is not None:
        yield "Approval", _approval(snapshot)
    running = snapshot.running_seconds
    since_start = "" if running is None else f" since the request, {duration(running)} of them running"
    yield "Elapsed", f"{duration(snapshot.elapsed_seconds)}{since_start}"
    yield "Manifest", f"SHA-256 {execution.manifest_sha256}, version {execution.manifest_version_id or '-'}"
    if execution.outcome_detail:
        yield "Outcome", plain(execution.outcome_detail)


def _approval(snapshot: Snapshot) -> str:
    approval = snapshot.approval
    assert approval is not None
    by = f" by {plain(approval.approver)}" if approval.approver else ""
    at = f" at {moment(approval.decided_at)}" if approval.decided_at else f", expires {moment(approval.expires_at)}"
    return f"{approval.status}{by}{at}" + (f": {plain(approval.reason)}" if approval.reason else "")


def show_refusal(refusal: Refusal, out: Console) -> None:
    """A request that was refused, and everything wrong with it."""
    out.print(Text.assemble((f"Request {refusal.execution_id} for {plain(refusal.application)}  ", "bold"), ("REFUSED", "red")))
    out.print(Text(f"Requested   {moment(refusal.requested_at)}"))
    for problem in refusal.problems:
        out.print(Text(f"  {plain(problem)}"))
    out.print(Text("Nothing was touched. Mend all of it, then send the request again, with another client token."))
