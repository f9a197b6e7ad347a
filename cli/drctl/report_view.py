"""What preflight reported, as text: findings, the calls that would be made, and both in short for `drctl status`."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dr_core.records import Execution, Resource
from dr_core.reports import DONE, ERROR, Found, PlannedCall, ResourceReport, data_loss, in_short, plural, verdict, worst_first
from dr_people.wording import duration, plain

_MOST_FINDINGS = 20


def show_preflight(execution: Execution, resources: Sequence[Resource], reports: Sequence[ResourceReport], out: Console) -> None:
    """The verdict, then for each resource what was observed and found."""
    found = verdict(reports, len(resources))
    out.print(Text(f"{_title('Preflight', execution)}: {found.words()}", style=_style(found.errors, found.warnings)))
    out.print(Text(f"Execution   {execution.id}"))
    if loss := data_loss(execution, reports, resources):
        out.print(Text(f"Data loss   {loss}"))
    limits = {resource.id: resource.max_lag_seconds for resource in resources}
    for layer, inside in groupby(reports, key=lambda report: report.layer):
        out.print(Text(f"\nLayer {layer}", style="bold"))
        for report in inside:
            _show(_observed(report, limits.get(report.resource_id)), out)


def show_plan(execution: Execution, resources: Sequence[Resource], reports: Sequence[ResourceReport], command: str, out: Console) -> None:
    """For each resource the calls that would be made, in order; then the sum."""
    out.print(Text(_title("Plan", execution), style="bold"))
    out.print(Text(f"Execution   {execution.id}"))
    for layer, inside in groupby(reports, key=lambda report: report.layer):
        out.print(Text(f"\nLayer {layer}", style="bold"))
        for report in inside:
            _show(_planned(report), out)
    found = verdict(reports, len(resources))
    summary = f"Plan: {plural(found.calls, 'call')} on {found.called} of {plural(found.resources, 'resource')}, nothing was changed"
    out.print(Text(f"\n{summary}", style="bold"))
    if found.errors or found.looked_at < found.resources:
        out.print(Text(f"Preflight: {found.words()}: {command} status {execution.id}", style="red"))


def in_brief(execution: Execution, resources: Sequence[Resource], reports: Sequence[ResourceReport]) -> Iterator[Text]:
    """The verdict and the most serious findings."""
    found, findings = verdict(reports, len(resources)), worst_first(reports)
    yield Text(found.words(), style=_style(found.errors, found.warnings))
    if loss := data_loss(execution, reports, resources):
        yield Text(f"Data loss: {loss}")
    for one in findings[:_MOST_FINDINGS]:
        yield Text(f"  {one.severity:<8}{one.words()}", style=_style(one.severity == ERROR, 1))
    if len(findings) > _MOST_FINDINGS:
        yield Text(f"  and {len(findings) - _MOST_FINDINGS} more, in the output for programs (--output json)")


def _title(what: str, execution: Execution) -> str:
    return f"{what} of {execution.phase} of {plain(execution.application)} in {execution.target_region} ({execution.mode})"


def _style(errors: int, warnings: int) -> str:
    return "red" if errors else "yellow" if warnings else "green"


def _show(lines: Iterable[tuple[int, RenderableType]], out: Console) -> None:
    """Each line at its indentation; a long one is folded, and keeps it."""
    for indent, line in lines:
        out.print(Padding(line, (0, 0, 0, indent), expand=False), soft_wrap=False)


def _observed(report: ResourceReport, limit: int | None) -> Iterator[tuple[int, RenderableType]]:
    observed = f"{report.progress}  {report.detail}" if report.progress else "its state is not known"
    yield 2, Text.assemble((plain(report.name), "bold"), f"  {plain(report.module)}, account {report.account}  {plain(observed).rstrip()}")
    if report.lag_seconds is not None:
        accepted = "" if limit is None else f", {duration(limit)} accepted when planned"
        yield 4, Text(f"{duration(report.lag_seconds)} of data not yet replicated{accepted}")
    for one in sorted(report.findings, key=lambda found: found.severity != ERROR):
        yield 4, Text(f"{one.severity:<8}{_own_words(one, report)}", style=_style(one.severity == ERROR, 1))
    if not report.findings:
        yield 4, Text("nothing found in the way", style="green")


def _own_words(found: Found, report: ResourceReport) -> str:
    """A finding below the name of its resource need not repeat it."""
    return plain(f"{found.code}: {found.message.removeprefix(f'{report.name} ({report.module}): ')}")


def _planned(report: ResourceReport) -> Iterator[tuple[int, RenderableType]]:
    head = Text.assemble((plain(report.name), "bold"), f"  {plain(report.module)}, account {report.account}")
    if report.irreversible and report.progress != DONE:
        head.append("  IRREVERSIBLE", style="bold red")
    yield 2, head
    if report.calls:
        yield 4, _calls(report.calls)
    if report.further_calls:
        yield 4, Text(f"… and {plural(report.further_calls, 'further call')}, for which there was no room")
    if not report.call_count:
        yield 4, Text(report.why_no_call(), style="dim")
    if report.may_also_call:
        yield 4, Text(f"may also call: {', '.join(report.may_also_call)}", style="dim")
    if report.note:
        yield 4, Text(f"note: {plain(report.note)}", style="yellow")


def _calls(calls: Iterable[PlannedCall]) -> Table:
    """One line for each call; long parameters are folded below themselves."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for call in calls:
        table.add_row(Text(plain(call.action)), Text(plain(call.region)), Text(plain(in_short(call.parameters))))
    return table
