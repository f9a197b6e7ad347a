"""Reports into the bucket that keeps them: `<application>/<PHASE>/<execution>.{html,md,json}`."""

from typing import TYPE_CHECKING

from dr_core import flow
from dr_core.observability import logger
from dr_core.records import ExecutionStatus
from dr_core.state import Table
from dr_people.report_building import picture_of, report_of
from dr_people.report_rendering import as_html, as_json, as_markdown

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def keep_report(table: Table, execution_id: str, s3: "S3Client", bucket: str, clock: flow.Clock) -> list[str]:
    """Store the report of an execution that has ended or is halted; the keys that were written.

    Nothing is written of one that goes on, or of a dry run. A repetition writes the same again: the report follows from the table.
    """
    state = table.load(execution_id)
    if state is None or state.execution.dry_run:
        return []
    execution = state.execution
    if not execution.status.is_terminal and execution.status is not ExecutionStatus.FAILED:
        logger.info("the execution goes on: no report yet")
        return []
    report = report_of(table, state, clock())
    written = {
        "json": (as_json(report), "application/json"),
        "md": (as_markdown(report), "text/markdown; charset=utf-8"),
        "html": (as_html(report, picture_of(table, state, report.as_of)), "text/html; charset=utf-8"),
    }
    keys = []
    for suffix, (text, kind) in written.items():
        keys.append(f"{execution.application}/{execution.phase}/{execution.id}.{suffix}")
        s3.put_object(Bucket=bucket, Key=keys[-1], Body=text.encode(), ContentType=kind)
    logger.info("report stored", extra={"bucket": bucket, "keys": keys})
    return keys
