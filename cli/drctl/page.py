"""The approval page, read as a browser reads it: its heading, what it says, and its form."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from dr_people.wording import plain
from drctl.failures import UnreachablePageError


@dataclass
class Page:
    """A page: HTTP status, heading, paragraphs, the facts it lists, and the hidden fields of its form (None without a form)."""

    status: int
    heading: str = ""
    paragraphs: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, str] | None = None

    def says(self) -> str:
        """Heading and paragraphs, on one line."""
        return ": ".join(part for part in (self.heading, " ".join(self.paragraphs)) if part) or f"HTTP status {self.status}"


def fetch(client: httpx.Client, link: str) -> Page:
    """GET the page: that decides nothing. Raises UnreachablePageError."""
    return _page(client, "GET", link, None)


def submit(client: httpx.Client, link: str, form: dict[str, str]) -> Page:
    """POST the form to where the page came from. Raises UnreachablePageError."""
    return _page(client, "POST", link, form)


def _page(client: httpx.Client, method: str, link: str, form: dict[str, str] | None) -> Page:
    try:
        origin = {"Origin": f"{httpx.URL(link).scheme}://{httpx.URL(link).netloc.decode()}"} if form is not None else None
        answer = client.request(method, link, data=form, headers=origin)
    except httpx.HTTPError as error:
        host = httpx.URL(link).host
        raise UnreachablePageError(f"the approval page at {host} does not answer: {plain(error) or type(error).__name__}") from error
    reader = _Reader(Page(answer.status_code))
    reader.feed(answer.text)
    reader.close()
    return reader.page


class _Reader(HTMLParser):
    """Fills a page from its HTML."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        self._text: list[str] | None = None
        self._term = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("h1", "p", "dt", "dd"):
            self._text = []
        elif tag == "form":
            self.page.hidden = {}
        elif tag == "input" and self.page.hidden is not None:
            given = dict(attrs)
            if given.get("type") == "hidden":
                self.page.hidden[given.get("name") or ""] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("h1", "p", "dt", "dd") or self._text is None:
            return
        text, self._text = plain("".join(self._text)).strip(), None
        if tag == "h1":
            self.page.heading = text
        elif tag == "dt":
            self._term = text
        elif tag == "dd":
            self.page.facts[self._term] = text
        elif self.page.hidden is None:  # in a form a paragraph holds buttons
            self.page.paragraphs.append(text)
