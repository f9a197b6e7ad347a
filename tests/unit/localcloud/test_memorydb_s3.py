"""The S3 behind MemoryDB: moto's own, or the one at the endpoint that the environment names. Both tell the same."""

import pytest

from localcloud.extension import memorydb_s3

from .conftest import Client

ACCOUNT, REGION = "123456789012", "us-west-2"


@pytest.fixture(params=["in this process", "at an endpoint"])
def storage(request: pytest.FixtureRequest, aws: Client, monkeypatch: pytest.MonkeyPatch) -> memorydb_s3.Storage:
    if request.param == "at an endpoint":
        monkeypatch.setenv(memorydb_s3.ENDPOINT_VARIABLE, f"https://s3.{REGION}.amazonaws.com")  # which moto answers
    found = memorydb_s3.storage(ACCOUNT, REGION)
    assert (type(found).__name__ == "_Remote") is (request.param == "at an endpoint")
    return found


def test_buckets_have_regions(storage: memorydb_s3.Storage, aws: Client) -> None:
    aws("s3", REGION).create_bucket(Bucket="in-the-west", CreateBucketConfiguration={"LocationConstraint": REGION})
    aws("s3", "us-east-1").create_bucket(Bucket="in-the-east")
    assert [storage.bucket_region(name) for name in ("in-the-west", "in-the-east", "missing")] == [REGION, "us-east-1", None]


def test_what_is_put_is_there(storage: memorydb_s3.Storage, aws: Client) -> None:
    aws("s3", "us-east-1").create_bucket(Bucket="backups")
    assert not storage.has("backups", "memorydb/a-0001.rdb")
    assert not storage.has("missing", "memorydb/a-0001.rdb")
    storage.put("backups", "memorydb/a-0001.rdb", b"REDIS0011")
    assert storage.has("backups", "memorydb/a-0001.rdb")
    assert aws("s3", "us-east-1").get_object(Bucket="backups", Key="memorydb/a-0001.rdb")["Body"].read() == b"REDIS0011"
