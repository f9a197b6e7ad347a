"""`drctl timeline`: an execution as a picture over time, in the terminal or as SVG."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from dr_people.gantt import Chart, Doing, Row, chart, picture
from dr_people.snapshot import read
from dr_people.wording import duration, moment
from drctl import view
from drctl.cloud import cloud_of
from drctl.status import ExecutionId, accepted

_LABEL, _TOOK = 32, 12
_NARROWEST = 20
_SIGNS: Mapping[Doing, tuple[str, str]] = {
    Doing.PREFLIGHT: (".", "dim"),
    Doing.APPROVAL: ("?", "yellow"),
    Doing.QUEUED: (".", "dim"),
    Doing.ACTING: ("+", "blue"),
    Doing.WAITING: ("=", "cyan"),
    Doing.RETRY: ("~", "yellow"),
    Doing.RUNNING: ("-", "dim"),
    Doing.PERSON: ("!", "red"),
    Doing.PAUSED: ("|", "yellow"),
}


class Format(StrEnum):
    """For the terminal, or a picture."""

    TEXT = "text"
    SVG = "svg"


def timeline(
    context: typer.Context,
    execution_id: ExecutionId,
    output: Annotated[Format, typer.Option("--output", "-o", metavar="text|svg", help="For the terminal, or a picture.")] = Format.TEXT,
) -> None:
    """Draw an execution over time: layers, resources, what was waited for, and the critical path.

    The critical path (*) is the resource of each layer that ended last: the run would not have ended earlier without it.
    Time in which nothing but people was waited for is drawn short.

    Examples:

    * `drctl timeline 01J9ZK3M8Q4T7V2X5B6C8D0E1F`
    * `drctl timeline 01J9ZK3M8Q4T7V2X5B6C8D0E1F -o svg > timeline.svg`
    """
    cloud = cloud_of(context)
    found = accepted(cloud, execution_id)
    drawn = chart(read(cloud.table, found, cloud.clock()))
    if output is Format.SVG:
        typer.echo(picture(drawn))
        return
    out = view.console()
    for one in lines(drawn, out.width):
        out.print(one, soft_wrap=False, overflow="crop", no_wrap=True)


def lines(drawn: Chart, width: int) -> Iterator[Text]:
    """The picture in lines of `width` characters: names as long as the longest, within reason, and the rest for the time."""
    label = min(_LABEL, max(len(_name(row)) for row in drawn.rows) + 1)
    room = max(_NARROWEST, width - label - _TOOK - 2)
    yield Text(f"{moment(drawn.start)}, and the time since then", style="dim")
    yield Text(" " * label + _axis(drawn, room), style="dim")
    for row in drawn.rows:
        yield _line(drawn, row, label, room)
    yield Text("")
    shown = {span.doing for row in drawn.rows for span in row.spans}
    signs = [f"{_SIGNS[doing][0]} {doing.words}" for doing in Doing if doing in shown]
    yield from (Text(one, style="dim") for one in _filled([*signs, "* critical path"], width))


def _filled(words: Iterable[str], width: int) -> Iterator[str]:
    """The words beside one another, as many as a line holds."""
    line = ""
    for one in words:
        if line and len(line) + 3 + len(one) > width:
            yield line
            line = ""
        line += f"   {one}" if line else one
    yield line


def _axis(drawn: Chart, room: int) -> str:
    text = ""
    for when, passed in drawn.ticks(max(2, room // 12)):
        place = round(drawn.at(when) * (room - 1))
        if place >= len(text) + (1 if text else 0) and place + len(passed) <= room + _TOOK:
            text = text.ljust(place) + passed
    return text


def _name(row: Row) -> str:
    mark = "* " if row.critical else "  " if row.kind == "resource" else ""
    return f"{'  ' if row.kind == 'resource' else ''}{mark}{row.label}"


def _line(drawn: Chart, row: Row, width: int, room: int) -> Text:
    label = _name(row)
    label = label if len(label) < width else f"{label[: width - 2]}…"
    signs = [(" ", "")] * room
    for span in row.spans:
        first = round(drawn.at(span.start) * (room - 1))
        last = max(first + 1, round(drawn.at(span.end) * (room - 1)))
        signs[first:last] = [_SIGNS[span.doing]] * (last - first)
    bar = Text.assemble(*signs[:room])
    return Text.assemble(
        (label.ljust(width), "" if row.kind == "resource" else "bold"), bar, f" {duration(row.seconds):>{_TOOK - 1}}" if row.spans else ""
    )
