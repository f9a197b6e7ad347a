"""A template escapes what is put into it, and does not pass over what is missing."""

import pytest
from jinja2 import DictLoader, UndefinedError

from dr_people import rendering


@pytest.fixture
def templates(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = DictLoader(dict.fromkeys(("one.html.j2", "one.svg.j2", "one.txt.j2", "one.md.j2"), "{{ name }}"))
    monkeypatch.setattr(rendering._environment(), "loader", loader)
    rendering._environment().cache.clear()  # type: ignore[union-attr]


@pytest.mark.usefixtures("templates")
@pytest.mark.parametrize(
    ("template", "shown"), [("one.html.j2", "&lt;b&gt;"), ("one.svg.j2", "&lt;b&gt;"), ("one.txt.j2", "<b>"), ("one.md.j2", "<b>")]
)
def test_values_are_escaped_where_markup_means_something(template: str, shown: str) -> None:
    assert rendering.render(template, name="<b>") == shown


@pytest.mark.usefixtures("templates")
def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="name"):
        rendering.render("one.html.j2")
