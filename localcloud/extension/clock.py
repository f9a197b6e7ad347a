"""Time as the emulated resources see it."""

import os
import time
from typing import Final

TIME_SCALE_VARIABLE: Final = "LOCALCLOUD_TIME_SCALE"


def now() -> float:
    """Seconds on a clock that only runs forward; tests replace this function."""
    return time.monotonic()


def scaled(seconds: float) -> float:
    """Shorten what AWS takes by the factor in LOCALCLOUD_TIME_SCALE: 1 is about as long as AWS, 0 is at once."""
    return seconds * float(os.environ.get(TIME_SCALE_VARIABLE, "1"))


class ManualClock:
    """A clock that stands still until it is moved: `monkeypatch.setattr(clock, "now", ManualClock())`."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
