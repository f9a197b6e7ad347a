"""One local cloud with the real stack in it, for all tests of this directory: deploying takes longer than testing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.applications import storefront
from localcloud.cloud import LocalCloud
from localcloud.installation import install, publish
from tests.integration.stack.operator import Operator


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Somebody who works with the deployed stack; the storefront exists in both Regions."""
    cloud = LocalCloud.start(Path(tmp_path_factory.mktemp("stack")), time_scale=0.02, die_with_parent=True)
    try:
        outputs = install(cloud)
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
