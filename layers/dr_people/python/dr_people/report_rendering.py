"""The recovery report as a page, as text in Markdown, and as JSON: three renderings of one model. The PDF is printed from the page."""

from markupsafe import Markup

from dr_core.reports import proof
from dr_people.rendering import render
from dr_people.report import Report
from dr_people.time_split import Kind
from dr_people.wording import moment, plain

_ABSENT = "\N{EN DASH}"
_KINDS = {
    Kind.AWS: "AWS at work",
    Kind.ORCHESTRATION: "orchestration",
    Kind.RETRY: "wait between attempts",
    Kind.PEOPLE: "wait for people",
}


def as_json(report: Report) -> str:
    """The model's dump; names are those of the events."""
    return report.model_dump_json(by_alias=True, indent=2) + "\n"


def as_html(report: Report, picture: str = "") -> str:
    """A page that loads nothing. `picture`: an SVG of the timeline, from our own templates."""
    return render("report.html.j2", **_words(report), picture=Markup(picture))  # noqa: S704  (rendered, and escaped, by render)


def as_markdown(report: Report) -> str:
    """The same, for a wiki or a ticket."""
    return render("report.md.j2", **_words(report), cell=_cell)


def _words(report: Report) -> dict[str, object]:
    return {
        "title": f"{'Drill report' if report.drill else 'Recovery report'}: {report.request.phase} of {report.request.application}",
        "report": report,
        "length": _length,
        "moment": lambda at: moment(at) if at else _ABSENT,
        "kinds": _KINDS,
        "plain": plain,
        "proof": proof(report.request.requester_verified),
    }


def _length(milliseconds: int | None) -> str:
    """Milliseconds in words, exact: what adds up in the model adds up on paper."""
    if milliseconds is None:
        return _ABSENT
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    words = f"{rest // 1000}.{rest % 1000:03d} s"
    return f"{hours} h {minutes} min {words}" if hours else f"{minutes} min {words}" if minutes else words


def _cell(value: object) -> str:
    """Text from elsewhere within a Markdown table: on one line, and no markup of its own."""
    return "".join(f"\\{char}" if char in r"\`*_{}[]<>()#+!|~" else char for char in plain(value))
