"""The S3 that MemoryDB exports to and restores from: the gateway's where there is one, else moto's own in this process.

The server of moto answers one request at a time. A call to S3 from within a request is safe all the same: S3 is ministack's, and the
gateway knows the owner of an account's root key without asking anybody.
"""

import os
from functools import cache
from typing import Any, Final, Protocol

import boto3
from botocore.exceptions import ClientError

from localcloud.control_plane import ROOT_SECRET

ENDPOINT_VARIABLE: Final = "LOCALCLOUD_ENDPOINT_URL"


class Storage(Protocol):
    """What MemoryDB needs of an account's buckets."""

    def bucket_region(self, bucket: str) -> str | None:
        """The Region of a bucket, None where there is no such bucket."""

    def has(self, bucket: str, key: str) -> bool:
        """Whether there is such an object."""

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Write an object."""


def storage(account: str, region: str) -> Storage:
    """The buckets of an account, called from a Region."""
    endpoint_url = os.environ.get(ENDPOINT_VARIABLE)
    return _Remote(_client(endpoint_url, account, region)) if endpoint_url else _InProcess(account)


@cache
def _client(endpoint_url: str, account: str, region: str) -> Any:
    return boto3.client("s3", region_name=region, endpoint_url=endpoint_url, aws_access_key_id=account, aws_secret_access_key=ROOT_SECRET)


class _Remote:
    """S3 behind the gateway."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def bucket_region(self, bucket: str) -> str | None:
        try:
            return str(self._s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] or "us-east-1")
        except self._s3.exceptions.NoSuchBucket:
            return None

    def has(self, bucket: str, key: str) -> bool:
        try:
            self._s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
                return False
            raise
        return True

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._s3.put_object(Bucket=bucket, Key=key, Body=body)


class _InProcess:
    """moto's S3."""

    def __init__(self, account: str) -> None:
        from moto.s3.models import s3_backends  # not at the top: the launcher reads ENDPOINT_VARIABLE, and moto takes a second to load

        self._backend = s3_backends[account]["aws"]

    def bucket_region(self, bucket: str) -> str | None:
        found = self._backend.buckets.get(bucket)
        return str(found.region_name) if found else None

    def has(self, bucket: str, key: str) -> bool:
        return bucket in self._backend.buckets and self._backend.get_object(bucket, key) is not None

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._backend.put_object(bucket, key, body)
