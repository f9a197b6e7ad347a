"""`drctl approve` and `drctl reject`: a signed vote, or the same page and form as behind the link that approvers get."""

from typing import Annotated, Literal

import typer
from rich.text import Text

from dr_core.approvals import link_for
from dr_core.state import Refusal
from dr_people.approval_context import load_request
from dr_people.wording import plain
from drctl import page, signed, view
from drctl.cloud import Cloud, cloud_of
from drctl.failures import FAILED, WrongUseError, say

_SHOWN = ("Waits", "Preflight", "Data loss", "Undoing", "Application", "Phase", "Mode", "Acts on", "Requested by", "Reason", "Execution")

ExecutionOrLink = Annotated[
    str,
    typer.Argument(metavar="EXECUTION_OR_LINK", help="The execution's id, or the link from the request for approval.", show_default=False),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit trail.", show_default=False)]
Approver = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who decides; by default the last part of your ARN.", show_default=False)
]


BreakGlass = Annotated[
    bool,
    typer.Option("--break-glass", help="Without quorum and four eyes, in an emergency: for listed principals, with a reason, and loud."),
]


def approve(
    context: typer.Context,
    execution_or_link: ExecutionOrLink,
    reason: Reason = "",
    approver: Approver = None,
    break_glass: BreakGlass = False,
) -> None:
    """Approve an execution: it begins at once.

    With an id, the vote is signed with your AWS credentials and you are who AWS says you are. Where the stack's RequestUrl is not yours to
    use, or you give a name, drctl makes the link itself: that needs the right to read the stack's signing secret. With a link it needs no
    AWS at all if you give your name. Exit code 1 when the decision is not accepted.

    Examples:

    * `drctl approve 01J9ZK3M8Q4T7V2X5B6C8D0E1F --reason "seen, go"`
    * `drctl approve 'https://…/?token=…' --approver ann`
    * `drctl approve 01J9ZK3M8Q4T7V2X5B6C8D0E1F --break-glass --reason "nobody answers, us-east-1 is down"`
    """
    cloud = cloud_of(context)
    if not break_glass:
        _decide(cloud, "approve", execution_or_link, reason, approver)
        return
    if "://" in execution_or_link or approver is not None:
        raise WrongUseError("break-glass is signed with your own credentials", "give the execution's id, and no --approver")
    if not reason.strip():
        raise WrongUseError("break-glass needs a reason", 'say why nobody else can approve: --reason "…"')
    _vote(cloud, "approve", execution_or_link, reason, break_glass=True)


def reject(context: typer.Context, execution_or_link: ExecutionOrLink, reason: Reason = "", approver: Approver = None) -> None:
    """Reject an execution: it ends, and nothing has been touched.

    With an id, the vote is signed with your AWS credentials and you are who AWS says you are. Where the stack's RequestUrl is not yours to
    use, or you give a name, drctl makes the link itself: that needs the right to read the stack's signing secret. With a link it needs no
    AWS at all if you give your name. Exit code 1 when the decision is not accepted.

    Examples:

    * `drctl reject 01J9ZK3M8Q4T7V2X5B6C8D0E1F --reason "not during the sale"`
    * `drctl reject 'https://…/?token=…' --approver ann`
    """
    _decide(cloud_of(context), "reject", execution_or_link, reason, approver)


def _decide(cloud: Cloud, decision: Literal["approve", "reject"], execution_or_link: str, reason: str, approver: str | None) -> None:
    is_link = "://" in execution_or_link
    if not is_link and approver is None and _vote(cloud, decision, execution_or_link, reason):
        return
    link = execution_or_link if is_link else _link(cloud, execution_or_link)
    name = approver or cloud.caller("--approver")
    out = view.console()
    with cloud.http() as client:
        shown = page.fetch(client, link)
        if shown.status != 200 or shown.hidden is None:
            say(shown.says())
            raise typer.Exit(FAILED)
        for fact in _SHOWN:
            if fact in shown.facts:
                out.print(Text(f"{fact:<13} {shown.facts[fact]}"))
        # Who gives the command has named the execution; what the page asks people to type is for those who click.
        typed = {"confirmation": shown.facts.get("Application", "")}
        form = {**shown.hidden, **typed, "approver": name, "reason": reason, "decision": decision}
        decided = page.submit(client, link, form)
    if decided.status != 200:
        say(decided.says())
        raise typer.Exit(FAILED)
    out.print(Text(decided.says(), style="green" if decision == "approve" else "yellow"))


def _vote(cloud: Cloud, decision: Literal["approve", "reject"], execution_id: str, reason: str, *, break_glass: bool = False) -> bool:
    """Decide by a signed request, as who AWS says one is. False if that does not work, and nothing was sent that counts.

    `break_glass` has no other way: raises WrongUseError then.
    """
    found, request = cloud.load(execution_id), load_request(cloud.table, execution_id)
    if isinstance(found, Refusal) or request is None:
        raise _nothing_to_decide(cloud, execution_id)
    seen, approval = request
    shown = {"manifestSha256": approval.manifest_sha256, **({"planSha256": approval.plan_sha256} if approval.plan_sha256 else {})}
    vote = {"executionId": execution_id, "decision": decision, "reason": reason, "breakGlass": break_glass, **shown}
    sent = signed.send(cloud, "Vote Requested", vote)
    if isinstance(sent, str) and break_glass:
        raise WrongUseError(f"nothing was decided: {sent}", "BreakGlassPrincipals of the stack lists who may; the request must be signed")
    if isinstance(sent, str):
        signed.tell_unverified(sent)
        return False
    if sent.status != 200:
        say(f"{sent.body.get('title')}: {plain(sent.body.get('detail'))}", f"{cloud.command} status {execution_id}")
        raise typer.Exit(FAILED)
    out = view.console()
    for fact, value in seen.facts().items():
        if fact in _SHOWN:
            out.print(Text(f"{fact:<13} {value}"))
    word = "approved" if decision == "approve" else "rejected"
    if break_glass:
        out.print(
            Text("Quorum and four eyes were bypassed. The event Approval Bypassed and an alarm tell so, with your name.", style="bold red")
        )
    more = f": {sent.body['votes']} of {sent.body['quorum']} approvals, more are needed" if sent.body["status"] == "PENDING" else ""
    out.print(Text(f"{word} as {plain(sent.body['approver'])}{more}", style="green" if decision == "approve" else "yellow"))
    return True


def _nothing_to_decide(cloud: Cloud, execution_id: str) -> WrongUseError:
    return WrongUseError(f"request {execution_id} was refused: there is nothing to decide", f"{cloud.command} status {execution_id}")


def _link(cloud: Cloud, execution_id: str) -> str:
    """The link to the page of an execution, as the approvers get it. Raises WrongUseError when there is nothing to decide."""
    found = cloud.load(execution_id)
    approval = cloud.table.approval(execution_id)
    if isinstance(found, Refusal) or approval is None:
        raise _nothing_to_decide(cloud, execution_id)
    return link_for(found.execution, approval, cloud.link_signer(), cloud.output("ApprovalPageAddress"))
