"""The one way to vote. Every channel (page, Slack, IAM, OIDC) says who it is and what they were shown; from here on all are alike."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from dr_core import approval_rules, flow
from dr_core.approval_plan import plan_digest
from dr_core.aws import client
from dr_core.commands import NotAllowedError
from dr_core.errors import OrchestratorError
from dr_core.moves import applied
from dr_core.observability import logger, utc_now
from dr_core.records import Approval, Execution
from dr_core.settings import setting
from dr_core.state import Once, Table, table
from dr_core.triggers import Expire, Vote

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The approval may move between reading and writing; a vote is decided anew on what it is then.
_TRIES = 10


@dataclass(frozen=True)
class Votes:
    """Takes votes on the executions in `table`. `read_manifest(key)` gives the bytes of a manifest as published now, None if it is gone."""

    table: Table
    clock: flow.Clock
    read_manifest: Callable[[str], bytes | None]

    def cast(self, execution_id: str, vote: Vote, once: Sequence[Once] = ()) -> Approval:
        """Record the vote; gives the approval as it is then. `once`: what the vote uses up, with it or not at all.

        Raises NotAllowedError, in words for the voter, when it does not count: somebody else decided, it is not theirs to decide, or
        what they were shown is not what would run. A manifest that was changed since the request ends the approval.
        """
        logger.append_keys(execution_id=execution_id)
        for _ in range(_TRIES):
            state = self.table.load(execution_id)
            if state is None:
                raise NotAllowedError(f"there is no execution {execution_id}")
            if not flow.at_home(self.table, state):
                raise NotAllowedError(f"this execution is at home in {state.execution.home_region}: decide on it there")
            if state.approval is not None and approval_rules.is_waited_for(state):
                changed = self._changed(state.execution, state.approval)
                if changed:
                    flow.follow(self.table, state, Expire(changed), self.clock)
                    raise NotAllowedError(f"{changed}: this approval is void, request the execution again")
                if any(self.table.is_used(one.key) for one in once):
                    raise NotAllowedError("this link has been used before: it is good for one vote")
            move = flow.follow(self.table, state, vote, self.clock, once)
            if move is not None:
                voted = applied(state, move).approval
                assert voted is not None  # it is what a vote changes
                return voted
        raise OrchestratorError(f"the approval of execution {execution_id} moved {_TRIES} times while a vote was cast")

    def _changed(self, execution: Execution, approval: Approval) -> str:
        """What is not any more what was requested or shown, in words; empty if all of it is."""
        key = execution.manifest_key
        if key is not None:  # absent in executions of earlier versions
            body = self.read_manifest(key)
            if body is None:
                return f"the manifest {key} was deleted after the request"
            if hashlib.sha256(body).hexdigest() != approval.manifest_sha256:
                return f"the manifest {key} was changed after the request"
        if approval.plan_sha256 is not None:
            resources = self.table.resources(execution.id)
            # Reports that came only after people had been asked change nothing of what they were asked.
            found = self.table.preflights(execution.id)
            as_asked = {plan_digest(resources, documents, approval.layer) for documents in (found, ())}
            if approval.plan_sha256 not in as_asked:
                return "the plan was changed after it was shown"
        return ""


@cache
def votes() -> Votes:
    """The votes of this function, as the environment sets it up."""
    return Votes(table(), utc_now, published)


@cache
def _s3() -> "S3Client":
    return client("s3")


def published(key: str) -> bytes | None:
    """The manifest that lies under `key` in the bucket now."""
    try:
        return _s3().get_object(Bucket=setting("MANIFEST_BUCKET"), Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
