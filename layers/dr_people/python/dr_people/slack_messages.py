"""A request for approval in Slack's Block Kit: the message with its buttons, its outcome, and the dialog in which one decides.

Limits of Slack: 50 blocks a message, 3,000 characters a section, 2,000 a button's value, 24 a dialog's title, 3,000 its metadata.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from dr_core.phases import Phase
from dr_core.reports import fitting
from dr_people.approval_context import ApprovalContext, Step

Block = dict[str, Any]
Decision = Literal["approve", "reject"]

APPROVE: Literal["approve"] = "approve"
REJECT: Literal["reject"] = "reject"
DIALOG = "decide"
_MOST_STEPS = 25
_MOST_FINDINGS = 10
_LONGEST_SECTION = 3000
_LONGEST_LINE = 400  # before it is escaped, which makes at most five characters of one
_LONGEST_NAME = 80
_FOR_STEPS = 9_000  # bytes of all steps
_SAID_ALREADY = ("Application", "Phase", "Mode", "Acts on", "Other Region", "Manifest (SHA-256)")


def message(context: ApprovalContext) -> tuple[str, list[Block]]:
    """The text of the notification and the blocks: with buttons while it waits, else with the outcome."""
    headline = f"{context.headline} {context.decided or 'waits for your decision'}"
    blocks: list[Block] = [{"type": "header", "text": {"type": "plain_text", "text": _cut(context.title, 150), "emoji": False}}]
    if context.decided:
        reason = f"\nReason: {escaped(context.decision_reason)}" if context.decision_reason else ""
        blocks.append(_section(f"*This request {escaped(context.decided)}.*{reason}"))
    route = f"{context.mode}, in {context.target_region}; the other Region is {context.source_region}"
    facts = {name: value for name, value in context.facts().items() if name not in _SAID_ALREADY}
    blocks += _listed(route, [f"*{name}:* {_line(value)}" for name, value in facts.items()], 0, context)
    blocks += _findings(context)
    blocks += _steps(context)
    if context.is_open:
        value = json.dumps({"execution": context.execution_id, "manifest": context.manifest_sha256, "plan": context.plan_sha256})
        blocks.append({"type": "actions", "block_id": "decision", "elements": [_button(APPROVE, value), _button(REJECT, value)]})
    where = f"`drctl status {context.execution_id}`"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"All of it, with the calls' parameters: {where}"}]})
    return _cut(headline, 300), blocks


def without_buttons(blocks: list[Block]) -> list[Block]:
    """The same where nobody may decide in Slack."""
    return [block for block in blocks if block["type"] != "actions"]


def _findings(context: ApprovalContext) -> Iterator[Block]:
    if context.findings:
        shown = [f"*{one.severity}* {_line(one.words())}" for one in context.findings[:_MOST_FINDINGS]]
        yield from _listed("*Found by preflight*", shown, len(context.findings) - len(shown), context)


def _steps(context: ApprovalContext) -> Iterator[Block]:
    title = "*What would be called; nothing has been changed yet*" if context.is_preflown and context.is_open else "*What it acts on*"
    shown, _ = fitting([_step(step) for step in context.steps[:_MOST_STEPS]], _FOR_STEPS)
    yield from _listed(title, shown, len(context.steps) - len(shown), context)


def _listed(title: str, lines: list[str], left: int, context: ApprovalContext) -> Iterator[Block]:
    """Sections that hold the lines, and one more that says how many were left out."""
    text = title
    for line in lines:
        if len(text) + len(line) + 1 > _LONGEST_SECTION:
            yield _section(text)
            text = line
        else:
            text = f"{text}\n{line}"
    yield _section(text)
    if left:
        yield _section(f"and {left} more: `drctl status {context.execution_id}`")


def _step(step: Step) -> str:
    said = (step.actions if step.call_count else step.why_no_call) if step.looked_at else "not looked at"
    mark = " :warning: *irreversible*" if step.irreversible else ""
    return f"• layer {step.layer}: *{_name(step.name)}* ({_name(step.module)}, account {step.account}){mark}\n    {_line(said)}"


def dialog(context: ApprovalContext, decision: Decision, channel: str) -> dict[str, Any]:
    """The dialog that asks for the reason and, to approve what cannot be undone easily, for the application's name."""
    word = "Approve" if decision == APPROVE else "Reject"
    held = {
        "decision": decision,
        "execution": context.execution_id,
        "manifest": context.manifest_sha256,
        "plan": context.plan_sha256,
        "channel": channel,
    }
    blocks = [_section(f"*{escaped(context.headline)}*\n{_line(context.verdict)}\n{_line(context.undoing)}")]
    if confirmation_of(context, decision):
        typed = {"type": "plain_text_input", "action_id": "confirmation", "max_length": 100}
        hint = _plain(f"Type {context.application}: this cannot be taken back by rejecting it later")
        blocks.append(
            {"type": "input", "block_id": "confirmation", "label": _plain("The application's name"), "hint": hint, "element": typed}
        )
    reason = {"type": "plain_text_input", "action_id": "reason", "multiline": True, "max_length": 500}
    blocks.append({"type": "input", "block_id": "reason", "label": _plain("Reason"), "element": reason, "optional": decision == APPROVE})
    return {
        "type": "modal",
        "callback_id": DIALOG,
        "title": _plain(f"{word} {context.phase}"[:24]),
        "submit": _plain(word),
        "close": _plain("Cancel"),
        "private_metadata": json.dumps(held),
        "blocks": blocks,
    }


def notice(title: str, text: str) -> dict[str, Any]:
    """The dialog's last page."""
    return {"type": "modal", "title": _plain(title[:24]), "close": _plain("Close"), "blocks": [_section(_line(text))]}


def confirmation_of(context: ApprovalContext, decision: str) -> str:
    """What must be typed; empty for nothing."""
    return context.application if decision == APPROVE and context.phase in (Phase.ACTIVATE, Phase.CLEANUP) else ""


def escaped(text: str) -> str:
    """Text as Slack's mrkdwn: the three characters that Slack names are escaped, so that no link or mention can be made of it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(text: str) -> str:
    return escaped(_cut(text, _LONGEST_LINE))


def _name(text: str) -> str:
    return escaped(_cut(text, _LONGEST_NAME))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _plain(text: str) -> Mapping[str, object]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _button(decision: Decision, value: str) -> Block:
    style = "primary" if decision == APPROVE else "danger"
    text = _plain("Approve…" if decision == APPROVE else "Reject…")
    return {"type": "button", "action_id": decision, "style": style, "value": value, "text": text}
