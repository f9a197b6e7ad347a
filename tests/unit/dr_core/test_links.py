"""Links say what they are for, until they expire, and only as they were made."""

from base64 import urlsafe_b64decode
from datetime import timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dr_core.links import BadLinkError, LinkSigner, LinkToken
from tests.support.control_plane import T0

SIGNER = LinkSigner("the-secret")
TOKEN = LinkToken("01X", "5ha", T0 + timedelta(hours=1))
SIGNED = SIGNER.sign(TOKEN)
FAST = settings(deadline=None, derandomize=True, database=None)
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."


@FAST
@given(st.text(), st.text(), st.datetimes(T0.replace(tzinfo=None)))
def test_a_token_survives_its_link(execution_id: str, sha: str, expires_at: object) -> None:
    token = LinkToken(execution_id, sha, expires_at.replace(tzinfo=T0.tzinfo, microsecond=0) + timedelta(hours=1))  # type: ignore[attr-defined]
    signed = SIGNER.sign(token)
    assert SIGNER.read(signed, T0) == token
    assert set(signed) <= set(CHARACTERS), "fit for a URL as it is"


def test_a_link_is_good_until_it_expires() -> None:
    assert SIGNER.read(SIGNED, TOKEN.expires_at - timedelta(milliseconds=1)) == TOKEN
    with pytest.raises(BadLinkError, match="this link expired at 2031-03-01 13:00:00Z"):
        SIGNER.read(SIGNED, TOKEN.expires_at)


def test_no_character_can_be_another() -> None:
    for place, character in enumerate(SIGNED):
        for other in CHARACTERS:
            if other != character and not _says_the_same(place, other):
                with pytest.raises(BadLinkError, match="not made by the orchestrator, or was altered"):
                    SIGNER.read(SIGNED[:place] + other + SIGNED[place + 1 :], T0)


def _says_the_same(place: int, other: str) -> bool:
    """The last character carries two bits that stand for nothing."""
    signature = SIGNED.rpartition(".")[2]
    return (
        place == len(SIGNED) - 1 and other != "." and urlsafe_b64decode(f"{signature[:-1]}{other}=") == urlsafe_b64decode(f"{signature}=")
    )


def test_no_part_can_be_left_out_or_added() -> None:
    for place in range(len(SIGNED)):
        for altered in (SIGNED[:place], SIGNED[place + 1 :], SIGNED[:place] + SIGNED[place + 1 :], SIGNED[:place] + "." + SIGNED[place:]):
            with pytest.raises(BadLinkError):
                SIGNER.read(altered, T0)


def test_another_secret_signs_other_links() -> None:
    with pytest.raises(BadLinkError):
        LinkSigner("another-secret").read(SIGNED, T0)


@FAST
@given(st.text() | st.text("\ud800ä.", max_size=5) | st.text(CHARACTERS))
def test_anything_else_is_no_link(text: str) -> None:
    assume(text != SIGNED)
    with pytest.raises(BadLinkError):
        SIGNER.read(text, T0)


def test_the_secret_is_not_in_the_link() -> None:
    assert "secret" not in SIGNED and "secret" not in repr(SIGNER)
