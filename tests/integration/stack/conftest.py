"""One local cloud with the real stack in it, for all tests of this directory: deploying takes longer than testing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.applications import storefront
from localcloud.cloud import LocalCloud
from localcloud.installation import install, publish
from tests.integration.stack.operator import Operator
from tests.support.slack_workspace import CHANNEL, TOKEN, Workspace, running


@pytest.fixture(scope="session")
def workspace() -> Iterator[Workspace]:
    """A Slack workspace, in which the stack has its app."""
    with running() as made:
        yield made


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory, workspace: Workspace) -> Iterator[Operator]:
    """Somebody who works with the deployed stack; the storefront exists in both Regions."""
    cloud = LocalCloud.start(Path(tmp_path_factory.mktemp("stack")), time_scale=0.02, die_with_parent=True)
    try:
        outputs = install(cloud, parameters={"SlackChannel": CHANNEL, "SlackApiUrl": workspace.url})
        secrets, slack = cloud.client("secretsmanager"), outputs["SlackSecretArn"]
        made = json.loads(secrets.get_secret_value(SecretId=slack)["SecretString"])
        secrets.put_secret_value(SecretId=slack, SecretString=json.dumps({**made, "botToken": TOKEN}))
        storefront.create(cloud)
        publish(cloud, storefront.NAME)
        yield Operator(cloud, outputs)
    finally:
        cloud.stop()


@pytest.fixture(autouse=True)
def _at_work(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test finds the environment and the table of the local cloud, no message repeated and no lock held."""
    for name, value in operator.cloud.environment().items():
        monkeypatch.setenv(name, value)
    operator.open_table()
    operator.repeat()
    yield
    operator.repeat()
    operator.release()
