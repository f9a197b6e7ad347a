"""Hold every statement against what the tests saw asked for: `python -m tests.privileges.page [--write]`.

After `make unit` alone, statements of `IN_A_LOCAL_CLOUD` may be missing; after `make integration` as well, none. Exit code 1 where a
statement was never needed, or one that is said not to be shown was. `--write` writes docs/least-privilege.md.
"""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from tests.privileges.statements import Statement, deployed, needed, noted
from tests.support.deployed import AUTHORISATIONS

PAGE: Final = Path(__file__).parents[2] / "docs" / "least-privilege.md"
_IMPLIED: Final = "AWS asks for it on the caller's behalf; nobody calls it"
_MISSING: Final = "S3 asks for it to say that an object is not there, and not that it may not be read; nobody calls it"
# What no test can show, with the reason. A statement that is needed after all must not stand here.
NOT_SHOWN: Final[Mapping[str, str]] = {
    "AcceptRequestFunctionRole.SeeMissingManifests": _MISSING,
    "AnswerSlackFunctionRole.SeeMissingManifests": _MISSING,
    "CleanupRole.CreateGrant": _IMPLIED,
    "CleanupRole.Kms": _IMPLIED,
    "DecideApprovalFunctionRole.SeeMissingManifests": _MISSING,
    "ExecutionRole.CreateGrant": _IMPLIED,
    "ExecutionRole.Kms": _IMPLIED,
    "ExecutionRole.PassRole": _IMPLIED,
    "PublishChangesFunctionRole.KeepWhatFailed": "Lambda itself sends the failed batch with the function's role",
    "StartExecutionFunctionRole.SeeMissingManifests": _MISSING,
}
# What the tests on the deployed stack show, and those of a function in this process do not.
IN_A_LOCAL_CLOUD: Final = frozenset(
    {
        "AcceptRequestFunctionRole.ActInTargetAccounts",
        "AnswerSlackFunctionRole.ReadManifests",
        "ApprovalStateMachineRole.AskAndExpire",
        "DecideApprovalFunctionRole.CompareManifests",
        "PreflightExecutionFunctionRole.LookIntoTargetAccounts",
        "RemindApproversFunctionRole.AskApprovers",
        "StartExecutionFunctionRole.ActInTargetAccounts",
    }
)
_HEAD: Final = """\
# Least privilege

Each statement of each role, and the calls that it alone allowed in the tests: take the statement away, and these calls are refused.
`make least-privilege` writes this page from what the last tests noted, and fails where no call needed a statement; `make unit` does so too.
Nothing on it is written by hand but the reasons.

How it is known. Tests of functions let no call through that the function's policy does not allow, and note the statements that do. The
stories of the modules are held in the same way against the roles of the target accounts. The local cloud evaluates each call of the
deployed stack against the role's policies, its boundary and the session's policy, for the services of target accounts as well
([architecture](architecture.md)). A call counts for a statement when no other one of the role allows it.

"""


def problems(found: Mapping[Statement, set[str]], excused: Collection[str] = ()) -> list[str]:
    """Statements that nobody needed, but for those `excused`, and reasons that are none."""
    keys = {one.key: actions for one, actions in found.items()}
    remedy = "no call needed it; take it out, or say in tests/privileges/page.py why none can be seen"
    wrong = [f"{key}: {remedy}" for key, actions in keys.items() if not actions and key not in NOT_SHOWN and key not in excused]
    wrong += [f"{key}: stands in tests/privileges/page.py, and there is no such statement" for key in NOT_SHOWN if key not in keys]
    return wrong + [f"{key}: is in NOT_SHOWN, and was needed by {sorted(keys[key])}" for key in NOT_SHOWN if keys.get(key)]


def page(found: Mapping[Statement, set[str]]) -> str:
    """The page, Markdown."""
    text, role = _HEAD, ""
    for one, actions in sorted(found.items()):
        if one.role != role:
            role = one.role
            text += f"\n## {role}\n\n| Statement | Refused without it | Allowed besides, not seen |\n|---|---|---|\n"
        rest = [action for action in one.actions if action not in actions]
        shown = _listed(sorted(actions)) or f"not shown: {NOT_SHOWN.get(one.key, 'only the tests on the deployed stack can')}"
        text += f"| {one.sid} | {shown} | {_listed(rest) or '-'} |\n"
    return text


def _listed(actions: list[str]) -> str:
    return ", ".join(f"`{action}`" for action in actions)


def main() -> int:
    """Say what is wrong."""
    found = needed(deployed(), noted())
    in_a_cloud = any(not path.name.startswith("unit-") for path in AUTHORISATIONS.glob("*.jsonl"))
    wrong = problems(found, excused=() if in_a_cloud else IN_A_LOCAL_CLOUD)
    sys.stdout.write("\n".join([*wrong, f"{sum(map(bool, found.values()))} of {len(found)} statements were needed"]) + "\n")
    if "--write" in sys.argv:
        PAGE.write_text(page(found))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
