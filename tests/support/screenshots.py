"""Pictures of what people see: into docs/images where `make screenshots` asks for them, else away."""

import os
from pathlib import Path

from playwright.sync_api import Page

LOOKS = ("light", "dark")
_IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def shoot(page: Page, name: str, elsewhere: Path) -> Path:
    """Take a picture of the whole page; `elsewhere` holds it unless SCREENSHOTS is set."""
    path = (_IMAGES if os.environ.get("SCREENSHOTS") else elsewhere) / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    page.screenshot(path=path, full_page=True)
    return path
