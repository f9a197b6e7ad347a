"""Each test has a desk of its own, in an account of its own."""

from collections.abc import Iterator
from functools import cache

import boto3
import pytest
from botocore.loaders import create_loader
from moto import mock_aws

from tests.support.desk import HOME, Desk

# Each test has new sessions, and each would read the services' models anew: most of a test's time.
_shared_loader = cache(create_loader)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, socket_disabled: None) -> Iterator[Desk]:
    """drctl and the orchestrator's stack, nothing requested yet."""
    monkeypatch.setattr("botocore.session.create_loader", _shared_loader)
    monkeypatch.setenv("AWS_DEFAULT_REGION", HOME)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("DRCTL_STACK", raising=False)
    with mock_aws():
        yield Desk()


@pytest.fixture
def no_credentials(desk: Desk) -> Iterator[None]:
    """From now on AWS does not know who is asking."""
    with pytest.MonkeyPatch.context() as patch:  # undone before moto takes back its own credentials
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        yield
