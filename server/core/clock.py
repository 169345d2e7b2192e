"""The one clock: every moment in the system comes from here, so that a test can move it."""

from datetime import UTC, datetime, timedelta

_offset = timedelta()


def now() -> datetime:
    """The present moment, in UTC with a timezone."""
    return datetime.now(UTC) + _offset


def travel(by: timedelta) -> None:
    """Move the clock of this process (tests only); `timedelta()` brings it back."""
    global _offset
    _offset = by
