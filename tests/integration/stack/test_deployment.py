"""The stack is deployed anew while an execution runs: the new version takes what the old one has sent and stored."""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr_core.records import ExecutionStatus, ResourceStatus
from localcloud.applications import storefront
from tests.integration.stack.operator import Operator, drctl

CORE = Path(__file__).resolve().parents[3] / "layers" / "dr_core"
EVENTS = "python/dr_core/events.py"
CHANGED = {
    'SCHEMA_VERSION = "1"\n': 'SCHEMA_VERSION = "2"\n',
    "PREVIOUS_VERSION: str | None = None\n": 'PREVIOUS_VERSION: str | None = "1"\n',
}


def next_version() -> bytes:
    """The core layer as it would be with the next version of the events."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(CORE.rglob("*.py")):
            name, text = path.relative_to(CORE).as_posix(), path.read_text()
            for old, new in CHANGED.items() if name == EVENTS else ():
                assert text.count(old) == 1
                text = text.replace(old, new)
            packed.writestr(name, text)
    return archive.getvalue()


@contextmanager
def deployed(operator: Operator, layer: bytes) -> Iterator[None]:
    """Every function runs on another core layer; those that ran on the former one have ended."""
    functions = operator.cloud.client("lambda")
    version = functions.publish_layer_version(LayerName="next-core", Content={"ZipFile": layer})["LayerVersionArn"]
    pages = functions.get_paginator("list_functions").paginate()
    ours = [one for page in pages for one in page["Functions"] if one["FunctionName"].startswith("dr-orchestrator-")]
    before = {one["FunctionName"]: [layer["Arn"] for layer in one["Layers"]] for one in ours}
    for name, layers in before.items():
        functions.update_function_configuration(
            FunctionName=name, Layers=[version if ":layer:CoreLayer" in layer else layer for layer in layers]
        )
    changed = [functions.get_function_configuration(FunctionName=name)["Layers"] for name in before]
    assert len(changed) > 15 and all(version in {layer["Arn"] for layer in layers} for layers in changed)
    try:
        yield
    finally:
        for name, layers in before.items():
            functions.update_function_configuration(FunctionName=name, Layers=layers)


@pytest.mark.failure("A deployment during a run")
def test_a_run_goes_on_with_the_next_version_of_the_events(operator: Operator) -> None:
    storefront.stand_down(operator.cloud)
    assert drctl("deploy-check").returncode == 0
    with operator.relay_off():
        execution_id = operator.request(phase="INSTANTIATE", mode="unplanned")

        def asked() -> bool | None:
            operator.minute_later(execution_id)
            approval = operator.table.approval(execution_id)
            return True if approval and approval.asked_at else None

        operator.wait(asked, "people to be asked")
        checked = drctl("deploy-check")
        assert checked.returncode == 1 and execution_id in checked.stdout, "it says that somebody waits"
        assert operator.decide(execution_id, "approve").status_code == 200
        sent_before = len(operator.table.timeline(execution_id))
        operator.quiet()
        with deployed(operator, next_version()):
            # What the last version has stored is delivered to the new one, from here on.
            functions = operator.cloud.client("lambda")
            (mapping,) = functions.list_event_source_mappings(FunctionName="dr-orchestrator-publish-changes")["EventSourceMappings"]
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
            execution = operator.finished(execution_id)
            operator.quiet()
    assert execution.status is ExecutionStatus.SUCCEEDED, execution.outcome_detail
    assert {resource.status for resource in operator.table.resources(execution_id)} == {ResourceStatus.SUCCEEDED}
    versions = [json.loads(entry.detail)["schemaVersion"] for entry in operator.table.timeline(execution_id)]
    assert versions == sorted(versions) and versions.count("1") >= sent_before
    assert versions.count("2") > 10, "the new version has taken the vote of before, and gone on"
    assert drctl("dlq", "list").returncode == 0, "neither version has met an event that it does not know"
    assert drctl("deploy-check").returncode == 0
