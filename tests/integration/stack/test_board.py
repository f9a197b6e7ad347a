"""A call that AWS refuses, in the middle of a phase: the dashboard's first page names it and the command that mends it, and it does."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from dr_core.records import ExecutionStatus, ResourceStatus
from localcloud.applications import storefront
from localcloud.cloud import WORKLOAD_ACCOUNT
from localcloud.faults import Effect, Fault
from tests.browser.conftest import browser, context, page
from tests.integration.stack.operator import Operator
from tests.support.widget_shell import WidgetShell

__all__ = ["browser", "context", "page"]

REFUSED = Fault(effect=Effect.ERROR, code="AccessDeniedException", service="ecs", operation="UpdateService", account=WORKLOAD_ACCOUNT)


def test_from_the_first_page_to_the_refused_call_and_back_to_work(operator: Operator, page: Page) -> None:
    storefront.stand_down(operator.cloud)
    with operator.cloud.faults.during(REFUSED):
        execution_id = operator.request(phase="INSTANTIATE", mode="unplanned")
        assert operator.decide(execution_id, "approve").status_code == 200
        assert operator.finished(execution_id).status is ExecutionStatus.FAILED
    (failed,) = [one for one in operator.table.resources(execution_id) if one.status is ResourceStatus.FAILED]
    assert failed.failure is not None and failed.failure.request_id

    widget = WidgetShell(page, lambda event: shown(operator, event))
    expect(page.get_by_role("heading", level=1)).to_contain_text("halted")
    case = page.get_by_role("region", name="INSTANTIATE of storefront")
    expect(case).to_contain_text(failed.name)
    expect(case).to_contain_text("AccessDeniedException")
    expect(case).to_contain_text(failed.failure.request_id)
    command = case.locator("code.mend").inner_text()

    widget.click("INSTANTIATE of storefront in us-west-2")
    widget.click(failed.name)
    widget.click("Attempt 1")
    call = page.get_by_role("row").filter(has_text="ecs:UpdateService")
    expect(call).to_contain_text(failed.failure.request_id)
    assert widget.clicks <= 4
    assert widget.endpoints == {operator.cloud.client("lambda").get_function(FunctionName=NAME)["Configuration"]["FunctionArn"]}

    words = shlex.split(command)
    assert words[0] == "drctl"
    mended = subprocess.run([str(Path(sys.executable).with_name("drctl")), *words[1:]], capture_output=True, text=True, check=False)
    assert mended.returncode == 0, mended.stderr
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
    widget.click("All executions")
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing is under way")


NAME = "dr-orchestrator-show-dashboard"


def shown(operator: Operator, event: dict[str, Any]) -> Any:
    """What the deployed function answers to CloudWatch."""
    answer = operator.cloud.client("lambda").invoke(FunctionName=NAME, Payload=json.dumps(event).encode())
    body = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body
