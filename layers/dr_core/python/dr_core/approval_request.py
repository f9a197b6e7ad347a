"""The message that asks people to decide: plain text, as SNS sends it to mail. What matters most comes first, and the link always fits."""

from collections.abc import Iterator, Sequence

from dr_core.events import printable
from dr_core.records import Approval, Execution, Resource
from dr_core.reports import DONE, ResourceReport, data_loss, fitting, one_line, verdict, worst_first

# SNS takes 256 KB; nobody reads that much.
_LARGEST_TEXT = 20_000
_MOST_FINDINGS = 10
_FOR_FINDINGS = 8_000


def request_text(
    execution: Execution, approval: Approval, resources: Sequence[Resource], reports: Sequence[ResourceReport], link: str
) -> tuple[str, str]:
    """Subject and body of the message: the verdict of the preflight, who asks for what, the link, findings, and the calls to be made."""
    title = f"{execution.phase} of {execution.application} in {execution.target_region} ({execution.mode})"
    loss = data_loss(execution, reports, resources)
    lines = [
        f"{title} waits for your decision.",
        "",
        f"Preflight:    {verdict(reports, len(resources)).words()}",
        *([f"Data loss:    {loss}"] if loss else []),
        "",
        f"Requested by: {one_line(execution.requested_by)} (as stated in the request, not verified)",
        f"Reason:       {one_line(execution.reason)}",
        f"Execution:    {execution.id}",
        f"Manifest:     {execution.manifest_sha256[:16]} (SHA-256)",
        f"Expires:      {approval.expires_at:%Y-%m-%d %H:%M:%SZ}",
        "",
        "Look at it, and approve or reject it, here (opening the link decides nothing):",
        link,
        *_findings(execution, reports),
        "",
        "What would be called; nothing has been changed yet:" if reports else "What it acts on:",
    ]
    by_id = {report.resource_id: report for report in reports}
    blocks = ["\n".join(_resource(resource, by_id.get(resource.id), bool(reports))) for resource in resources]
    kept, left = fitting(blocks, _LARGEST_TEXT - len("\n".join(lines).encode()) - 100)
    more = [f"  and {left} more: drctl status {execution.id}"] if left else []
    return printable(f"Approval needed: {title}", 99), "\n".join([*lines, *kept, *more])


def _findings(execution: Execution, reports: Sequence[ResourceReport]) -> Iterator[str]:
    found = worst_first(reports)
    if not found:
        return
    yield from ("", "Found by preflight:")
    kept, _ = fitting([f"  {one.severity:<8}{one.words()}" for one in found[:_MOST_FINDINGS]], _FOR_FINDINGS)
    yield from kept
    if len(kept) < len(found):
        yield f"  and {len(found) - len(kept)} more: drctl status {execution.id}"


def _resource(resource: Resource, report: ResourceReport | None, any_report: bool) -> Iterator[str]:
    yield f"  layer {resource.layer}: {one_line(resource.name)} ({resource.module}, account {resource.account})"
    if report is None:
        if any_report:
            yield "    not looked at"
        return
    if report.irreversible and report.progress != DONE:
        yield "    IRREVERSIBLE: what this step does cannot be undone"
    if report.call_count:
        yield f"    {one_line(report.actions(), 1000)}"
    else:
        yield f"    {report.why_no_call()}"
    if report.note:
        yield f"    note: {one_line(report.note)}"
