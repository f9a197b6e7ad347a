"""The previous release is deployed, with one execution paused in the midst of a layer and one yet to be decided: this version ends both."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr_core.records import ExecutionStatus, ResourceStatus
from localcloud.cloud import CONTROL_ACCOUNT, PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud
from localcloud.deployment import TARGET_ROLE_STACK_NAME, deploy_into
from localcloud.faults import Effect, Fault
from localcloud.installation import EXTERNAL_ID, allow, deploy_orchestrator
from tests.integration.stack.operator import Operator, drctl
from tests.support.previous_release import previous_release

SERVICES = ("api", "web", "jobs")
HOUR = 3600  # to decide: on a busy machine a build takes minutes


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the previous release."""
    return previous_release(tmp_path_factory.mktemp("previous"))[1]


# A cloud of its own: another version is deployed there.
@pytest.fixture(scope="module")
def cloud(previous: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """One with a cluster of services in it, scaled to nothing."""
    started = LocalCloud.start(Path(tmp_path_factory.mktemp("upgraded")), time_scale=0.3, die_with_parent=True)
    try:
        ecs = started.client("ecs", STANDBY_REGION, WORKLOAD_ACCOUNT)
        ecs.create_cluster(clusterName="shop")
        ecs.register_task_definition(family="shop", containerDefinitions=[{"name": "app", "image": "shop", "memory": 512}])
        for service in SERVICES:
            ecs.create_service(cluster="shop", serviceName=service, taskDefinition="shop", desiredCount=0)
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def operator(cloud: LocalCloud, previous: Path) -> Operator:
    """Somebody who works with the previous release: its stack, and its roles in the accounts."""
    outputs = deploy_orchestrator(cloud, approval_seconds=HOUR, template=previous / "template.yaml")
    roles = {"OrchestratorRoleArns": outputs["OrchestratorRoleArns"], "ExternalId": EXTERNAL_ID}
    for account in (CONTROL_ACCOUNT, WORKLOAD_ACCOUNT):
        template = previous / "deploy" / "TargetAccountsAssumeRole.yaml"
        deploy_into(cloud, account, STANDBY_REGION, TARGET_ROLE_STACK_NAME, template, roles)
    for region in (PRIMARY_REGION, STANDBY_REGION):
        name, template = f"dr-orchestrator-events-{region}", previous / "deploy" / "ForwardEvents.yaml"
        deploy_into(cloud, WORKLOAD_ACCOUNT, region, name, template, {"FirstBusArn": outputs["BusArn"]})
    return Operator(cloud, outputs)


@pytest.fixture(autouse=True)
def _at_work() -> None:
    """The tests of this directory share a cloud; this one has its own."""


def manifest(*layers: tuple[str, ...]) -> bytes:
    """Two tasks of each service, layer by layer."""

    def resource(service: str) -> dict[str, object]:
        parameters = {"EcsClusterName": "shop", "EcsServiceName": service, "EcsDesiredSize": 2}
        return {"action": "ECS", "resourceName": service, "AccountId": WORKLOAD_ACCOUNT, "parameters": parameters}

    return json.dumps([{"layer": number, "resources": [*map(resource, inside)]} for number, inside in enumerate(layers, 1)]).encode()


def previous_drctl(source: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Give a command with the previous release's drctl."""
    packages = [source / "cli", *sorted(source.glob("layers/*/python"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, packages)), "PYTHONSAFEPATH": "1"}
    code = f"import drctl.app; assert drctl.app.__file__.startswith({str(source)!r}); drctl.app.main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def scaled(operator: Operator, since: int) -> Counter[str]:
    """How often each service was given a size."""
    calls = [call for call in operator.calls_since(since) if call.operation == "UpdateService" and call.status == 200]
    return Counter(str((call.act or {})["parameters"]["service"]) for call in calls)


@pytest.mark.failure("A deployment during a run")
def test_what_the_previous_release_has_begun_this_one_ends(
    cloud: LocalCloud, previous: Path, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in cloud.environment().items():
        monkeypatch.setenv(variable, value)
    operator.open_table()
    operator.publish("shop", "Instantiate.json", manifest(SERVICES[:1], SERVICES[1:2]))
    operator.publish("jobs", "Instantiate.json", manifest(SERVICES[2:]))
    since = operator.journal_position()

    # One waits to be decided, and its link is out.
    waiting = operator.request(application="jobs")
    link = operator.approver.link(waiting, 120)
    # The other stands between a change that is made and the proof of it: its checks are refused by AWS.
    cloud.faults.add(Fault(effect=Effect.THROTTLE, service="ecs", operation="Describe*", function="dr-orchestrator-check-resource"))
    paused = operator.request(application="shop")
    operator.decide(paused, "approve")

    def acted() -> bool | None:
        (first, *_) = operator.table.resources(paused)
        return True if first.status is ResourceStatus.WAITING and scaled(operator, since)["api"] else None

    operator.wait(acted, "the first service to be scaled")
    ordered = previous_drctl(previous, "pause", paused, "--reason", "an upgrade")
    assert ordered.returncode == 0, ordered.stderr
    operator.wait(lambda: True if operator.execution(paused).status is ExecutionStatus.PAUSED else None, "the pause")
    checked = drctl("deploy-check")
    assert checked.returncode == 1 and paused in checked.stdout and waiting in checked.stdout, checked.stdout

    # As docs/deploy.md says: the orchestrator, then the accounts.
    outputs = deploy_orchestrator(cloud, approval_seconds=HOUR)
    kept = (
        "StateTableName",
        "ManifestBucketName",
        "ReportBucketName",
        "BusArn",
        "OrchestratorRoleArns",
        "ApprovalTopicArn",
        "SigningSecretArn",
    )
    assert {name: outputs[name] for name in kept} == {name: operator.outputs[name] for name in kept}
    allow(cloud, outputs)
    assert operator.execution(paused).status is ExecutionStatus.PAUSED
    assert [one.status for one in operator.table.resources(paused)] == [ResourceStatus.WAITING, ResourceStatus.PENDING]
    again = drctl("deploy-check")
    assert again.returncode == 1 and paused in again.stdout and waiting in again.stdout, again.stdout
    asked = previous_drctl(previous, "status", paused)
    assert "PAUSED" in asked.stdout, asked.stderr

    # What the previous release has begun goes on.
    cloud.faults.clear()
    resumed = drctl("resume", paused, "--reason", "upgraded")
    assert resumed.returncode == 0, resumed.stderr
    operator.overdue(paused)  # as if a minute had passed: its checks have become rare
    operator.sweep()
    assert operator.decide_by(link, "approve").status_code == 200
    for execution_id in (paused, waiting):
        ended = operator.finished(execution_id)
        assert ended.status is ExecutionStatus.SUCCEEDED, ended.outcome_detail
    assert scaled(operator, since) == dict.fromkeys(SERVICES, 1), "each change once, by whichever release"
    told = Counter(kind for kind, _ in operator.events(paused))
    assert [told[kind] for kind in ("Execution Paused", "Execution Resumed", "Execution Completed")] == [1, 1, 1], told

    # Nothing was lost on the way, and the new version starts what is new.
    assert drctl("deploy-check").returncode == 0
    assert drctl("dlq", "list").returncode == 0, "neither version has met a message that it does not know"
    new = operator.request(application="shop")
    operator.decide(new, "approve")
    assert operator.finished(new).status is ExecutionStatus.SUCCEEDED
