"""How drctl writes moments, durations, and text that comes from elsewhere."""

from datetime import UTC, datetime


def plain(value: object) -> str:
    """Text from the table or from AWS, on one line and without control characters; it is never markup."""
    return "".join(char if char.isprintable() else " " for char in str(value))


def moment(at: datetime) -> str:
    """A moment, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def duration(seconds: float) -> str:
    """A length of time, in the two units that matter."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def between(start: datetime, end: datetime) -> str:
    """The time from one moment to another."""
    return duration((end - start).total_seconds())


def percent_bar(percent: int, width: int = 20) -> str:
    """A bar of text, filled up to `percent`."""
    filled = round(width * max(0, min(100, percent)) / 100)
    return f"{'#' * filled}{'.' * (width - filled)} {percent} %"
