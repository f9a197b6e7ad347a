"""docs/modules.md: up to date, and all of it said by the modules."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from dr_core.phases import Phase
from dr_engine.module_docs import render
from dr_modules.base import Count, DRModule, Flag, ModuleParameters, Names, NativeEvent, Permissions, Status, Text, modules

DOCS = Path(__file__).resolve().parents[3] / "docs"

FILE = """Shop: open <early>, close *late*.

What `a < b` means | is code.

    {"and": "<this>"}

Example manifest resource:

    {
      "action": "Shop",
      "resourceName": "corner", "parameters": {"Door": "front"}
    }
"""


class Till(ModuleParameters):
    """Where the money is.

    Not this.
    """

    coins: Count = Field(alias="Coins", default=0, description="how many")


class ShopParameters(ModuleParameters):
    """One shop.

    Nothing of this paragraph.
    """

    door: Text = Field(alias="Door", description="which\ndoor | gate")
    clerks: Names = Field(alias="Clerks", default=())
    size: Annotated[Count, Field(le=9)] | None = Field(alias="Size", default=None)
    kind: Literal["big", "small"] = Field(alias="Kind", default="small")
    force: Flag = Field(alias="Force", default=False)
    code: str | None = Field(alias="Code", default=None, pattern=r"^a|b$")
    till: Till | None = Field(alias="Till", default=None)
    tills: list[Till] = Field(alias="Tills", default_factory=list)
    notes: dict[str, Any] = Field(alias="Notes", default_factory=dict)


class Shop(DRModule[ShopParameters]):
    """Shops."""

    name = "Shop"
    permissions: ClassVar[Permissions] = {Phase.ACTIVATE: ("shop:Open", "shop:DescribeDoors"), Phase.CLEANUP: ("shop:DescribeDoors",)}
    implied_permissions: ClassVar[Permissions] = {Phase.ACTIVATE: ("kms:CreateGrant",)}
    irreversible = frozenset({Phase.ACTIVATE})
    timeouts: ClassVar[Mapping[Phase, int]] = {Phase.CLEANUP: 77}
    native_events = (NativeEvent("aws.shop", "Shop Door Change"),)
    max_lag_seconds = 33
    lease_seconds = 144
    check_cap_seconds = 11

    def guard(self, parameters: ShopParameters) -> None:
        """Refuse on
        Sundays.

        And more.
        """

    def activate(self, parameters: ShopParameters) -> None:
        """Open it."""

    def activate_status_check(self, parameters: ShopParameters) -> Status:
        """Done when a customer
        is inside.

        Customers are people.
        """
        return Status.done()

    def cleanup(self, parameters: ShopParameters) -> None:
        """Close it."""

    def cleanup_status_check(self, parameters: ShopParameters) -> Status:
        """Done when it is dark."""
        return Status.done()


class Market(Shop):
    """A shop whose lag is known."""

    name = "Market"

    def lag_seconds(self, parameters: ShopParameters) -> float | None:
        """Seconds of goods that are still on the road."""
        return 1.0

    @classmethod
    def check_parameters(cls, phase: Phase, parameters: ShopParameters) -> list[tuple[str, str, str]]:
        """ACTIVATE needs clerks."""
        return []


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> str:
    """The page on a shop and a market, whose file is `shop.py`."""
    file = ModuleType("dr_modules.shop", FILE)
    monkeypatch.setitem(sys.modules, file.__name__, file)
    for kind in (Shop, Market):
        monkeypatch.setattr(kind, "__module__", file.__name__)
    return render({"Market": Market, "Shop": Shop})


def section(page: str, name: str) -> str:
    """The section on one module."""
    found = re.search(rf"^## {name}$.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "modules.md").read_text() == render(modules()), "make schema"


def test_the_matrix(shop: str) -> None:
    assert "| Module | INSTANTIATE | ACTIVATE | CLEANUP | REPLICATE |\n|---|---|---|---|---|\n" in shop
    assert "| [Market](#market) | – | yes, irreversible | yes | – |\n| [Shop](#shop) | – | yes, irreversible | yes | – |\n" in shop  # noqa: RUF001


def test_a_modules_own_words_are_no_markup(shop: str) -> None:
    text = section(shop, "Shop")
    assert text.startswith("## Shop\n\nOpen \\<early>, close \\*late\\*.\n\nWhat `a < b` means | is code.\n\n")
    assert 'is code.\n\n    {"and": "<this>"}\n\nSource: [shop.py](' in text
    assert "](../layers/dr_modules/python/dr_modules/shop.py).\n" in text
    assert text.endswith('```json\n{\n  "action": "Shop",\n  "resourceName": "corner", "parameters": {"Door": "front"}\n}\n```\n')
    assert "Example manifest resource" not in text


@pytest.mark.parametrize(
    "row",
    [
        "| `Door` | required | string | which door \\| gate |",
        "| `Clerks` | optional | string or list of strings | |",
        "| `Size` | optional | integer, at least 0, at most 9 | |",
        '| `Kind` | default `"small"` | `"big"` or `"small"` | |',
        "| `Force` | default `false` | boolean | |",
        "| `Code` | optional | string, matching `^a\\|b$` | |",
        "| `Till` | optional | `Till` | |",
        "| `Tills` | optional | list of `Till` | |",
        "| `Notes` | optional | object | |",
        "| `Coins` | default `0` | integer, at least 0 | how many |",
    ],
)
def test_a_parameter(shop: str, row: str) -> None:
    assert f"\n{row}\n" in section(shop, "Shop")


def test_each_model_is_introduced_by_its_first_paragraph(shop: str) -> None:
    text = section(shop, "Shop")
    assert text.index("\n\nOne object of `parameters`: One shop.\n\n") < text.index("\n\n`Till`: Where the money is.\n\n")
    assert "Nothing of this" not in text and "Not this" not in text


def test_what_phases_do_and_when_they_are_done(shop: str) -> None:
    assert (
        "| Phase | Act | Status check |\n|---|---|---|\n"
        "| ACTIVATE | Open it. | Done when a customer is inside. |\n"
        "| CLEANUP | Close it. | Done when it is dark. |\n\n"
    ) in section(shop, "Shop")


def test_what_precedes_an_act_is_told_where_the_module_says_it(shop: str) -> None:
    head, guard = "| Before an act | |\n|---|---|\n", "| Guard | Refuse on Sundays. |\n"
    assert f"{head}{guard}\n" in section(shop, "Shop")
    lag = "| Lag | Seconds of goods that are still on the road. |\n"
    assert f"{head}| Parameters | ACTIVATE needs clerks. |\n{guard}{lag}\n" in section(shop, "Market")


def test_time_and_attempts(shop: str) -> None:
    limits = (
        "| Unless the manifest says otherwise | ACTIVATE | CLEANUP |\n|---|---|---|\n"
        "| `timeout` | 900 s | 77 s |\n| `maxAttempts` | 1 | 3 |\n"
    )
    end = "| irreversible | yes | no |\n| in a drill | left out | left out |\n\n"
    assert limits + end in section(shop, "Shop")
    assert limits + "| `maxLagSeconds` | 33 | – |\n" + end in section(shop, "Market")  # noqa: RUF001
    assert "Checks at most 11 s apart. Lease 144 s. AWS's own events on it: Shop Door Change (`aws.shop`).\n" in shop


def test_permissions(shop: str) -> None:
    assert (
        "| Permissions | Calls that read | Calls that change | Not called, but asked for by AWS |\n|---|---|---|---|\n"
        "| ACTIVATE | `shop:DescribeDoors` | `shop:Open` | `kms:CreateGrant` |\n"
        "| CLEANUP | `shop:DescribeDoors` | | |\n"
    ) in shop


def test_where_aws_asks_for_nothing_more_there_is_no_column_for_it(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shop, "implied_permissions", {})
    assert "| ACTIVATE | `shop:DescribeDoors` | `shop:Open` |\n" in render({"Shop": Shop})


def test_rows_have_as_many_cells_as_their_table(shop: str) -> None:
    for page in (shop, render(modules())):
        for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(widths) == 1, table


@pytest.mark.parametrize("page", ["modules.md", "modules-common.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text()
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        assert (DOCS / path).exists(), path
        assert path or anchor in anchors, anchor
