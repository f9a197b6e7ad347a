"""The three shells of the board: CloudWatch's custom widget, a page behind a function URL, and a page of `drctl dashboard`.

What CloudWatch does with a widget: it calls the function with the widget's parameters and a `widgetContext`, strips scripts, iframes and
SVG's `use` from the answer, and where a `cwdb-action` follows an element, a click on that element calls the function again
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, ValidationError

from dr_people.board import Asked, Board
from dr_people.rendering import render

HEADERS: Mapping[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
DESCRIBE = """## Troubleshooting widget

What runs, what failed, and the command that mends it. Parameters, all optional:

``` yaml
application: storefront   # only this application
execution: 01J9ZK3M8Q4T7V2X5B6C8D0E1F   # begin with this execution
```
"""


class _Context(BaseModel):
    model_config = ConfigDict(extra="ignore")

    theme: Literal["light", "dark"] = "light"


@dataclass(frozen=True)
class Page:
    """An answer over HTTP: status and HTML."""

    status: int
    body: str

    def as_function_url(self) -> dict[str, object]:
        """In the shape that a Lambda function URL takes."""
        return {"statusCode": self.status, "headers": dict(HEADERS), "body": self.body}


def widget(event: Mapping[str, Any], board: Board, function_arn: str) -> str | dict[str, str]:
    """Answer CloudWatch: HTML, or what the widget is and takes. `event`: the parameters, and CloudWatch's `widgetContext`."""
    if event.get("describe"):
        return {"markdown": DESCRIBE}
    context = _Context.model_validate(event.get("widgetContext") or {})

    def go(label: str, **asked: object) -> Markup:
        action = Markup('<cwdb-action action="call" display="widget" endpoint="{}">{}</cwdb-action>')
        return Markup('<button type="button" class="go">{}</button>{}').format(label, action.format(function_arn, json.dumps(asked)))

    # The parameters of the widget itself count only until somebody has clicked: each click says all that it wants.
    try:
        content = board.page(Asked.model_validate({key: value for key, value in event.items() if key != "widgetContext"}), go)
    except ValidationError as error:
        content = _wrong(error, go)
    return render("board_widget.html.j2", content=content, theme=context.theme)


def page(query: Mapping[str, str], board: Board, method: str = "GET") -> Page:
    """Answer a browser. `query`: the parameters of the address."""
    if method not in ("GET", "HEAD"):
        return nothing("This page only shows: it takes GET and HEAD.", 405)

    def go(label: str, **asked: object) -> Markup:
        return Markup('<a class="go" href="?{}">{}</a>').format(urlencode(asked), label)

    try:
        content, status = board.page(Asked.model_validate(query), go), 200
    except ValidationError as error:
        content, status = _wrong(error, go), 400
    return Page(status, render("board_page.html.j2", title=f"{board.stack} in {board.region}", content=content))


def nothing(message: str, status: int) -> Page:
    """A page that only says why there is nothing to show."""
    return Page(status, render("board_page.html.j2", title="Nothing to show", content=Markup("<p>{}</p>").format(message)))


def over_url(event: Mapping[str, Any], board: Board) -> dict[str, object]:
    """Answer a function URL. `event`: payload format 2.0; who asks was checked by IAM before."""
    return page(event.get("queryStringParameters") or {}, board, event["requestContext"]["http"]["method"]).as_function_url()


def _wrong(error: ValidationError, go: Any) -> Markup:
    named = ", ".join(sorted({str(one["loc"][0]) for one in error.errors() if one["loc"]}))
    message = f"This is not how one asks for {named}: an execution and a resource are asked for by their ids, an application by its name."
    return Markup(render("board_nothing.html.j2", go=go, message=message))  # noqa: S704  (the template escapes)
