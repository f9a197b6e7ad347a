"""Reads a manifest from S3, as the specification's DR-Orchestrator does.

In:  {"bucket": ..., "key": ...}
Out: {"layers": [...]}
"""

import json
from typing import Any

import boto3

s3 = boto3.client("s3")


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Give the manifest's layers."""
    body = s3.get_object(Bucket=event["bucket"], Key=event["key"])["Body"].read()
    return {"layers": json.loads(body)}
