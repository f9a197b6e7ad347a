"""The pictures of docs/images: `make screenshots`. The board as CloudWatch shows it, on a halted execution, light and dark."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from dr_people import board_shells
from tests.browser.conftest import _NAMES, _OPTIONS
from tests.support.boards import ARN, board_at, story
from tests.support.desk import ACCOUNT, ID, emulated
from tests.support.widget_shell import WidgetShell

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"
_ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/DR-Orchestrator-Execution-Role"
CASE = "ACTIVATE of storefront in us-west-2"
PAGES = {"first": (), "execution": (CASE,), "call": (CASE, "workers", "Attempt 1")}


def take() -> None:
    """Take each picture anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = next(path for path in map(shutil.which, _NAMES) if path)
    with pytest.MonkeyPatch.context() as patch, emulated(patch) as desk, sync_playwright() as playwright:
        story(desk, "application-tier", f"User: {_ROLE}/dr-{ID} is not authorized to perform autoscaling:UpdateAutoScalingGroup")
        browser = playwright.chromium.launch(executable_path=found, args=_OPTIONS)
        for theme in ("light", "dark"):
            for name, clicks in PAGES.items():
                page = browser.new_page(viewport={"width": 1180, "height": 400})
                widget = WidgetShell(page, lambda event: board_shells.widget(event, board_at(desk), ARN), theme)
                for each in clicks:
                    widget.click(each)
                page.screenshot(path=FOLDER / f"board-{name}-{theme}.png", full_page=True)
                page.close()
        browser.close()


if __name__ == "__main__":
    take()
