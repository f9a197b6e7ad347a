"""The browser that the other tests here rely on."""

from playwright.sync_api import Page

SENDS_ITSELF = (
    "<form action='about:blank#sent'><button>send</button></form><script>document.forms[0].querySelector('button').click()</script>"
)


def test_scripts_run(page: Page) -> None:
    """Else a page that sends itself would pass as harmless."""
    page.set_content(SENDS_ITSELF)
    page.wait_for_url("about:blank*#sent")
