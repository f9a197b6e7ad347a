"""One local cloud for the tests of this directory; nothing is deployed into it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.cloud import LocalCloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    started = LocalCloud.start(Path(tmp_path_factory.mktemp("cloud")), time_scale=0, die_with_parent=True)
    yield started
    started.stop()
