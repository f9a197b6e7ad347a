"""`drctl publish`: manifests and registrations to every control Region, and the proof that all of them have the same."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.text import Text

from dr_core.errors import InvalidInputError, Problem
from dr_core.phases import Phase
from drctl import validate, view
from drctl.cloud import Cloud, cloud_of
from drctl.failures import FAILED, WrongUseError, explain, say

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts import STSClient

# A Region that is lost is told of within seconds, not within botocore's minutes.
_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"})
_DIGEST, _BY = "sha256", "published-by"
_SHOWN = 12  # characters of a digest: enough to tell two apart by eye

Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Applications' folders, or single files of theirs.", show_default=False),
]
To = Annotated[
    list[str] | None,
    typer.Option(
        metavar="REGION[=STACK]",
        help="A control Region, and its stack's name if that is another; repeatable. By default all Regions of the state table.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Published:
    """An object as a Region has it: the digest of its bytes, the one that was recorded with it (empty if none), and its version."""

    digest: str
    recorded: str
    version: str


@dataclass(frozen=True)
class Place:
    """The manifest bucket of one control Region."""

    region: str
    bucket: str
    s3: "S3Client"

    def published(self, key: str) -> Published | None:
        """What is there now, read and hashed; None where nothing is."""
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None
        digest = hashlib.sha256(answer["Body"].read()).hexdigest()
        return Published(digest, answer["Metadata"].get(_DIGEST, ""), answer.get("VersionId", ""))

    def put(self, key: str, body: bytes, by: str) -> None:
        """Make it the newest version. S3 itself refuses a body that does not have the digest."""
        digest = hashlib.sha256(body)
        self.s3.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=body,
            ContentType="application/json",
            ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
            Metadata={_DIGEST: digest.hexdigest(), _BY: by},
        )

    def keys(self) -> Iterator[str]:
        """Everything that is published there."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for found in page.get("Contents", []):
                yield found["Key"]


def publish(
    context: typer.Context,
    paths: Paths = None,
    to: To = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Change nothing: hold the Regions against one another and against the files; without files, all that is there."
        ),
    ] = False,
    phase: Annotated[
        Phase | None, typer.Option(case_sensitive=False, help="The phase of a file whose name does not say it.", show_default=False)
    ] = None,
) -> None:
    """Put manifests and application.json into the manifest bucket of every control Region, and see that all have the same.

    Everything is validated before anything is written. What a Region has already is left alone. The digest of each file is recorded with
    its version, and read back. A Region that does not answer keeps the others from nothing: the same command again, when it does.

    Exit code 1: a Region does not answer, or has something else; 2: the files are not valid, and nothing was written.

    Examples:

    * `drctl publish manifests/storefront`
    * `drctl publish --check`
    * `drctl publish manifests/storefront --to us-west-2`, while the other Region is lost
    """
    cloud = cloud_of(context)
    if not paths and not check:
        raise WrongUseError("nothing is named to publish", "name an application's folder, or give --check")
    files = _read(paths or [], phase)
    places, troubles = _places(cloud, to or [])
    there: dict[str, dict[str, Published | None]] = {}
    for place in places:
        try:
            if not check:
                _publish(place, files)
            there[place.region] = {key: place.published(key) for key in (sorted(files) if paths else place.keys())}
        except (BotoCoreError, ClientError) as error:
            troubles.append(f"{place.region}: {explain(error)[0]}")
    keys = sorted({*files, *(key for found in there.values() for key in found)})
    troubles += [
        trouble for key in keys for trouble in _differences(key, files.get(key), {name: found.get(key) for name, found in there.items()})
    ]
    if troubles:
        say(
            f"{len(troubles)} thing{'s'[: len(troubles) > 1]} not as {'it' if len(troubles) == 1 else 'they'} should be",
            "\n       ".join(troubles),
        )
        raise typer.Exit(FAILED)
    view.console().print(Text(f"{', '.join(there)}: the same {len(keys)} file{'s'[: len(keys) != 1]}", style="green"))


def _read(paths: list[Path], phase: Phase | None) -> dict[str, bytes]:
    """The files by the keys under which they are published. Raises InvalidInputError with everything that is wrong with any of them."""
    found: dict[str, bytes] = {}
    problems: list[Problem] = []
    for path in paths:
        files, slips = validate.files_of(path)
        problems += slips
        if not files:
            problems.append(validate.file_problem(path, "there is nothing to publish", "name an application's folder"))
        for file in files:
            try:
                _, body = validate.checked(file, phase)
            except InvalidInputError as error:
                problems += error.problems
            else:
                found[f"{file.resolve().parent.name}/{validate.name_of(file)}"] = body
    if problems:
        raise InvalidInputError(problems)
    return found


def _places(cloud: Cloud, to: list[str]) -> tuple[list[Place], list[str]]:
    """The control Regions that answer, and what is the matter with the others."""
    named = [one.partition("=") for one in to]
    wanted = (
        {region: stack or cloud.stack_name for region, _, stack in named} if named else dict.fromkeys(_regions(cloud), cloud.stack_name)
    )
    places, troubles = [], []
    for region, stack in sorted(wanted.items()):
        try:
            places.append(Place(region, _bucket(region, stack), boto3.client("s3", region_name=region, config=_CONFIG)))
        except (BotoCoreError, ClientError) as error:
            troubles.append(f"{region}: {explain(error)[0]}")
    return places, troubles


def _regions(cloud: Cloud) -> set[str]:
    """The Regions of the state table."""
    dynamodb: DynamoDBClient = boto3.client("dynamodb", config=_CONFIG)
    table = dynamodb.describe_table(TableName=cloud.output("StateTableName"))["Table"]
    return {dynamodb.meta.region_name, *(replica["RegionName"] for replica in table.get("Replicas", []) if "RegionName" in replica)}


def _bucket(region: str, stack: str) -> str:
    cloudformation: CloudFormationClient = boto3.client("cloudformation", region_name=region, config=_CONFIG)
    outputs = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    found = [output["OutputValue"] for output in outputs if output["OutputKey"] == "ManifestBucketName"]
    if not found:
        raise WrongUseError(f"stack {stack} in {region} has no output ManifestBucketName", "name the orchestrator's: --to REGION=STACK")
    return found[0]


def _publish(place: Place, files: Mapping[str, bytes]) -> None:
    out = view.console()
    sts: STSClient = boto3.client("sts", region_name=place.region, config=_CONFIG)
    by = sts.get_caller_identity()["Arn"]
    for key, body in sorted(files.items()):
        digest, before = hashlib.sha256(body).hexdigest(), place.published(key)
        if before is not None and before.digest == before.recorded == digest:
            out.print(Text(f"{place.region}  {key}  {digest[:_SHOWN]}  unchanged"))
            continue
        place.put(key, body, by)
        after = place.published(key)
        out.print(
            Text(f"{place.region}  {key}  {digest[:_SHOWN]}  published{f', version {after.version}' if after and after.version else ''}")
        )


def _differences(key: str, file: bytes | None, found: Mapping[str, Published | None]) -> Iterator[str]:
    """What is not the same of one file: between the Regions, with the file, or with what was recorded."""
    for region, one in found.items():
        if one is None:
            yield f"{key}: {region} has none"
        elif one.recorded and one.recorded != one.digest:
            yield f"{key}: {region} has {one.digest[:_SHOWN]}, and {one.recorded[:_SHOWN]} was recorded with it"
        elif file is not None and one.digest != hashlib.sha256(file).hexdigest():
            yield f"{key}: {region} has {one.digest[:_SHOWN]}, the file is {hashlib.sha256(file).hexdigest()[:_SHOWN]}"
    digests = {region: one.digest[:_SHOWN] for region, one in found.items() if one is not None}
    if file is None and len(set(digests.values())) > 1:
        yield f"{key}: {', '.join(f'{region} has {digest}' for region, digest in digests.items())}"
