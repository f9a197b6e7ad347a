"""State machines have the rights of their role, and no others."""

import json
import time
from typing import Any

import pytest

from localcloud.cloud import CONTROL_ACCOUNT, STANDBY_REGION, LocalCloud
from tests.integration.localcloud.functions import make_function

pytestmark = pytest.mark.integration

FUNCTION = "called-by-a-state-machine"
HANDLER = """
import boto3
def handler(event, context):
    if "token" in event:
        boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output="{}")
    return {}
"""
ALLOWED = {"Effect": "Allow", "Action": "lambda:InvokeFunction"}
ARN = f"arn:aws:lambda:{STANDBY_REGION}:{CONTROL_ACCOUNT}:function:"


@pytest.fixture(scope="module")
def function(cloud: LocalCloud) -> str:
    """The ARN of a function that gives a token back."""
    make_function(cloud, FUNCTION, HANDLER)
    return ARN + FUNCTION


def outcome(cloud: LocalCloud, name: str, trusted: str, resource: str, function: str, *, with_token: bool) -> tuple[str, Any]:
    """What comes of calling the function by a state machine whose role may call `resource`: status and error."""
    iam, states = cloud.client("iam"), cloud.client("stepfunctions")
    trust = {"Effect": "Allow", "Principal": {"Service": trusted}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"][
        "Arn"
    ]
    policy = {"Version": "2012-10-17", "Statement": [{**ALLOWED, "Resource": resource}]}
    iam.put_role_policy(RoleName=name, PolicyName="call", PolicyDocument=json.dumps(policy))
    payload = {"token.$": "$$.Task.Token"} if with_token else {}
    task = {"Type": "Task", "Parameters": {"FunctionName": function, "Payload": payload}, "TimeoutSeconds": 30, "End": True}
    kind = "arn:aws:states:::lambda:invoke" + (".waitForTaskToken" if with_token else "")
    definition = json.dumps({"StartAt": "Call", "States": {"Call": {**task, "Resource": kind}}})
    machine = states.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    deadline = time.monotonic() + 60
    while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.1)
    return found["status"], found.get("error")


@pytest.mark.parametrize("with_token", [False, True], ids=["answers", "gives-a-token-back"])
@pytest.mark.parametrize(
    ("trusted", "resource", "wanted"),
    [
        ("states.amazonaws.com", ARN + FUNCTION, ("SUCCEEDED", None)),
        ("states.amazonaws.com", ARN + "another", ("FAILED", "Lambda.AWSLambdaException")),
        ("events.amazonaws.com", ARN + FUNCTION, ("FAILED", "Lambda.AWSLambdaException")),
    ],
    ids=["may", "may-call-another", "is-not-trusted"],
)
def test_a_state_machine_calls_what_its_role_may(
    cloud: LocalCloud, function: str, trusted: str, resource: str, wanted: tuple[str, str | None], with_token: bool
) -> None:
    name = f"states-{abs(hash((trusted, resource, with_token)))}"
    assert outcome(cloud, name, trusted, resource, function, with_token=with_token) == wanted
