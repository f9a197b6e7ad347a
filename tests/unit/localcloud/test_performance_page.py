"""docs/performance.md: a command writes its own section and no other."""

from pathlib import Path

import pytest

from localcloud import performance_page

BEGIN, END = "<!-- load: written by make load -->\n", "<!-- load: end -->\n"
OTHER = "<!-- other: written by make other -->\n\nfigures\n\n<!-- other: end -->\n"


def test_a_section_is_written_between_its_marks_and_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{OTHER}{BEGIN}{END}after\n")
    for figures in ("old", "new"):
        performance_page.write("load", figures, page)
    assert page.read_text() == f"before\n{OTHER}{BEGIN}\nnew\n{END}after\n"


@pytest.mark.parametrize("text", ["no marks", BEGIN, END, OTHER + END + BEGIN])
def test_a_page_without_a_place_for_the_figures_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="no place for it: a line <!-- load"):
        performance_page.write("load", "figures", page)
    assert page.read_text() == text


@pytest.mark.parametrize("name", ["load", "bench", "cold-start", "dashboard"])
def test_the_page_has_a_place_for_each(tmp_path: Path, name: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(performance_page.PAGE.read_text())
    performance_page.write(name, "figures", page)
    assert "\nfigures\n" in page.read_text()
