"""Seconds and datetimes outside, integer nanoseconds inside."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

type_of_seconds = (int, float, timedelta)
Seconds = int | float | timedelta

SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = 100 * 366 * 86_400
"""The longest duration in seconds: with it, every instant of this century still fits in 63 bits of nanoseconds."""
FOREVER = 2**63 - 1
"""An instant after all others."""

_MICROSECOND = timedelta(microseconds=1)


def seconds(value: Seconds, what: str, *, above_zero: bool = False) -> int | float:
    """Check a duration and return it in seconds.

    value: seconds as int or float, or a timedelta; 0 (or just above, with `above_zero`) to 100 years.
    what: the argument's name, for the message.
    Raises TypeError for another type, ValueError for a negative, too long or non-finite value.
    """
    if isinstance(value, bool) or not isinstance(value, type_of_seconds):
        raise TypeError(f"{what} must be seconds (int, float) or a timedelta, not {type(value).__name__}")
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(f"{what} must be a finite number of seconds, not {number}")
    if number < 0 or (above_zero and nanoseconds(number) == 0):
        raise ValueError(f"{what} must be {'above 0' if above_zero else '0 or more'} seconds, not {number}")
    if number > LONGEST:
        raise ValueError(f"{what} must be at most {LONGEST} seconds (100 years), not {number}")
    return number


def nanoseconds(number: int | float) -> int:
    """Turn checked seconds into nanoseconds, to the nearest: 2.3 * SECOND falls just short of what was meant."""
    return round(number * SECOND)


def duration(value: Seconds, what: str, *, above_zero: bool = False) -> int:
    """Check a duration as `seconds` does and return it in nanoseconds."""
    if type(value) is float and value == 0 and not above_zero:  # what verbs have by default: 0.1 µs instead of 0.9
        return 0
    return nanoseconds(seconds(value, what, above_zero=above_zero))


def instant(value: datetime, what: str) -> int:
    """Check an aware datetime and return it as nanoseconds since 1970.

    Raises TypeError for another type, ValueError for a naive datetime or one outside 1970 to 2200.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{what} must be an aware datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError(
            f"{what} must be an aware datetime, and {value!r} is naive: give it a tzinfo, such as datetime.now(UTC)"
        )
    if not 1970 <= value.year <= 2200:
        raise ValueError(f"{what} must lie between the years 1970 and 2200, not in {value.year}")
    return max(0, (value - EPOCH) // _MICROSECOND * 1_000)


def moment(nanos: int) -> datetime:
    """The datetime (UTC) of nanoseconds since 1970, rounded down to a microsecond."""
    return EPOCH + timedelta(microseconds=nanos // 1_000)


def moment_or_none(nanos: int) -> datetime | None:
    """As `moment`, and None for 0, which stands for never."""
    return moment(nanos) if nanos else None
