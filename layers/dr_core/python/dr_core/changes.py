"""What the table's stream means to the bus: pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """An event to be put on the bus. `sequence_number` is that of the stream's record, empty where it comes from none.

    `execution_id`: whose it is, for the log. `trace_header`: X-Ray's, of the function that stored the event; the stream does not carry it.
    """

    sequence_number: str
    source: str
    detail_type: str
    detail: str
    execution_id: str = ""
    trace_header: str = ""


def to_publish(record: Mapping[str, object], region: str) -> Entry | None:
    """The event that a stream record announces, or None: only a new outbox item of this home Region does.

    A replica of the table has a stream of its own that repeats what other Regions wrote: without the Region each event would go out twice.
    """
    change = record["dynamodb"]
    if record.get("eventName") != "INSERT" or not isinstance(change, Mapping):
        return None
    image = change.get("NewImage", {})
    if not _string(image, "sk").startswith("EVT#") or _string(image, "home") != region:
        return None
    return Entry(
        str(change["SequenceNumber"]),
        _string(image, "source"),
        _string(image, "detail_type"),
        _string(image, "detail"),
        _string(image, "pk").removeprefix("EXEC#"),
        _string(image, "trace_header"),
    )


def _string(image: Mapping[str, Mapping[str, str]], name: str) -> str:
    return image.get(name, {}).get("S", "")
