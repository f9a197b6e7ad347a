"""`drctl approvals`: a new key for links, and the former one is still good for those that are out."""

import json
from datetime import timedelta

import boto3
import pytest

from dr_core.links import BadLinkError, LinkSigner, LinkToken
from tests.support.desk import SHA, T0, Desk

KEY = json.dumps({"id": "1", "key": "k" * 40})


@pytest.fixture(autouse=True)
def _made_by_the_stack(desk: Desk) -> None:
    put(KEY)


def put(text: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="signing", SecretString=text)


def kept() -> str:
    return boto3.client("secretsmanager").get_secret_value(SecretId="signing")["SecretString"]


def stored() -> LinkSigner:
    return LinkSigner(kept())


def test_a_new_key_signs_and_the_former_one_is_good_once_more(desk: Desk) -> None:
    token = LinkToken("01X", SHA, T0 + timedelta(hours=1), id="j")
    first = stored().sign(token)
    result = desk.run("approvals", "rotate-key")
    assert result.exit_code == 0, result.output
    assert stored().read(first, T0) == token
    second = stored().sign(token)
    with pytest.raises(BadLinkError):
        LinkSigner(KEY).read(second, T0)
    assert desk.run("approvals", "rotate-key").exit_code == 0
    assert stored().read(second, T0) == token
    with pytest.raises(BadLinkError):
        stored().read(first, T0)


def test_the_keys_are_not_shown(desk: Desk) -> None:
    result = desk.run("approvals", "rotate-key")
    keys = json.loads(kept())
    assert keys["previous"]["key"] == "k" * 40
    assert not any(key in result.output for key in (keys["key"], "k" * 40))


@pytest.mark.parametrize(("secret", "where"), [('{"id": "1"}', "look at key"), ("too short", "look at previous.key")])
def test_a_secret_that_would_not_be_good_is_left_alone(desk: Desk, secret: str, where: str) -> None:
    put(secret)
    result = desk.run("approvals", "rotate-key")
    assert result.exit_code == 2 and where in result.stderr
    assert kept() == secret
