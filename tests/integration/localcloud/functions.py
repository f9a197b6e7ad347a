"""Lambda functions for the tests of this directory."""

import io
import json
import sys
import zipfile
from collections.abc import Sequence

from localcloud.cloud import LocalCloud

_TRUST = {"Effect": "Allow", "Principal": {"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]}, "Action": "sts:AssumeRole"}
_EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def archive_of(path: str, source: str) -> bytes:
    """An archive of one file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(path, source)
    return archive.getvalue()


def make_function(cloud: LocalCloud, name: str, source: str, layers: Sequence[str] = ()) -> str:
    """A Lambda function of the control account that may do anything; gives the ARN of its role."""
    iam = cloud.client("iam")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [_TRUST]})
    role = str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy)["Role"]["Arn"])
    iam.put_role_policy(
        RoleName=name, PolicyName="everything", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [_EVERYTHING]})
    )
    functions = cloud.client("lambda")
    functions.create_function(
        FunctionName=name,
        Runtime=f"python3.{sys.version_info.minor}",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": archive_of("app.py", source)},
        Layers=list(layers),
        Timeout=20,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return role
