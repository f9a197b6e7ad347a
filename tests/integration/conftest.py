"""What each local cloud of a run has noted of authorisations is kept for `tests.privileges`."""

import os
import shutil
from collections.abc import Iterator

import pytest

from localcloud.cloud import AUTHORISATIONS_FILE
from tests.support.deployed import AUTHORISATIONS


@pytest.fixture(scope="session", autouse=True)
def _authorisations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copy the notes when every cloud has ended: first in, last out."""
    yield
    AUTHORISATIONS.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted(tmp_path_factory.getbasetemp().rglob(AUTHORISATIONS_FILE))):
        shutil.copyfile(path, AUTHORISATIONS / f"{os.getpid()}-{number}.jsonl")
