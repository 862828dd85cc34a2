"""The ticks of some cron texts, computed the plain way: look at each moment, or at each day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

STEP = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)

Matches = Callable[[datetime], bool]
"""Of a local time."""
OfDay = Callable[[date], bool]


def moments(begin: datetime, end: datetime, timezone: str) -> list[tuple[datetime, datetime]]:
    """Each quarter of an hour after `begin` and not after `end`, and the local time then."""
    zone = ZoneInfo(timezone)
    times = [begin + STEP * n for n in range(1, (end - begin) // STEP + 1)]
    return [(at, at.astimezone(zone).replace(tzinfo=None)) for at in times]


FREQUENT: dict[str, Matches] = {
    "30 */2 * * *": lambda at: at.minute == 30 and at.hour % 2 == 0,
    "*/15 2 * * *": lambda at: at.minute % 15 == 0 and at.hour == 2,
    "*/30 0-3 * * SUN": lambda at: at.minute % 30 == 0 and at.hour <= 3 and at.isoweekday() == 7,
    "0 */6 1 * *": lambda at: at.minute == 0 and at.hour % 6 == 0 and at.day == 1,
    "0 0 */10 2 * *": lambda at: at.minute == 0 and at.hour % 10 == 0 and at.day == 2,
}
"""Cron texts that tick whenever the local time matches: with a star for minutes or hours, or with seconds."""

DAILY: dict[str, tuple[list[time], OfDay]] = {
    "0 9 * * MON-FRI": ([time(9)], lambda day: day.isoweekday() <= 5),
    "30 2 * * *": ([time(2, 30)], lambda day: True),
    "15,45 1,2 * * *": ([time(1, 15), time(1, 45), time(2, 15), time(2, 45)], lambda day: True),
    "0 0,2,3 * * SUN": ([time(0), time(2), time(3)], lambda day: day.isoweekday() == 7),
    "0 0 1 * *": ([time(0)], lambda day: day.day == 1),
    "0 12 L * *": ([time(12)], lambda day: (day + timedelta(days=1)).day == 1),
    "59 23 29 2 *": ([time(23, 59)], lambda day: (day.month, day.day) == (2, 29)),
    "0 4 13 * FRI": ([time(4)], lambda day: day.day == 13 or day.isoweekday() == 5),
}
"""Cron texts that name their times: each is run once a day, whatever the clocks do."""


def daily(text: str, begin: datetime, end: datetime, timezone: str) -> list[datetime]:
    """The ticks of one of DAILY after `begin` and not after `end`."""
    times, is_day = DAILY[text]
    found: set[datetime] = set()
    for day in days(begin - timedelta(days=2), end + timedelta(days=2)):
        if is_day(day):
            found |= {resolved(datetime.combine(day, at), ZoneInfo(timezone)) for at in times}
    return sorted(at for at in found if begin < at <= end)


def days(begin: datetime, end: datetime) -> Iterator[date]:
    day = begin.date()
    while day <= end.date():
        yield day
        day += timedelta(days=1)


def resolved(local: datetime, zone: ZoneInfo) -> datetime:
    """When a clock on the wall shows this: at first, if twice; if never, when it first shows something later."""
    while (at := local.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != local:
        local += MINUTE
    return at
