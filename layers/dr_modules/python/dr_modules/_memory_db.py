"""What the phases of MemoryDB share: the manifest's words, which of two clusters has taken over, and what one is restored from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from dr_modules import _memory_db_readings as readings
from dr_modules._memory_db_readings import AVAILABLE, MARK, SERVING, Backup, Cluster, Configuration, Snapshot
from dr_modules.base import DRModule, Flag, ModuleParameters, PreflightFinding, Status, Tags, Text


class MemoryDBParameters(ModuleParameters):
    """One cluster of a manifest resource."""

    # MemoryDB keeps names in lower case.
    cluster: Annotated[Text, AfterValidator(str.lower)] = Field(alias="ClusterName", description="the same in both Regions")
    config_key: Text = Field(
        alias="ClusterConfigSSMKey",
        description="SSM parameter of the target Region with the cluster's configuration there, as JSON: ACTIVATE reads, CLEANUP writes it",
    )
    endpoint_key: Text | None = Field(
        alias="ClusterEndpointSSMKey",
        default=None,
        description="SSM parameter of the target Region to which ACTIVATE writes the cluster's endpoint",
    )
    bucket: Text | None = Field(
        alias="BackupBucket",
        default=None,
        description="bucket of the target Region with the backups to restore, and for the export of CLEANUP; without it ACTIVATE takes "
        "the newest snapshot of the cluster in that Region",
    )
    prefix: str = Field(alias="Prefix", default="", description="what the names of this cluster's backups, and of no others, begin with")
    tags: Tags = Field(alias="Tags", default={}, description="given to the new cluster besides those of the stored configuration")
    force: Flag = Field(
        alias="Force",
        default=False,
        description="CLEANUP also removes a cluster that none has taken over from; its data are exported first",
    )


@dataclass(frozen=True)
class Source:
    """What a cluster is restored from; `parameters` are those of CreateCluster."""

    label: str
    taken_at: datetime
    parameters: Mapping[str, object]


class MemoryDBBase(DRModule[MemoryDBParameters]):
    """The lookups that more than one phase makes."""

    @cached_property
    def memorydb(self) -> Any:
        """MemoryDB in the target Region."""
        return self.client("memorydb")

    @cached_property
    def s3(self) -> Any:
        """S3 in the target Region."""
        return self.client("s3")

    @cached_property
    def ssm(self) -> Any:
        """Parameter Store in the target Region."""
        return self.client("ssm")

    def cluster(self, parameters: MemoryDBParameters) -> Cluster | None:
        """The target Region's cluster."""
        return readings.find_cluster(self.memorydb, parameters.cluster)

    def tags(self, cluster: Cluster) -> dict[str, str]:
        """The tags of the target Region's cluster."""
        return readings.tags_of(self.memorydb, cluster)

    def left_behind(self, parameters: MemoryDBParameters, cluster: Cluster) -> bool:
        """Whether the other Region's cluster has taken over from this one: it serves, and was activated later."""
        memorydb = self.peer_client("memorydb")
        other = readings.find_cluster(memorydb, parameters.cluster)
        if other is None or other.status not in SERVING:
            return False
        return readings.tags_of(memorydb, other).get(MARK, "") > self.tags(cluster).get(MARK, "")

    def under_way(self, cluster: Cluster) -> Status:
        """The status of a cluster that is not `available`; a state that MemoryDB may add later is in progress."""
        if cluster.status.endswith("-failed") or cluster.status.startswith("incompatible-"):
            remedy = "see MemoryDB's events, delete it, then retry"
            return Status.failed(cluster.status, f"cluster {cluster.name} is {cluster.status}: {remedy}")
        return Status.in_progress(f"cluster {cluster.name} is {cluster.status}")

    def parameter(self, key: str | None) -> str | None:
        """The value of an SSM parameter, None where there is no such parameter."""
        if key is None:
            return None
        try:
            return str(self.ssm.get_parameter(Name=key)["Parameter"]["Value"])
        except self.ssm.exceptions.ParameterNotFound:
            return None

    def put_parameter(self, key: str | None, value: str) -> None:
        """Store a value, unless it is stored. A standard parameter holds 4 KB: where that is too little, SSM makes it an advanced one."""
        if key is not None and self.parameter(key) != value:
            self.ssm.put_parameter(Name=key, Value=value, Type="String", Overwrite=True, Tier="Intelligent-Tiering")

    def configuration(self, parameters: MemoryDBParameters) -> Configuration:
        """The stored configuration. Raises ModuleError where it is missing or not one."""
        where = f"SSM parameter {parameters.config_key} in {self.target.region}"
        stored = self.parameter(parameters.config_key)
        if stored is None:
            message = f"there is no {where}: write the cluster's configuration for that Region there (see MemoryDB in docs/modules.md)"
            raise self.error("NoClusterConfiguration", message)
        try:
            return Configuration.model_validate_json(stored)
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)
            wrong = "; ".join(": ".join((*map(str, each["loc"]), each["msg"])) for each in found)
            raise self.error("InvalidClusterConfiguration", f"{where} is no configuration of a cluster: correct it: {wrong}") from None

    def source(self, parameters: MemoryDBParameters, configuration: Configuration) -> Source:
        """What would be restored. Raises ModuleError where there is nothing."""
        bucket = parameters.bucket
        if bucket is None:
            return self._newest_snapshot(parameters)
        whole = readings.complete(self.backups(parameters, bucket), configuration.num_shards)
        if not whole:
            what = f"no complete backup of {configuration.num_shards} shards at s3://{bucket}/{parameters.prefix}"
            raise self.error("NoBackup", f"{what}: correct BackupBucket and Prefix, or export a snapshot to it")
        arns = [f"arn:{self.s3.meta.partition}:s3:::{bucket}/{key}" for key in whole[0].parts]
        return Source(f"s3://{bucket}/{whole[0].name}", whole[0].taken_at, {"SnapshotArns": arns})

    def backups(self, parameters: MemoryDBParameters, bucket: str) -> list[Backup]:
        """What can be restored, complete or not, the newest first: all but the exports of clusters that had been left behind."""
        return [one for one in readings.backups(self.s3, bucket, parameters.prefix) if not self._is_retired(parameters, one)]

    def _newest_snapshot(self, parameters: MemoryDBParameters) -> Source:
        found = [one for one in readings.snapshots(self.memorydb, parameters.cluster) if not self._is_retired(parameters, one)]
        taken = [(one.taken_at, one.name) for one in found if one.status == AVAILABLE and one.taken_at]
        if not taken:
            message = f"no available snapshot of {parameters.cluster} in {self.target.region}: take one, or name BackupBucket"
            raise self.error("NoBackup", message)
        at, name = max(taken)
        return Source(f"snapshot {name}", at, {"SnapshotName": name})

    @staticmethod
    def _is_retired(parameters: MemoryDBParameters, found: Backup | Snapshot) -> bool:
        return f"{parameters.cluster}-retired-" in found.name

    def missing_names(self, configuration: Configuration) -> Iterable[PreflightFinding]:
        """What the configuration refers to and the Region does not have."""
        memorydb, errors = self.memorydb, self.memorydb.exceptions
        referred: tuple[tuple[str, str | None, Callable[..., object], type[Exception]], ...] = (
            ("SubnetGroupName", configuration.subnet_group_name, memorydb.describe_subnet_groups, errors.SubnetGroupNotFoundFault),
            (
                "ParameterGroupName",
                configuration.parameter_group_name,
                memorydb.describe_parameter_groups,
                errors.ParameterGroupNotFoundFault,
            ),
            ("ACLName", configuration.acl_name, memorydb.describe_acls, errors.ACLNotFoundFault),
        )
        for key, name, describe, missing in referred:
            if name is None:
                continue
            try:
                describe(**{key: name})
            except missing:
                remedy = f"create it in {self.target.region}, or correct {key} in the stored configuration"
                yield self.obstacle(f"{key}NotFound", f"there is no {name}: {remedy}")

    def doubtful_backups(self, parameters: MemoryDBParameters, configuration: Configuration) -> Iterable[PreflightFinding]:
        """Newer backups that are passed over, and one that does not fit the configuration. Raises ModuleError where there is none."""
        source, shards = self.source(parameters, configuration), configuration.num_shards
        for backup in self.backups(parameters, parameters.bucket) if parameters.bucket else ():
            what = f"s3://{parameters.bucket}/{backup.name} has {len(backup.parts)} objects"
            if not source.label.endswith(f"/{backup.name}"):
                yield self.warning(
                    "IncompleteBackup", f"{what}, which is not all: {source.label} would be restored; export another snapshot"
                )
                continue
            if len(backup.parts) != shards:
                message = f"{what}, the stored configuration {shards} shards: correct NumShards if the cluster has grown"
                yield self.warning("ShardsDiffer", message)
            break

    def bucket_elsewhere(
        self, parameters: MemoryDBParameters, finding: Callable[[str, str], PreflightFinding]
    ) -> Iterable[PreflightFinding]:
        """A bucket in another Region: nothing can be exported to it, and it may be dark when it is restored from."""
        if parameters.bucket is None:
            return
        region = self.s3.get_bucket_location(Bucket=parameters.bucket).get("LocationConstraint") or "us-east-1"
        if region != self.target.region:
            yield finding("BucketElsewhere", f"bucket {parameters.bucket} is in {region}: name one in {self.target.region} as BackupBucket")
