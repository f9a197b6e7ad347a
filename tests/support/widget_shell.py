"""What CloudWatch does with a custom widget, in a page of our own.

It shows what the function returned, without scripts and frames; each `cwdb-action` says what a click on the element before it does:
call the function again, with the JSON within and the widget's context, and show the answer in place of the widget.
"""

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

# As documented in "Interactivity in the custom widget": the element immediately before the action is the one that is clicked.
_SHELL = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Dashboard</title></head>
<body style="margin:0"><div id="widget"></div><script>
const widget = document.getElementById('widget');
window.show = (html) => {
  const parsed = new DOMParser().parseFromString(html, 'text/html');
  parsed.querySelectorAll('script, iframe, use').forEach((one) => one.remove());
  parsed.querySelectorAll('*').forEach((one) => [...one.attributes].forEach((a) => a.name.startsWith('on') && one.removeAttribute(a.name)));
  widget.replaceChildren(...parsed.head.childNodes, ...parsed.body.childNodes);
  widget.querySelectorAll('cwdb-action').forEach((action) => {
    const clicked = action.previousElementSibling;
    const asked = action.textContent.trim();
    action.remove();
    const [what, where] = ['action', 'display'].map((name) => action.getAttribute(name));
    if (what !== 'call' || where !== 'widget') throw new Error('not an action of this shell');
    clicked.addEventListener('click', async () => window.show(await window.callFunction(action.getAttribute('endpoint'), asked)));
  });
};
</script></body></html>"""


class WidgetShell:
    """A dashboard with one widget, whose function is `function`: event in, HTML out. It counts the clicks."""

    def __init__(self, page: Page, function: Callable[[dict[str, Any]], Any], theme: str = "light", params: Any = None) -> None:
        self.page = page
        self.clicks = 0
        self.endpoints: set[str] = set()
        self._function = function
        self._context = {"dashboardName": "DR-Orchestrator-Troubleshooting-Dashboard", "theme": theme, "params": params or {}}
        page.set_content(_SHELL)
        page.expose_function("callFunction", self._call)
        page.evaluate("(html) => window.show(html)", self._ask(params or {}))

    def click(self, name: str) -> None:
        """Click what is called so, and wait for what comes."""
        self.clicks += 1
        before = self.page.locator("#widget").inner_text()
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.page.wait_for_function("(before) => document.getElementById('widget').innerText !== before", arg=before)

    def _call(self, endpoint: str, asked: str) -> str:
        self.endpoints.add(endpoint)
        return self._ask(json.loads(asked))

    def _ask(self, asked: dict[str, Any]) -> str:
        answer = self._function({**asked, "widgetContext": self._context})
        assert isinstance(answer, str)
        return answer
