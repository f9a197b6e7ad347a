"""The applications that are published in the manifest bucket: those with an application.json beside their manifests."""

import hashlib
from typing import TYPE_CHECKING

from dr_core.application import read_application
from dr_core.errors import InvalidInputError
from dr_core.observability import logger
from dr_core.phases import Mode, Phase
from dr_core.requests import ExecutionRequested

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FILE = "application.json"
# What a scheduled preflight looks at: the phases that act on the standby. The others act on what is primary now, and rightly refuse.
_PHASES = (Phase.INSTANTIATE, Phase.ACTIVATE)


class Registered:
    """Reads the registrations in `bucket`."""

    def __init__(self, s3: "S3Client", bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def preflights(self, occasion: str) -> list[str]:
        """The details of `Execution Requested`, JSON text, that ask for a dry run of each application's phases that have a manifest.

        `occasion` is the same for repetitions of the same wish. An application.json that cannot be read is logged, and the others go on.
        """
        keys = self._keys()
        found = []
        for key in sorted(key for key in keys if key.endswith(f"/{_FILE}") and key.count("/") == 1):
            body, name = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read(), key.split("/")[0]
            try:
                application = read_application(key, body, name)
            except InvalidInputError as error:
                logger.error("application not registered", extra={"problems": [str(problem) for problem in error.problems]})
                continue
            if application.preflight:
                found += [
                    _request(name, phase, application.regions.standby, application.regions.primary, occasion)
                    for phase in _PHASES
                    if f"{name}/{phase.file_name}" in keys
                ]
        return found

    def _keys(self) -> set[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        return {entry["Key"] for page in pages for entry in page.get("Contents", [])}


def _request(application: str, phase: Phase, target: str, source: str, occasion: str) -> str:
    token = hashlib.sha256(f"{occasion}|{application}|{phase}".encode()).hexdigest()[:32]
    request = {
        "application": application,
        "phase": phase,
        "sourceRegion": source,
        "targetRegion": target,
        "mode": Mode.PLANNED,
        "dryRun": True,
        "clientToken": token,
        "requestedBy": "preflight schedule",
        "reason": "scheduled preflight",
    }
    return ExecutionRequested.parse(request).model_dump_json(by_alias=True, exclude_none=True)
