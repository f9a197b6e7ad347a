"""The templates of pages, mails and reports. Whatever is put into one is escaped; a name it does not know is an error."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render(template: str, /, **values: Any) -> str:
    """The file `template` of `dr_people/templates` filled with `values`. Raises jinja2.UndefinedError for one that is missing.

    In templates named `*.html.j2` all values are escaped; those named `*.txt.j2` are plain text.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("dr_people", "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2", "svg.j2"), disabled_extensions=("txt.j2", "md.j2"), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
