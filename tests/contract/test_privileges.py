"""The page of least privilege is about the statements that there are, and what finds an unneeded one does find it."""

import re

from tests.privileges.page import IN_A_LOCAL_CLOUD, NOT_SHOWN, PAGE, page, problems
from tests.privileges.statements import Authorisation, Statement, deployed, needed

READ = Statement("SweepFunctionRole", "ReadState", ("dynamodb:GetItem", "dynamodb:Query"))
MOVE = Statement("SweepFunctionRole", "MoveState", ("dynamodb:PutItem",))


def seen(action: str, *sids: str, role: str = "dr-orchestrator-SweepFunctionRole-1a2b", allowed: bool = True) -> Authorisation:
    return Authorisation(role, action, allowed, frozenset(sids))


def test_the_page_has_every_statement_that_is_deployed_and_no_other() -> None:
    shown, role = set(), ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            role = line.removeprefix("## ")
        elif found := re.match(r"\| (\w+) \| (`|not shown: .)", line):
            shown.add(f"{role}.{found[1]}")
    assert shown == {one.key for one in deployed()}, "make unit least-privilege"


def test_each_statement_has_a_name_of_its_own() -> None:
    keys = [one.key for one in deployed()]
    assert len(set(keys)) == len(keys) and set(NOT_SHOWN) | IN_A_LOCAL_CLOUD <= set(keys) and not set(NOT_SHOWN) & IN_A_LOCAL_CLOUD


def test_a_statement_is_needed_by_a_call_that_it_alone_allows() -> None:
    found = needed([READ, MOVE], [seen("dynamodb:Query", "ReadState"), seen("dynamodb:PutItem", "MoveState", "ReadState")])
    assert found == {READ: {"dynamodb:Query"}, MOVE: set()}
    assert not needed([READ], [seen("dynamodb:Query", "ReadState", allowed=False)])[READ], "a session's policy refused it"
    assert not needed([READ], [seen("dynamodb:Query", "ReadState", role="dr-orchestrator-OtherSweepFunctionRole")])[READ]


def test_a_statement_that_nobody_needs_is_found_and_a_reason_that_is_none() -> None:
    assert [line.partition(":")[0] for line in problems({READ: {"dynamodb:Query"}, MOVE: set()})][:1] == [MOVE.key]
    assert not any(line.startswith(MOVE.key) for line in problems({READ: {"dynamodb:Query"}, MOVE: set()}, excused=[MOVE.key]))
    shown = Statement("PublishChangesFunctionRole", "KeepWhatFailed", ("sqs:SendMessage",))
    assert any("was needed by ['sqs:SendMessage']" in line for line in problems({shown: {"sqs:SendMessage"}}))
    assert "| MoveState | not shown: " in page({READ: {"dynamodb:Query"}, MOVE: set()})
