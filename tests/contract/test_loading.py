"""What a function loads when it starts cold: what it works with, and nothing else. Each handler is imported in a process of its own."""

import os
import subprocess
import sys
import sysconfig
from typing import Final

import pytest

from tests.support.deployed import functions
from tests.support.state_table import TEMPLATE, template

QUEUES: Final = {  # the handlers of batches; Powertools' processor brings asyncio
    *("advance_execution", "check_resource", "control_execution", "notice_change", "notify_people", "preflight_execution"),
    *("remind_approvers", "settle_approval", "start_approval", "start_execution", "start_resource", "store_report", "update_slack"),
}
ENGINE: Final = {"accept_request", "check_resource", "notice_change", "preflight_execution", "start_execution", "start_resource"}
PAGES: Final = {"decide_approval", "remind_approvers", "request_approval", "show_dashboard", "store_report"}
SLACK: Final = {"answer_slack", "notify_people", "update_slack"}
LINKS: Final = {"decide_approval", "remind_approvers", "request_approval"}
REQUESTS: Final = {"accept_request", "control_execution", "request_preflights", "start_execution"}
EVERY: Final = {one["CodeUri"].removeprefix("functions/") for one in functions().values()}

# Which functions load a module. What one of them needs only sometimes, it imports where it uses it.
LOADED_BY: Final = {
    "asyncio": QUEUES | SLACK,
    "aws_lambda_powertools.utilities.batch": QUEUES,
    "aws_lambda_powertools.utilities.parameters": set(),
    "boto3": set(),
    "cryptography": set(),
    "dr_core.application": REQUESTS - {"control_execution"} | {"notify_people"},
    "dr_core.approvals": LINKS,
    "dr_core.manifest": {"accept_request", "start_execution"},
    "dr_core.reports": PAGES | SLACK,
    "dr_core.requests": REQUESTS | {"notify_people"},
    "dr_core.target": ENGINE,
    "dr_modules.base": ENGINE,
    "itsdangerous": LINKS,
    "jinja2": PAGES,
    "joserfc": set(),
    "multiprocessing": set(),
    "pydantic": EVERY - {"publish_changes"},
    "pynamodb": EVERY - {"publish_changes", "request_preflights", "start_approval"},
    "s3transfer": set(),
    "slack_sdk": SLACK,
}


@pytest.mark.parametrize("function", sorted(EVERY))
def test_a_function_loads_what_it_works_with_and_nothing_else(function: str) -> None:
    (defined,) = (one for one in functions().values() if one["CodeUri"] == f"functions/{function}")
    layers = [*template()["Globals"]["Function"]["Layers"], *defined.get("Layers", ())]
    sources = [TEMPLATE.parent / template()["Resources"][layer]["Properties"]["ContentUri"] for layer in layers]
    path = [str(TEMPLATE.parent / defined["CodeUri"]), *map(str, sources), sysconfig.get_path("purelib")]
    told = subprocess.run(
        [sys.executable, "-S", "-c", "import app, sys; print(*sys.modules)"],
        env={"PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(told.stdout.split())
    assert {name for name in LOADED_BY if name in loaded} == {name for name, who in LOADED_BY.items() if function in who}
    assert {name for name in loaded if name.startswith("dr_modules.")} <= {"dr_modules.base"}, "of the modules, only the one at work"
