"""`drctl publish`: every control Region gets the same, what is not valid gets nowhere, and whatever differs is named."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from dr_engine.plan import check_manifest
from tests.support.desk import BUCKET, HOME, OTHER, STACK, Desk

THERE = "the-manifests-there"
MANIFEST = [
    {
        "layer": 1,
        "resources": [
            {
                "action": "ECS",
                "resourceName": "api",
                "AccountId": "123456789012",
                "parameters": {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 4},
            }
        ],
    }
]
REGISTRATION = {"application": "shop", "regions": {"primary": OTHER, "standby": HOME}}
KEYS = ["shop/Instantiate.json", "shop/application.json"]


@pytest.fixture
def regions(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Two control Regions, each with a versioned bucket; the state table names the second as a replica."""
    body = {"Resources": {"Any": {"Type": "AWS::SNS::Topic"}}, "Outputs": {"ManifestBucketName": {"Value": THERE}}}
    boto3.client("cloudformation", region_name=OTHER).create_stack(StackName=STACK, TemplateBody=json.dumps(body))
    here = {"CreateBucketConfiguration": {"LocationConstraint": HOME}}
    for region, bucket, where in ((HOME, BUCKET, here), (OTHER, THERE, {})):
        s3: Any = boto3.client("s3", region_name=region)
        s3.create_bucket(Bucket=bucket, **where)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def with_replica(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        parsed["Table"]["Replicas"] = [{"RegionName": OTHER, "ReplicaStatus": "ACTIVE"}]

    session = boto3.Session()
    session.events.register("after-call.dynamodb.DescribeTable", with_replica)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    yield desk


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """An application's folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "Instantiate.json").write_text(json.dumps(MANIFEST))
    (folder / "application.json").write_text(json.dumps(REGISTRATION))
    (folder / "notes.md").write_text("not for the bucket")
    return folder


def versions(bucket: str) -> list[str]:
    """The key of each version, oldest last."""
    return [one["Key"] for one in boto3.client("s3").list_object_versions(Bucket=bucket).get("Versions", [])]


def test_every_control_region_gets_the_same_with_its_digest(regions: Desk, shop: Path) -> None:
    result = regions.run("publish", str(shop))
    assert result.exit_code == 0, result.output
    digest = hashlib.sha256((shop / "Instantiate.json").read_bytes()).hexdigest()
    for bucket in (BUCKET, THERE):
        assert sorted(versions(bucket)) == KEYS
        got = boto3.client("s3").get_object(Bucket=bucket, Key=KEYS[0])
        assert json.loads(got["Body"].read()) == MANIFEST
        assert got["Metadata"]["sha256"] == digest and got["Metadata"]["published-by"].startswith("arn:aws:")
        assert f"{KEYS[0]}  {digest[:12]}  published, version {got['VersionId']}" in result.stdout
    assert f"{OTHER}, {HOME}: the same 2 files" in result.stdout


def test_what_is_there_already_gets_no_new_version(regions: Desk, shop: Path) -> None:
    regions.run("publish", str(shop))
    again = regions.run("publish", str(shop))
    assert again.exit_code == 0 and again.stdout.count("unchanged") == 4
    (shop / "Instantiate.json").write_text(json.dumps(MANIFEST, indent=1))
    regions.run("publish", str(shop))
    assert sorted(versions(BUCKET)) == sorted(versions(THERE)) == sorted([*KEYS, KEYS[0]])


def test_one_invalid_file_keeps_all_from_being_written_and_every_problem_is_named(regions: Desk, shop: Path) -> None:
    (shop / "Activate.json").write_text("{")
    (shop / "application.json").write_text('{"application": "other"}')
    result = regions.run("publish", str(shop))
    assert result.exit_code == 2
    assert "Activate.json" in result.stderr and "regions" in result.stderr
    assert versions(BUCKET) == versions(THERE) == []


def test_what_was_validated_is_what_is_published_though_the_file_changes_meanwhile(
    regions: Desk, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = check_manifest

    def checked_and_then_changed(*given: Any) -> Any:
        (shop / "Instantiate.json").write_text("{")
        return checked(*given)

    monkeypatch.setattr("drctl.validate.check_manifest", checked_and_then_changed)
    assert regions.run("publish", str(shop)).exit_code == 0
    got = boto3.client("s3").get_object(Bucket=BUCKET, Key=KEYS[0])
    assert json.loads(got["Body"].read()) == MANIFEST


def test_a_file_is_published_under_the_name_that_is_looked_for(regions: Desk, shop: Path) -> None:
    (shop / "Instantiate.json").rename(shop / "instantiate.JSON")
    assert regions.run("publish", str(shop)).exit_code == 0
    assert KEYS[0] in versions(BUCKET)


def test_a_region_that_does_not_answer_keeps_the_others_from_nothing(regions: Desk, shop: Path) -> None:
    def dark(request: Any, **_: Any) -> None:
        if OTHER in request.url:
            raise EndpointConnectionError(endpoint_url=request.url)

    session = boto3.DEFAULT_SESSION
    assert session
    session.events.register("before-send.*.*", dark)
    result = regions.run("publish", str(shop))
    assert result.exit_code == 1 and f"{OTHER}: AWS cannot be asked" in result.stderr
    assert sorted(versions(BUCKET)) == KEYS
    assert regions.run("publish", str(shop), "--to", HOME).exit_code == 0, "who leaves it out is content"
    session.events.unregister("before-send.*.*", dark)
    assert versions(THERE) == []
    assert regions.run("publish", str(shop)).exit_code == 0
    assert sorted(versions(THERE)) == KEYS


def test_a_check_changes_nothing_and_names_what_differs(regions: Desk, shop: Path) -> None:
    regions.run("publish", str(shop))
    s3 = boto3.client("s3")
    s3.put_object(Bucket=THERE, Key=KEYS[0], Body=b"[]")
    s3.delete_object(Bucket=BUCKET, Key=KEYS[1])
    before = versions(BUCKET), versions(THERE)
    among = regions.run("publish", "--check")
    assert among.exit_code == 1 and (versions(BUCKET), versions(THERE)) == before
    digests = [hashlib.sha256(body).hexdigest()[:12] for body in (b"[]", (shop / "Instantiate.json").read_bytes())]
    assert f"{KEYS[0]}: {OTHER} has {digests[0]}, {HOME} has {digests[1]}" in among.stderr
    assert f"{KEYS[1]}: {HOME} has none" in among.stderr
    with_files = regions.run("publish", "--check", str(shop))
    assert with_files.exit_code == 1
    assert f"{KEYS[0]}: {OTHER} has {digests[0]}, the file is {digests[1]}" in with_files.stderr
    assert HOME not in "".join(line for line in with_files.stderr.splitlines() if KEYS[0] in line)


def test_a_check_names_bytes_that_are_not_those_that_were_recorded(regions: Desk, shop: Path) -> None:
    regions.run("publish", str(shop))
    for bucket in (BUCKET, THERE):
        boto3.client("s3").put_object(Bucket=bucket, Key=KEYS[0], Body=b"[]", Metadata={"sha256": "f" * 64})
    result = regions.run("publish", "--check")
    assert result.exit_code == 1 and result.stderr.count("ffffffffffff was recorded with it") == 2


def test_what_is_the_same_everywhere_passes_the_check(regions: Desk, shop: Path) -> None:
    regions.run("publish", str(shop))
    for arguments in (["--check"], ["--check", str(shop)]):
        result = regions.run("publish", *arguments)
        assert result.exit_code == 0 and "the same 2 files" in result.stdout, result.output


def test_a_stack_of_another_name_is_named_with_its_region(regions: Desk, shop: Path) -> None:
    result = regions.run("publish", str(shop), "--to", HOME, "--to", f"{OTHER}=elsewhere")
    assert result.exit_code == 1 and OTHER in result.stderr and versions(THERE) == []
    assert regions.run("publish", str(shop), "--to", f"{OTHER}={STACK}").exit_code == 0
    assert sorted(versions(THERE)) == KEYS


def test_without_anything_to_publish_the_use_is_wrong(regions: Desk) -> None:
    result = regions.run("publish")
    assert result.exit_code == 2 and "--check" in result.stderr
