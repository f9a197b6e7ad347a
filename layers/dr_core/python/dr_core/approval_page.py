"""The approval page as HTML. No script, nothing from elsewhere; whatever comes from outside is escaped here."""

import html
from collections.abc import Iterator, Sequence
from string import Template

from dr_core.records import Approval, ApprovalStatus, Execution, Resource
from dr_core.reports import DONE, ERROR, PlannedCall, ResourceReport, data_loss, fitting, in_short, one_line, plural, verdict, worst_first

_MOST_FINDINGS = 50
_MOST_CALLS = 50
_LONGEST_PARAMETERS = 2000
# A function's answer has at most 6 MB; a browser on a phone is not to wait for that much.
_LARGEST_TABLE = 1_000_000


def page(title: str, content: str) -> str:
    """A whole page: `title` is text, `content` is HTML."""
    return _PAGE.substitute(title=safe(title), content=content)


def safe(value: object) -> str:
    """Text as HTML."""
    return html.escape(str(value), quote=True)


def request_content(
    execution: Execution, approval: Approval, resources: Sequence[Resource], reports: Sequence[ResourceReport], signed: str
) -> str:
    """What is to be decided: the verdict of the preflight first, then who asks for what, and the form while it is undecided."""
    facts = {
        "Application": execution.application,
        "Phase": execution.phase,
        "Mode": execution.mode,
        "Acts on": execution.target_region,
        "Other Region": execution.source_region,
        "Requested by": f"{execution.requested_by} (as stated in the request, not verified)",
        "Reason": execution.reason,
        "Execution": execution.id,
        "Manifest (SHA-256)": approval.manifest_sha256,
        "Expires": f"{approval.expires_at:%Y-%m-%d %H:%M:%SZ}",
    }
    if approval.status is ApprovalStatus.PENDING:
        ending = _FORM.substitute(token=safe(signed))
    else:
        by = f" by {safe(approval.approver)}" if approval.approver else ""
        ending = f"<p><strong>This request is already {safe(approval.status)}{by}.</strong></p>"
    parts = (_preflight(execution, resources, reports), _list(facts), _resources(execution, resources, reports), ending)
    return "".join(parts)


def _list(facts: dict[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{safe(key)}</dt><dd>{safe(value)}</dd>' for key, value in facts.items())}</dl>"


def _preflight(execution: Execution, resources: Sequence[Resource], reports: Sequence[ResourceReport]) -> str:
    found, loss = worst_first(reports), data_loss(execution, reports, resources)
    facts = {"Preflight": verdict(reports, len(resources)).words(), **({"Data loss": loss} if loss else {})}
    items = [
        f"<li><strong{_bad(one.severity == ERROR)}>{safe(one.severity)}</strong> {safe(one.words())}</li>" for one in found[:_MOST_FINDINGS]
    ]
    if len(found) > _MOST_FINDINGS:
        items.append(f"<li>and {len(found) - _MOST_FINDINGS} more: <code>drctl status {safe(execution.id)}</code></li>")
    return _list(facts) + (f"<ul>{''.join(items)}</ul>" if items else "")


def _bad(is_bad: bool) -> str:
    return ' class="bad"' if is_bad else ""


def _resources(execution: Execution, resources: Sequence[Resource], reports: Sequence[ResourceReport]) -> str:
    by_id = {report.resource_id: report for report in reports}
    rows, left = fitting([_row(resource, by_id.get(resource.id)) for resource in resources], _LARGEST_TABLE)
    if left:
        rows.append(f'<tr><td colspan="6">and {left} more: <code>drctl status {safe(execution.id)}</code></td></tr>')
    head = "".join(f"<th>{name}</th>" for name in ("Layer", "Resource", "Module", "Account", "Observed", "What would be called"))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _row(resource: Resource, report: ResourceReport | None) -> str:
    observed = one_line(": ".join(part for part in (report.progress, report.detail) if part)) if report else ""
    cells = [resource.layer, resource.name, resource.module, resource.account, observed]
    calls = "".join(_calls(report)) if report else "not looked at"
    return f"<tr>{''.join(f'<td>{safe(cell)}</td>' for cell in cells)}<td>{calls}</td></tr>"


def _calls(report: ResourceReport) -> Iterator[str]:
    if report.irreversible and report.progress != DONE:
        yield '<strong class="bad">irreversible</strong> '
    if report.call_count:
        shown = [_call(call) for call in report.calls[:_MOST_CALLS]]
        left = report.call_count - len(shown)
        shown += [f"<li>and {plural(left, 'further call')}</li>"] if left else []
        yield f"<details><summary>{safe(one_line(report.actions()))}</summary><ol>{''.join(shown)}</ol></details>"
    else:
        yield safe(report.why_no_call())
    if report.may_also_call:
        yield f"<div>may also call {safe(one_line(', '.join(report.may_also_call)))}</div>"
    if report.note:
        yield f"<div>{safe(one_line(report.note))}</div>"


def _call(call: PlannedCall) -> str:
    parameters = one_line(in_short(call.parameters), _LONGEST_PARAMETERS)
    return f"<li><code>{safe(call.action)}</code> {safe(call.region)}<br>{safe(parameters)}</li>"


_FORM = Template(
    '<form method="post"><input type="hidden" name="token" value="$token">'
    '<label>Your name <input name="approver" required maxlength="100"></label>'
    '<label>Reason <input name="reason" maxlength="500"></label>'
    '<p><button name="decision" value="approve">Approve</button> <button name="decision" value="reject">Reject</button></p></form>'
)

_PAGE = Template(
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>$title</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #999;padding:.2rem .6rem;text-align:left;vertical-align:top}"
    "td,li{overflow-wrap:anywhere}summary{cursor:pointer}.bad{color:#a00}"
    "label{display:block;margin:.5rem 0}button{font:inherit;padding:.4rem 1.2rem}</style></head>"
    "<body><h1>$title</h1>$content</body></html>"
)
