"""A secret is read again after a minute, or at once where that is asked for."""

from collections.abc import Iterator
from types import SimpleNamespace

import boto3
import pytest

from dr_core.secret_store import Secret
from tests.support.control_plane import Cloud, emulated


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with emulated(monkeypatch) as made:
        boto3.client("secretsmanager").create_secret(Name="stored", SecretString="before")
        yield made


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The function has run for so many seconds."""
    monkeypatch.setattr("dr_core.secret_store.time", SimpleNamespace(monotonic=lambda: seconds))


def test_a_rotated_secret_is_in_use_after_a_minute(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 0)
    secret = Secret("stored")
    assert secret.text() == "before"
    boto3.client("secretsmanager").put_secret_value(SecretId="stored", SecretString="now")
    at(monkeypatch, 59)
    assert secret.text() == "before" and len(cloud.made("GetSecretValue")) == 1
    at(monkeypatch, 61)
    assert secret.text() == "now" and len(cloud.made("GetSecretValue")) == 2


def test_a_fresh_look_does_not_wait(cloud: Cloud) -> None:
    secret = Secret("stored")
    assert secret.text() == "before"
    boto3.client("secretsmanager").put_secret_value(SecretId="stored", SecretString="now")
    assert secret.text(fresh=True) == "now" == secret.text()


def test_a_binary_secret_is_none_of_ours(cloud: Cloud) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="stored", SecretBinary=b"\x00")
    with pytest.raises(TypeError, match="secret stored is binary: store it as text"):
        Secret("stored").text()
