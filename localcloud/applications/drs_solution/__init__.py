"""A stand-in for the DRS Orchestration Solution in the local cloud: its execution handler, as a Lambda function.

The real one is github.com/johnjcousens/aws-elasticdrs-orchestrator. The handler itself is `index.py` beside this file; what it does with a
plan follows from the plan's id.
"""

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from localcloud.cloud import WORKLOAD_ACCOUNT, LocalCloud

FUNCTION: Final = "drs-orchestration-execution-handler"
PREFIX: Final = "/drs-orchestration"  # of the parameters in which the handler keeps its executions
_ROLE: Final = f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/{FUNCTION}"


def create(cloud: LocalCloud, region: str, *, wave_seconds: float = 10.0) -> str:
    """Deploy the handler in the workload account; a wave of a plan takes so long. Returns the function's name."""
    iam = cloud.client("iam", region, WORKLOAD_ACCOUNT)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    allow = {"Effect": "Allow", "Action": ["ssm:GetParameter", "ssm:PutParameter"], "Resource": "*"}
    with suppress(iam.exceptions.EntityAlreadyExistsException):  # roles have no Region: the first one made it
        iam.create_role(RoleName=FUNCTION, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=FUNCTION, PolicyName="state", PolicyDocument=policy)
    cloud.client("lambda", region, WORKLOAD_ACCOUNT).create_function(
        FunctionName=FUNCTION,
        Runtime="python3.13",
        Role=_ROLE,
        Handler="index.lambda_handler",
        Timeout=60,
        Code={"ZipFile": package()},
        Environment={"Variables": {"WAVE_SECONDS": str(wave_seconds)}},
    )
    return FUNCTION


def package() -> bytes:
    """The function's code."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.write(Path(__file__).with_name("index.py"), "index.py")
    return code.getvalue()


def call(cloud: LocalCloud, region: str, operation: str, **event: str) -> dict[str, Any]:
    """Have the handler carry out an operation. Returns the body of its answer."""
    payload = json.dumps({"operation": operation, **event}).encode()
    answer = cloud.client("lambda", region, WORKLOAD_ACCOUNT).invoke(FunctionName=FUNCTION, Payload=payload)
    body: dict[str, Any] = json.loads(json.loads(answer["Payload"].read())["body"])
    return body


def last_execution(cloud: LocalCloud, region: str, plan: str) -> dict[str, Any] | None:
    """A plan's last execution in full, None where it has never been executed."""
    ssm = cloud.client("ssm", region, WORKLOAD_ACCOUNT)
    try:
        known = json.loads(ssm.get_parameter(Name=f"{PREFIX}/plans/{plan}")["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return None
    return call(cloud, region, "get_execution_details", executionId=known["executionId"])
