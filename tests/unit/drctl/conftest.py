"""Each test has a desk of its own, in an account of its own."""

from collections.abc import Iterator

import boto3
import pytest

from tests.support.desk import Desk, desk

__all__ = ["desk"]


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
