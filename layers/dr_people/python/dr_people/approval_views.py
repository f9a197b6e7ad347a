"""A request for approval as people see it: page, mail and terminal. Each is bounded, and says what was left out and where it stands.

What comes from outside is text: the HTML templates escape it.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import groupby

from markupsafe import Markup

from dr_core.approvals import Response
from dr_core.events import printable
from dr_core.reports import fitting, in_short, one_line, plural, seconds
from dr_core.state import Table
from dr_people.approval_context import ApprovalContext, Step, load_context
from dr_people.rendering import render

_MOST_FINDINGS = 50
_MOST_CALLS = 50
_LONGEST_PARAMETERS = 2000
# A function's answer has at most 6 MB; a browser on a phone is not to wait for that much.
_LARGEST_PLAN = 1_000_000
_FINDINGS_IN_MAIL = 10
_FOR_FINDINGS = 8_000
_LARGEST_TEXT = 20_000  # nobody reads more
_LARGEST_MAIL = 60_000  # Gmail cuts off what is longer than 102 KB, the encoding of the mail included

# Nothing runs, nothing is loaded, nobody frames it. What it is styled with is named by its digest.
_POLICY = "default-src 'none'; style-src {styles}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # without one browsers send the form as of origin null
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_STYLE = re.compile("<style>(.*?)</style>", re.DOTALL)


def answer(response: Response, table: Table) -> dict[str, object]:
    """What the page says, in the shape that a Lambda function URL takes. Reads the request that is shown; writes nothing."""
    cookies = {"cookies": list(response.cookies)} if response.cookies else {}
    if response.location:
        return {"statusCode": response.status, "headers": {**_HEADERS, "Location": response.location}, "body": "", **cookies}
    context = load_context(table, response.execution_id) if response.signed else None
    html = page(context, response) if context else render("notice.html.j2", title=response.title, message=response.message)
    styles = " ".join(f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" for style in _STYLE.findall(html))
    headers = {**_HEADERS, "Content-Security-Policy": _POLICY.format(styles=styles)}
    return {"statusCode": response.status, "headers": headers, "body": html, **cookies}


def page(context: ApprovalContext, response: Response) -> str:
    """The request in full, and the form while it is undecided."""
    blocks = [_page_step(step) for step in context.steps]
    kept, left = fitting(blocks, _LARGEST_PLAN)
    numbered = zip(context.steps, kept, strict=False)
    return render(
        "approval.html.j2",
        title=context.title,
        context=context,
        facts=context.facts(),
        marked=_marked(context),
        findings=context.findings[:_MOST_FINDINGS],
        further_findings=max(0, len(context.findings) - _MOST_FINDINGS),
        layers=[(layer, [Markup(block) for _, block in steps]) for layer, steps in groupby(numbered, lambda one: one[0].layer)],  # noqa: S704  (rendered above)
        further_steps=left,
        response=response,
    )


def _page_step(step: Step) -> str:
    calls = [
        {"action": call.action, "region": call.region, "parameters": one_line(in_short(call.parameters), _LONGEST_PARAMETERS)}
        for call in step.calls[:_MOST_CALLS]
    ]
    left = step.call_count - len(calls)
    lag = seconds(step.lag_seconds) if step.lag_seconds is not None else ""
    further = plural(left, "further call") if left else ""
    return render("approval_step.html.j2", step=step, calls=calls, further_calls=further, lag=lag)


def mail(context: ApprovalContext, link: str, recipient: str = "", *, share: int = 0, escalated: bool = False) -> tuple[str, str, str]:
    """Subject, text and HTML of the mail that asks `recipient` to decide behind `link`; the text says as much as the HTML.

    `share`: the percentage of the time to decide that is over, if it is a reminder; `escalated`: for who is asked only then.
    """
    urgent = f"{share} % of the time to decide are over" if share else ""
    if share and escalated:
        opening, urgent = "Escalated to you: approval needed", f"{urgent}, and those who were asked first have not decided"
    else:
        opening = "Reminder: approval needed" if share else "Approval needed"
    subject = printable(f"{opening}: {context.headline}", 99)
    blocks = [render("approval_mail_step.html.j2", step=step, said=_said(step)) for step in context.steps]
    steps, left = fitting(blocks, _LARGEST_MAIL)
    findings = context.findings[:_FINDINGS_IN_MAIL]
    html = render(
        "approval_mail.html.j2",
        subject=subject,
        urgent=urgent,
        context=context,
        facts=context.facts(),
        marked=_marked(context),
        findings=findings,
        further_findings=len(context.findings) - len(findings),
        steps=[Markup(step) for step in steps],  # noqa: S704  (rendered above)
        further_steps=left,
        link=link,
        recipient=recipient,
    )
    return subject, text(context, link, urgent), html


def whole_text(context: ApprovalContext) -> str:
    """The request as plain text with nothing left out, the parameters of the calls included: the terminal's."""
    values = {
        "context": context,
        "facts": context.facts(),
        "findings": [f"  {one.severity:<8}{one.words()}" for one in context.findings],
        "steps": ["\n".join((*_text_step(step), *_text_calls(step))) for step in context.steps],
    }
    return render("approval.txt.j2", **values, link="", urgent="", further_findings=0, further_steps=0)


def text(context: ApprovalContext, link: str, urgent: str = "") -> str:
    """The request as the plain text of a mail. `urgent`: what stands above all else."""
    findings, _ = fitting([f"  {one.severity:<8}{one.words()}" for one in context.findings[:_FINDINGS_IN_MAIL]], _FOR_FINDINGS)
    values = {
        "context": context,
        "facts": context.facts(),
        "link": link,
        "urgent": urgent,
        "findings": findings,
        "further_findings": len(context.findings) - len(findings),
    }
    room = _LARGEST_TEXT - len(render("approval.txt.j2", **values, steps=[], further_steps=0).encode()) - 100
    steps, left = fitting(["\n".join(_text_step(step)) for step in context.steps], room)
    return render("approval.txt.j2", **values, steps=steps, further_steps=left)


def _text_step(step: Step) -> Iterator[str]:
    yield f"  layer {step.layer}: {step.name} ({step.module}, account {step.account})"
    if step.irreversible:
        yield "    IRREVERSIBLE: what this step does cannot be undone"
    yield f"    {_said(step)}"
    if step.note:
        yield f"    note: {step.note}"


def _text_calls(step: Step) -> Iterator[str]:
    for call in step.calls:
        yield f"      {call.action} in {call.region} {one_line(in_short(call.parameters), _LONGEST_PARAMETERS)}"
    if step.call_count > len(step.calls):
        yield f"      and {plural(step.call_count - len(step.calls), 'further call')}, of which there was no room to keep the parameters"
    if step.may_also_call:
        yield f"      may also call: {step.may_also_call}"
    if step.lag_seconds is not None:
        yield f"      {seconds(step.lag_seconds)} of data not yet replicated"


def _said(step: Step) -> str:
    """What is said of a resource where there is no room for the calls' parameters."""
    if not step.looked_at:
        return "not looked at"
    return step.actions if step.call_count else step.why_no_call


def _marked(context: ApprovalContext) -> Mapping[str, str]:
    """The facts that ought to catch the eye, with how serious they are."""
    marked = {}
    if context.is_blocked or not context.is_preflown:
        marked["Preflight"] = "bad"
    elif context.findings:
        marked["Preflight"] = "warn"
    if context.irreversible or not context.is_preflown:
        marked["Undoing"] = "bad"
    if not context.requester_verified:
        marked["Requested by"] = "warn"
    return marked
