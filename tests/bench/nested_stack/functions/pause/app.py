"""The module behind the nested state machines: nothing but time, in the target account's role.

In:  {"operation": "instantiate" | "instantiate_status_check", "resource": a manifest's resource, "startedAt"?: seconds since 1970}
Out: {"startedAt": ..., "done": ...}
"""

import os
import time
from functools import cache
from typing import Any

import boto3

sts = boto3.client("sts")


@cache
def target(account: str) -> str:
    """Assume the role in the target account, once in a warm function. Gives the key of its credentials."""
    role = f"arn:aws:iam::{account}:role/{os.environ['TARGET_ROLE_NAME']}"
    purpose = {"dr-application": "bench", "dr-execution": "nested", "dr-phase": "INSTANTIATE"}
    assumed = sts.assume_role(
        RoleArn=role,
        RoleSessionName="dr-nested",
        ExternalId=os.environ["EXTERNAL_ID"],
        Tags=[{"Key": key, "Value": value} for key, value in purpose.items()],
    )
    return assumed["Credentials"]["AccessKeyId"]


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Begin, or look whether the time is over."""
    resource = event["resource"]
    target(resource["AccountId"])
    started = event.get("startedAt") or time.time()
    return {"startedAt": started, "done": time.time() - started >= resource["parameters"]["Seconds"]}
