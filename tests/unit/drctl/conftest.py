"""Each test has a desk of its own, in an account of its own."""

from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.support.desk import HOME, Desk


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, socket_disabled: None) -> Iterator[Desk]:
    """drctl and the orchestrator's stack, nothing requested yet."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", HOME)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("DRCTL_STACK", raising=False)
    with mock_aws():
        yield Desk()
