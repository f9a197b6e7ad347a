"""docs/performance.md, whose sections are written by the commands that measure them."""

from pathlib import Path
from typing import Final

from localcloud.cloud import REPOSITORY

PAGE: Final = REPOSITORY / "docs" / "performance.md"


def write(name: str, section: str, page: Path = PAGE) -> None:
    """Put the section between its marks, and leave the rest of the page as it is. Raises ValueError where the marks are not there."""
    begin, end = f"<!-- {name}: written by make ", f"<!-- {name}: end -->\n"
    before, mark, rest = page.read_text().partition(begin)
    command, _, rest = rest.partition("\n")
    _, closed, after = rest.partition(end)
    if not (mark and closed):
        raise ValueError(f"{page} has no place for it: a line {begin}… --> and, below it, a line {end.strip()} are wanted")
    page.write_text(f"{before}{begin}{command}\n\n{section}\n{end}{after}")
