"""What stands between drctl and AWS is said in one line, with the remedy."""

import json
from importlib import metadata

import boto3
import pytest
from typer.testing import CliRunner, Result

from drctl.app import app
from tests.support.desk import ID, Desk, answering


def run(*arguments: str) -> Result:
    """drctl as the shell starts it, except for moto."""
    return CliRunner().invoke(app, arguments)


def test_the_version_asks_nobody() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"drctl {metadata.version('dr-orchestrator')}\n")


def test_a_missing_stack(desk: Desk) -> None:
    result = run("--stack", "other", "status", ID)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "drctl: there is no stack other in us-west-2",
        "       name it with --stack or DRCTL_STACK, and its Region with --region; or deploy it first",
    ]


def test_a_stack_that_is_something_else(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"Resources": {"Any": {"Type": "AWS::SNS::Topic"}}}
    boto3.client("cloudformation").create_stack(StackName="else", TemplateBody=json.dumps(body))
    monkeypatch.setenv("DRCTL_STACK", "else")
    result = run("status", ID)
    assert result.exit_code == 2
    assert result.stderr.startswith("drctl: stack else has no output StateTableName")


def test_no_region(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    result = run("status", ID)
    assert result.exit_code == 2
    assert result.stderr.startswith("drctl: no Region is chosen\n       name the orchestrator's own: drctl --region")


def test_no_credentials(no_credentials: None) -> None:
    result = run("status", ID)
    assert result.exit_code == 2
    assert result.stderr.startswith("drctl: no AWS credentials: Unable to locate credentials\n       log in")


def test_no_table(desk: Desk) -> None:
    boto3.client("dynamodb").delete_table(TableName="state-table")
    result = run("status", ID)
    assert result.exit_code == 2
    assert result.stderr.startswith("drctl: AWS refused Query: ResourceNotFoundException")


def test_no_right(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = {"Error": {"Code": "AccessDenied", "Message": "not authorized"}}
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", answering("cloudformation", "DescribeStacks", denied, 403))
    result = run("executions", "storefront")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "drctl: AWS refused DescribeStacks: AccessDenied: not authorized",
        "       ask for the rights of an operator, or use another profile (AWS_PROFILE)",
    ]


def test_commands_to_copy_lead_to_the_same_stack(desk: Desk) -> None:
    desk.request([("web", "ECS")])
    here = run("status", ID)
    there = run("--stack", "dr-orchestrator", "--region", "us-west-2", "status", ID)
    assert f"  drctl approve {ID} --reason TEXT" in here.stdout
    assert f"  drctl --stack dr-orchestrator --region us-west-2 approve {ID} --reason TEXT" in there.stdout


@pytest.mark.parametrize(
    "command",
    [
        "validate",
        "permissions",
        "preflight",
        "plan",
        "calls",
        "start",
        "approve",
        "reject",
        "status",
        "watch",
        "executions",
        "local",
        "new-module",
    ],
)
def test_each_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert command in ("validate", "local") or f"drctl {command} " in result.stdout.split("Examples:")[1]
