"""When the ticks of a schedule are: pure functions of its rule and of instants, in nanoseconds since 1970."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from jobq.errors import ConfigError
from jobq.model.times import EPOCH, SECOND, Seconds, duration, instant, moment

if TYPE_CHECKING:
    from cronsim import CronSim

Missed = Literal["skip", "last", "all"]
Spec = str | int | float
"""Cron text, or seconds."""

MOST = 100
"""Ticks that one commit sees to at the most."""
SHORTEST = SECOND // 100
WEEK = timedelta(weeks=1)


class Rule(Protocol):
    """When a schedule ticks."""

    def after(self, since: int) -> Iterator[int]:
        """Its ticks after an instant, without end. Raises ValueError if there is none within 50 years."""
        ...


class Interval:
    """A tick at each whole multiple of `nanos` since 1970."""

    def __init__(self, nanos: int) -> None:
        self._nanos = nanos

    def after(self, since: int) -> Iterator[int]:
        """See Rule."""
        tick = since - since % self._nanos
        while True:
            tick += self._nanos
            yield tick


class Cron:
    """A tick at each minute (or second) that matches a cron text, by the local time of a timezone.

    Where clocks are set forward or back, it is as in Debian's cron: what names its minutes and hours is run once, at
    the first moment after the gap if it falls in one, and at the first of two if its time comes twice; what has a `*`
    there, or seconds, ticks whenever the local time matches.
    """

    def __init__(self, text: str, timezone: str) -> None:
        self._text = text
        self._zone = zone(timezone)
        fields = _checked(text)
        self._is_frequent = len(fields) == 6 or fields[0].startswith("*") or fields[1].startswith("*")

    def after(self, since: int) -> Iterator[int]:
        """See Rule."""
        last = since
        for tick in self._frequent(moment(since)) if self._is_frequent else self._daily(moment(since)):
            if (at := _nanos(tick)) > last:  # an hour that comes twice has its ticks in the first one alone
                last = at
                yield at
        raise ValueError(f"cron text {self._text!r} has no tick within 50 years of {moment(last):%Y-%m-%d}")

    def _daily(self, since: datetime) -> Iterator[datetime]:
        return _cronsim()(self._text, since.astimezone(self._zone))

    def _frequent(self, since: datetime) -> Iterator[datetime]:
        # Piece by piece of one offset from UTC: where that changes by half an hour, cronsim would leave out ticks.
        start, begin, offset = since, since, self._offset(since)
        while True:
            for local in _cronsim()(self._text, (start + offset).replace(tzinfo=None)):
                tick = local.replace(tzinfo=UTC) - offset
                change = self._change(begin, tick, offset)
                if change is not None:
                    start, begin, offset = change - timedelta(seconds=1), change, self._offset(change)
                    break
                begin = tick
                yield tick
            else:
                return

    def _change(self, since: datetime, until: datetime, offset: timedelta) -> datetime | None:
        """The first second after `since`, up to `until`, with another offset from UTC; None if there is none."""
        low = since
        while low < until:
            high = min(low + WEEK, until)
            if self._offset(high) != offset:
                return self._first_without(offset, low, high)
            low = high
        return None

    def _first_without(self, offset: timedelta, low: datetime, high: datetime) -> datetime:
        low = low.replace(microsecond=0)
        while high - low > timedelta(seconds=1):
            middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
            low, high = (middle, high) if self._offset(middle) == offset else (low, middle)
        return high

    def _offset(self, at: datetime) -> timedelta:
        offset = at.astimezone(self._zone).utcoffset()
        assert offset is not None  # of a ZoneInfo
        return offset


def rule_of(spec: Spec, timezone: str) -> Rule:
    """The rule of a spec that `checked_spec` returned. Raises ConfigError if the package for cron text is missing."""
    return Cron(spec, timezone) if isinstance(spec, str) else Interval(_width(spec))


def checked_spec(spec: str | Seconds, timezone: str) -> Spec:
    """A spec as it is kept.

    Raises TypeError and ValueError for what is none, and ConfigError where the package for cron text is missing.
    """
    zone(timezone)
    if isinstance(spec, str):
        next(Cron(spec, timezone).after(instant(datetime(2026, 1, 1, tzinfo=UTC), "spec")))
        return " ".join(spec.split())
    _width(spec)
    if timezone != "UTC":
        raise ValueError("a timezone is for cron text: an interval ticks at its whole multiples since 1970, UTC")
    return spec.total_seconds() if isinstance(spec, timedelta) else spec


def _width(spec: Seconds) -> int:
    if isinstance(spec, bool) or not isinstance(spec, int | float | timedelta):
        raise TypeError(
            "spec must be cron text, such as '0 9 * * MON-FRI', or seconds (int, float) or a timedelta, "
            f"not {type(spec).__name__}"
        )
    nanos = duration(spec, "an interval")
    if nanos < SHORTEST:
        raise ValueError(f"an interval must be at least {SHORTEST / SECOND:g} seconds, not {spec}")
    return nanos


def zone(timezone: str) -> tzinfo:
    """A timezone by its name. Raises TypeError, and ValueError if there is none of that name."""
    if not isinstance(timezone, str):
        raise TypeError(f"timezone must be a name such as 'Europe/Paris', not {type(timezone).__name__}")
    if timezone == "UTC":
        return UTC
    try:
        return ZoneInfo(timezone)
    except (ValueError, LookupError, OSError) as problem:
        raise ValueError(
            f"there is no timezone {timezone!r}: names are such as 'Europe/Paris'; where the system has none of them, "
            "pip install tzdata"
        ) from problem


class Due(NamedTuple):
    """The ticks for which to enqueue. seen: the instant up to which that sees to all."""

    ticks: list[int]
    seen: int


def due(rule: Rule, seen: int, now: int, missed: Missed, grace: int, most: int = MOST) -> Due:
    """Which ticks after `seen` are due, `most` of them.

    grace: nanoseconds that a tick may be late if missed ones are skipped.
    """
    if now <= seen:
        return Due([], seen)
    if missed == "last":
        return Due(_last(rule, seen, now), now)
    since = seen if missed == "all" else max(seen, now - grace - 1)
    ticks = list(islice(_until(rule, since, now), most))
    return Due(ticks, ticks[-1] if len(ticks) == most else now)


def _last(rule: Rule, seen: int, now: int) -> list[int]:
    """The last tick in a window that grows backwards, so that a year of minutes costs no more than an hour."""
    width = 60 * SECOND
    while True:
        since = max(seen, now - width)
        ticks = list(_until(rule, since, now))
        if ticks or since == seen:
            return ticks[-1:]
        width *= 4


def _until(rule: Rule, since: int, until: int) -> Iterator[int]:
    return takewhile(lambda tick: tick <= until, rule.after(since))


def _nanos(tick: datetime) -> int:
    return (tick.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) * 1_000


def _checked(text: str) -> list[str]:
    cron = _cronsim()
    fields = text.split()
    try:
        cron(text, EPOCH)
    except Exception as problem:  # some texts fail in another way than with a CronSimError
        why = str(problem) or type(problem).__name__
        raise ValueError(
            f"cron text {text!r} is not allowed ({why}): it has minute, hour, day of month, month and day of week, "
            "such as '*/5 * * * *' or '0 9 * * MON-FRI'"
        ) from problem
    return fields


def _cronsim() -> type[CronSim]:
    try:
        from cronsim import CronSim
    except ImportError:
        raise ConfigError("cron text needs the package cronsim: pip install 'jobq[cron]'") from None
    return CronSim
