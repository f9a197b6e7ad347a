"""The events of an execution, as people read them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dr_core.state import TimelineEntry
from dr_people.wording import duration, moment, plain


@dataclass(frozen=True, slots=True)
class Happening:
    """An event: when, what, of which layer or resource, and what else there is to say. `fields` are those of its detail."""

    id: str
    at: datetime
    source: str
    detail_type: str
    subject: str
    words: str
    fields: Mapping[str, Any]


def happening(entry: TimelineEntry) -> Happening:
    """The event that an entry of the table's timeline stands for."""
    fields: dict[str, Any] = json.loads(entry.detail)
    at = datetime.fromisoformat(fields["occurredAt"]).astimezone(UTC)
    return Happening(entry.id, at, entry.source, entry.detail_type, _subject(fields), ", ".join(_words(fields)), fields)


def line(one: Happening, zero: datetime) -> str:
    """One line: the time of day, the time since `zero`, the event, what it is about, and what there is to say."""
    since = f"+{(one.at - zero).total_seconds():.1f}s"
    about = "  ".join(part for part in (one.subject, one.words) if part)
    return f"{one.at:%H:%M:%S} {since:>9} {one.detail_type:<20} {about}".rstrip()


def _subject(fields: Mapping[str, Any]) -> str:
    if "resourceName" in fields:
        return plain(f"{fields['resourceName']} ({fields.get('module', '?')})")
    return f"layer {fields['layer']}" if "layer" in fields else ""


def _words(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, say in _SAID.items():
        if name in fields and (words := say(fields[name], fields)):
            yield plain(words)


def _error(error: Mapping[str, Any], _fields: Mapping[str, Any]) -> str:
    request = f" (request id {error['requestId']})" if error.get("requestId") else ""
    return f"{error.get('code')}: {error.get('message')}{request}"


def _found(errors: int, fields: Mapping[str, Any]) -> str:
    found = [f"{number} {word}{'' if number == 1 else 's'}" for number, word in ((errors, "error"), (fields.get("warnings", 0), "warning"))]
    return f"{' and '.join(found)}, {fields.get('calls', 0)} calls planned"


def _clock_time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%H:%M:%S}"


def _problems(problems: list[Mapping[str, str]], _fields: Mapping[str, Any]) -> str:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0].get('message', '')}{more}" if problems else ""


_UNTIL = {True: "expires at", False: "nobody decided by"}  # whether it is a reminder

# What is said of the fields that have something to say, in this order; all others are for machines.
_SAID: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "dryRun": lambda value, _: "dry run" if value else "",
    "outcome": lambda value, _: str(value),
    "layersTotal": lambda value, _: f"{value} {'layer' if value == 1 else 'layers'}",
    "resources": lambda value, _: f"{value} {'resource' if value == 1 else 'resources'}",
    "attempt": lambda value, _: f"attempt {value}" if value > 1 else "",
    "takeover": lambda value, _: "taken over" if value else "",
    "forced": lambda value, _: "forced" if value else "",
    "durationMs": lambda value, _: f"in {duration(value / 1000)}",
    "rtoSeconds": lambda value, _: f"in {duration(value)}",
    "targetSeconds": lambda value, fields: f"{duration(fields['elapsedSeconds'])} of {duration(value)}",
    "dueAt": lambda value, fields: f"{fields['status']}, and nothing has come of it since {_clock_time(value)}",
    "errors": lambda value, fields: _found(value, fields),
    "lagSeconds": lambda value, _: f"{duration(value)} of data not yet replicated" if value is not None else "",
    "afterStep": lambda value, _: str(value),
    "counts": lambda value, _: " and ".join(f"{number} {status}" for status, number in value.items()),
    "error": _error,
    "retryAt": lambda value, _: f"tries again at {_clock_time(value)}",
    "problems": _problems,
    "requestedBy": lambda value, fields: f"by {value} ({fields.get('mode', '?')})",
    "approver": lambda value, _: f"by {value}",
    "actor": lambda value, _: f"by {value}",
    "reason": lambda value, _: str(value),
    "share": lambda value, _: f"{value} % of the time to decide are over",
    "expiresAt": lambda value, fields: (
        f"{'expires at' if 'share' in fields else 'nobody decided by'} {moment(datetime.fromisoformat(value))}"
    ),
}
