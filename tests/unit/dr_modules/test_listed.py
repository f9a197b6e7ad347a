"""What several resources ask for at the same time is one call; each has its own items, its own error, and the call in its journal."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from dr_core.calls import Call, Recording, journal, reading_once, recording, rehearsal
from dr_core.errors import ModuleError
from dr_core.target import acting_until, hold_back
from dr_modules import _listed
from dr_modules._listed import Item, Listed, asked
from tests.support.meeting import at_once

LAMPS = Listed(
    "describe_lamps",
    items=lambda page: page["lamps"],
    asks=lambda names: {"names": names},
    is_of=lambda item, name: item["name"] == name,
    most=10,
)
ALL = Listed("describe_lamps", items=lambda page: page["lamps"])


class Cloud:
    """Answers DescribeLamps; what is `wrong` fails it for all who are asked for. Each call is in the journal of where it is made."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.wrong: dict[str, Exception] = {}
        self.lease_was_over = False
        self.meta = SimpleNamespace()

    def can_paginate(self, operation: str) -> bool:
        return False

    def describe_lamps(self, names: "list[str] | None" = None, **others: object) -> dict[str, Any]:
        self.calls.append({"names": names, **others} if names is not None else others)
        known = ["a", "b", "c", "d"]
        failed = next((self.wrong[name] for name in names or known if name in self.wrong), None)
        code = failed.response["Error"]["Code"] if isinstance(failed, ClientError) else type(failed).__name__ if failed else None
        shown = {"names": ["***" if name in recording().secrets else name for name in names or ()]}
        recording().calls.append(Call("lamps:DescribeLamps", "us-west-2", shown, "now", request_id=str(len(self.calls)), error_code=code))
        if failed:
            raise failed
        return {"lamps": [{"name": name} for name in known if names is None or name in names]}


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeLamps")


def asking(cloud: Cloud, *names: str, what: Listed = LAMPS, **parameters: object) -> Callable[[], tuple[list[Item] | Exception, Recording]]:
    """What a resource gets, and what its journal shows."""

    def ask() -> tuple[list[Item] | Exception, Recording]:
        with journal() as calls:
            try:
                return asked(cloud, what, names, **parameters), calls
            except (ClientError, EndpointConnectionError, ModuleError) as error:
                return error, calls

    return ask


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def test_who_asks_at_the_same_time_shares_a_call_and_gets_what_is_its_own(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        one.result() for one in at_once(monkeypatch, asking(cloud, "a"), asking(cloud, "c", "b"), asking(cloud, "a"), asking(cloud, "x"))
    ]
    ((names,),) = [call.values() for call in cloud.calls]
    assert sorted(names) == ["a", "b", "c", "x"], "each name once"
    assert [items for items, _ in found] == [[{"name": "a"}], [{"name": "b"}, {"name": "c"}], [{"name": "a"}], []]


def test_the_journal_of_each_shows_the_call_and_by_how_many_it_was_shared(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    journals = [one.result()[1] for one in at_once(monkeypatch, *(asking(cloud, name) for name in "abcd"))]
    (call,) = journals[0].calls
    assert all(each.calls == [call] for each in journals)
    assert (call.action, call.request_id, call.shared_by, sorted(call.parameters["names"])) == ("lamps:DescribeLamps", "1", 4, list("abcd"))  # type: ignore[call-overload]
    assert sum(each.reads for each in journals) == 1, "the pace of checks follows what was really called"
    assert call.document()["shared_by"] == 4


def test_who_asks_alone_has_a_call_of_its_own(cloud: Cloud) -> None:
    items, calls = asking(cloud, "a")()
    (call,) = calls.calls
    assert (items, call.shared_by, calls.reads, "shared_by" in call.document()) == ([{"name": "a"}], None, 1, False)


def test_what_is_not_named_is_everybodys(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [one.result()[0] for one in at_once(monkeypatch, *(asking(cloud, what=ALL, filters={}) for _ in range(3)))]
    assert cloud.calls == [{"filters": {}}]
    assert found == [[{"name": name} for name in "abcd"]] * 3


def test_without_names_nothing_is_asked_and_nothing_is_shared(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    (nothing, calls), *_ = [one.result() for one in at_once(monkeypatch, asking(cloud), asking(cloud, "a"), asking(cloud, "b"))]
    assert (nothing, calls.calls) == ([], []) and asked(cloud, LAMPS, []) == []
    assert [sorted(call["names"]) for call in cloud.calls] == [["a", "b"]]


def test_what_differs_but_in_names_is_asked_apart(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Cloud()
    work = [asking(cloud, "a", room="1"), asking(cloud, "b", room="2"), asking(other, "c", room="1"), asking(cloud, "d", room="1")]
    for one in at_once(monkeypatch, *work):
        one.result()
    assert sorted((call["room"], sorted(call["names"])) for call in cloud.calls) == [("1", ["a", "d"]), ("2", ["b"])]
    assert other.calls == [{"names": ["c"], "room": "1"}], "another client is another session"


def test_a_call_names_no_more_than_it_may(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    two = replace(LAMPS, most=2)
    found = [one.result() for one in at_once(monkeypatch, *(asking(cloud, name, what=two) for name in "abcd"))]
    assert sorted(name for call in cloud.calls for name in call["names"]) == list("abcd") and len(cloud.calls) == 2
    assert [items for items, _ in found] == [[{"name": name}] for name in "abcd"]
    assert sum(calls.reads for _, calls in found) == 2


def test_what_is_wrong_with_one_is_an_error_of_its_own(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.wrong["b"] = client_error("InvalidLampID.NotFound")
    found = [one.result() for one in at_once(monkeypatch, *(asking(cloud, name) for name in "abc"))]
    assert [items for items, _ in found] == [[{"name": "a"}], cloud.wrong["b"], [{"name": "c"}]]
    assert len(cloud.calls) == 4, "together in vain, then each by itself"
    for name, (_, calls) in zip("abc", found, strict=True):
        together, alone = calls.calls
        assert (together.shared_by, together.error_code, alone.shared_by) == (3, "InvalidLampID.NotFound", None)
        assert alone.parameters == {"names": [name]}
        assert calls.reads == pytest.approx(4 / 3)


def test_what_no_call_could_be_made_of_is_an_error_of_its_own(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.wrong["b"] = ParamValidationError(report="b is no name")
    good, bad = at_once(monkeypatch, asking(cloud, "a"), asking(cloud, "b"))
    assert good.result()[0] == [{"name": "a"}]
    with pytest.raises(ParamValidationError):
        bad.result()


UNANSWERED = EndpointConnectionError(endpoint_url="https://lamps")


@pytest.mark.parametrize("error", [client_error("ThrottlingException"), client_error("RequestLimitExceeded"), UNANSWERED], ids=str)
def test_what_concerns_everybody_is_not_tried_again_by_each(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    cloud.wrong["b"] = error
    found = [one.result() for one in at_once(monkeypatch, *(asking(cloud, name) for name in "abc"))]
    assert [items for items, _ in found] == [error] * 3
    assert len(cloud.calls) == 1
    assert all([call.shared_by for call in calls.calls] == [3] for _, calls in found)


@pytest.mark.parametrize(("error", "calls"), [(client_error("Throttling"), 1), (client_error("NoSuchLamp"), 2)], ids=str)
def test_who_waited_meanwhile_fares_the_same_if_it_concerns_everybody(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, error: Exception, calls: int
) -> None:
    """The first of two is answered by itself, after both have asked."""
    cloud.wrong["a"] = error
    monkeypatch.setattr("dr_modules._listed._MOST_ASKERS", 1)
    found = [one.result()[0] for one in at_once(monkeypatch, asking(cloud, "a"), asking(cloud, "a"))]
    assert (found, len(cloud.calls)) == ([error] * 2, calls)


def test_who_comes_after_a_failure_asks_anew(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.wrong["a"] = client_error("Throttling")
    monkeypatch.setattr("dr_modules._listed._MOST_ASKERS", 1)

    def again() -> list[Item]:
        with pytest.raises(ClientError):
            asked(cloud, LAMPS, ["a"])
        cloud.wrong.clear()
        return asked(cloud, LAMPS, ["a"])

    found = at_once(monkeypatch, again, again)
    assert [one.result() for one in found] == [[{"name": "a"}]] * 2


def test_a_lease_that_ends_holds_back_its_own_resource_only(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is this one that makes the call of all."""

    def ending(name: str, seconds: float) -> Callable[[], tuple[list[Item] | Exception, Recording]]:
        def ask() -> tuple[list[Item] | Exception, Recording]:
            with acting_until(datetime.now(UTC) + timedelta(seconds=seconds)):
                return asking(cloud, name)()

        return ask

    held, *others = [one.result()[0] for one in at_once(monkeypatch, ending("a", 0), ending("b", 120), asking(cloud, "c"))]
    assert isinstance(held, ModuleError) and held.code == "LeaseEnding"
    assert others == [[{"name": "b"}], [{"name": "c"}]]
    assert sorted(cloud.calls[0]["names"]) == ["b", "c"]


def test_the_call_of_several_does_not_depend_on_the_lease_of_who_makes_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=120)
    describe, now = cloud.describe_lamps, {"is": datetime.now(UTC)}

    def late(**parameters: Any) -> dict[str, Any]:
        now["is"] = soon  # while they wait for one another, time passes
        hold_back()
        return describe(**parameters)

    monkeypatch.setattr(cloud, "describe_lamps", late)
    monkeypatch.setattr("dr_core.target.datetime", SimpleNamespace(now=lambda _: now["is"]))

    def leased() -> "list[Item]":
        with acting_until(soon):
            found = asked(cloud, LAMPS, ["a"])
            with pytest.raises(ModuleError, match="LeaseEnding"):
                hold_back()  # what it does next is held back
            return found

    assert [one.result() for one in at_once(monkeypatch, leased, leased)] == [[{"name": "a"}]] * 2


def test_a_secret_of_one_does_not_show_in_the_journal_of_another(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def secretive() -> list[Call]:
        with journal() as calls:
            calls.secrets.add("b")
            asked(cloud, LAMPS, ["b"])
            return calls.calls

    def plain() -> list[Call]:
        return asking(cloud, "a")()[1].calls

    for one in at_once(monkeypatch, secretive, plain):
        (call,) = one.result()
        assert call.shared_by == 2 and sorted(call.parameters["names"]) == ["***", "a"]  # type: ignore[call-overload]


@pytest.mark.parametrize("apart", [rehearsal, reading_once])
def test_preflight_asks_by_itself(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, apart: Any) -> None:
    def ask() -> list[Item]:
        with apart():
            return asked(cloud, LAMPS, ["a"])

    assert [one.result() for one in at_once(monkeypatch, ask, ask)] == [[{"name": "a"}]] * 2
    assert cloud.calls == [{"names": ["a"]}] * 2


def test_nothing_is_left_behind(cloud: Cloud) -> None:
    asked(cloud, LAMPS, ["a"])
    assert not [key for key in list(_listed._desks) if key[0] == id(cloud)]
