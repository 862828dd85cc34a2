"""When schedules tick: by cron text in a timezone, and by intervals; and which ticks are due."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq import ConfigError
from jobq.model.times import SECOND, instant, moment
from jobq.tasks.ticks import MOST, Cron, Interval, Missed, Rule, checked_spec, due, rule_of, zone
from tests.schedules.calendars import DAILY, FREQUENT, daily, moments

BEGIN, END = datetime(2027, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
ZONES = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe"]
CHANGES: dict[str, list[tuple[int, int, int, float]]] = {
    "Europe/Paris": [(2027, 3, 28, 1), (2027, 10, 31, 1)],
    "America/New_York": [(2028, 3, 12, 7), (2028, 11, 5, 6)],
    "Australia/Lord_Howe": [(2027, 4, 3, 15), (2027, 10, 2, 15.5)],
}
"""When clocks are set forward or back there: year, month, day and hour, in UTC."""


def nanos(at: datetime) -> int:
    return instant(at, "at")


def ticks(rule: Rule, begin: datetime = BEGIN, end: datetime = END) -> list[datetime]:
    return [moment(tick) for tick in takewhile(lambda tick: tick <= nanos(end), rule.after(nanos(begin)))]


def local(text: str, timezone: str, begin: datetime, n: int) -> list[str]:
    """The first ticks, by the clocks of the place."""
    found = islice(Cron(text, timezone).after(nanos(begin)), n)
    return [moment(tick).astimezone(zone(timezone)).strftime("%m-%d %H:%M %z") for tick in found]


# -- cron text


@pytest.mark.parametrize("timezone", ZONES)
def test_two_years_of_calendars_are_as_computed_the_plain_way(timezone: str) -> None:
    looked_at = moments(BEGIN, END, timezone)
    for text, matches in FREQUENT.items():
        assert ticks(Cron(text, timezone)) == [at for at, clock in looked_at if matches(clock)], text
    for text in DAILY:
        assert ticks(Cron(text, timezone)) == daily(text, BEGIN, END, timezone), text


@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.parametrize("text", ["*/5 * * * *", "*/20 2-3 * * *", *FREQUENT, *DAILY])
def test_the_next_tick_is_the_same_from_wherever_one_looks(text: str, timezone: str) -> None:
    """A worker looks from where its last look was, so that nothing may hang on that."""
    rule = Cron(text, timezone)
    for year, month, day, hour in CHANGES[timezone]:
        change = datetime(year, month, day, tzinfo=UTC) + timedelta(hours=hour)
        begin, end = change - timedelta(hours=3), change + timedelta(hours=3)
        found = ticks(rule, begin, end)
        for minutes in range(0, 360, 11):
            for extra in (timedelta(0), timedelta(microseconds=1), timedelta(seconds=59, microseconds=999_999)):
                since = begin + timedelta(minutes=minutes) + extra
                later = [tick for tick in found if tick > since]
                assert ticks(rule, since, end)[:1] == later[:1], since


def test_a_time_that_is_skipped_is_run_at_the_first_moment_after_the_gap() -> None:
    begin = datetime(2027, 3, 27, 2, tzinfo=UTC)
    assert local("30 2 * * *", "Europe/Paris", begin, 3) == [
        "03-28 03:00 +0200",
        "03-29 02:30 +0200",
        "03-30 02:30 +0200",
    ]
    assert local("*/30 2 * * *", "Europe/Paris", begin, 2) == ["03-29 02:00 +0200", "03-29 02:30 +0200"]


def test_a_time_that_comes_twice_is_run_once_but_with_a_star_each_time() -> None:
    begin = datetime(2027, 10, 30, 22, tzinfo=UTC)
    assert local("30 2 * * *", "Europe/Paris", begin, 2) == ["10-31 02:30 +0200", "11-01 02:30 +0100"]
    assert local("30 * * * *", "Europe/Paris", begin, 5) == [
        *["10-31 00:30 +0200", "10-31 01:30 +0200", "10-31 02:30 +0200"],
        *["10-31 02:30 +0100", "10-31 03:30 +0100"],
    ]


def test_half_an_hour_is_skipped_and_comes_twice_at_lord_howe() -> None:
    back, forward = datetime(2027, 4, 3, 14, tzinfo=UTC), datetime(2027, 10, 2, 14, tzinfo=UTC)
    assert local("15 2 * * *", "Australia/Lord_Howe", forward, 2) == ["10-03 02:30 +1100", "10-04 02:15 +1100"]
    assert local("45 1 * * *", "Australia/Lord_Howe", back, 2) == ["04-04 01:45 +1100", "04-05 01:45 +1030"]
    assert local("0 */2 * * *", "Australia/Lord_Howe", back, 2) == ["04-04 02:00 +1030", "04-04 04:00 +1030"]


def test_leap_days() -> None:
    assert local("0 0 29 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC), 2) == ["02-29 00:00 +0000"] * 2
    assert [tick.year for tick in ticks(Cron("0 0 29 2 *", "UTC"), end=datetime(2037, 1, 1, tzinfo=UTC))] == [
        2028,
        2032,
        2036,
    ]
    assert local("0 0 28-31 2 *", "UTC", datetime(2028, 2, 1, tzinfo=UTC), 3)[-1] == "02-28 00:00 +0000"


def test_a_text_without_a_tick_in_fifty_years_is_refused() -> None:
    with pytest.raises(ValueError, match="no tick within 50 years"):
        checked_spec("* * */20 * 1L", "UTC")


@pytest.mark.parametrize(
    ("spec", "timezone", "error", "message"),
    [
        ("* * * *", "UTC", ValueError, "Wrong number of fields"),
        ("60 * * * *", "UTC", ValueError, "Bad minute"),
        ("@daily", "UTC", ValueError, "it has minute, hour, day of month, month and day of week"),
        ("0 0 31 2 *", "UTC", ValueError, "Bad day-of-month"),
        ("0 0 * * MON#1/2", "UTC", ValueError, "cron text"),
        ("", "UTC", ValueError, "cron text"),
        ("* * * * *", "Europe/Pariss", ValueError, "there is no timezone 'Europe/Pariss'"),
        ("* * * * *", "", ValueError, "there is no timezone ''"),
        ("* * * * *", "../etc/passwd", ValueError, "there is no timezone"),
        ("* * * * *", "Europe", ValueError, "there is no timezone"),
        ("* * * * *", 3, TypeError, "timezone must be a name"),
        (None, "UTC", TypeError, "spec must be cron text"),
        (True, "UTC", TypeError, "spec must be cron text"),
        (0, "UTC", ValueError, "at least 0.01 seconds"),
        (0.009, "UTC", ValueError, "at least 0.01 seconds"),
        (-5, "UTC", ValueError, "an interval must be 0 or more"),
        (float("nan"), "UTC", ValueError, "finite"),
        (60, "Europe/Paris", ValueError, "a timezone is for cron text"),
    ],
)
def test_what_is_no_spec_is_refused(spec: Any, timezone: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        checked_spec(spec, timezone)


@given(st.text("0123456789*/-,#LWMONSUFEB ", max_size=20))
def test_any_text_is_refused_or_ticks(text: str) -> None:
    try:
        spec = checked_spec(text, "UTC")
    except ValueError:
        return
    first, second = islice(rule_of(spec, "UTC").after(0), 2)
    assert 0 < first < second


def test_cron_text_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(ConfigError, match=r"pip install 'jobq\[cron\]'"):
        checked_spec("* * * * *", "UTC")
    assert checked_spec(5, "UTC") == 5


# -- intervals


@pytest.mark.parametrize("seconds", [0.01, 0.1, 1, 7, 86_400, 1 / 3])
def test_an_interval_ticks_at_its_multiples(seconds: float) -> None:
    begin = nanos(BEGIN) + 12_345
    found = list(islice(rule_of(checked_spec(seconds, "UTC"), "UTC").after(begin), 50))
    width = round(seconds * SECOND)
    assert all(tick % width == 0 for tick in found)
    assert found == list(range(found[0], found[0] + 50 * width, width))
    assert begin < found[0] <= begin + width


def test_a_spec_is_kept_as_text_or_seconds() -> None:
    assert checked_spec("  0 9  * * mon ", "Europe/Paris") == "0 9 * * mon"
    assert checked_spec(timedelta(minutes=5), "UTC") == 300


# -- which are due


def naive(rule: Rule, seen: int, now: int) -> list[int]:
    return list(takewhile(lambda tick: tick <= now, rule.after(seen)))


EXPECTED: dict[Missed, Callable[[list[int], int, int], list[int]]] = {
    "all": lambda ticks, now, grace: ticks,
    "last": lambda ticks, now, grace: ticks[-1:],
    "skip": lambda ticks, now, grace: [tick for tick in ticks if tick >= now - grace],
}
rules = st.sampled_from(
    [Interval(SECOND), Interval(7 * SECOND), Cron("*/5 * * * *", "Europe/Paris"), Cron("0 3 * * *", "UTC")]
)
places = st.integers(0, 5 * 3600).map(lambda second: nanos(BEGIN) + second * SECOND)


@given(
    rules,
    places,
    places,
    st.sampled_from([*EXPECTED]),
    st.sampled_from([0, 1, 60, 600, 7200]),
    st.sampled_from([1, 12, MOST]),
)
def test_which_ticks_are_due(rule: Rule, seen: int, now: int, missed: Missed, grace: int, most: int) -> None:
    found, until = due(rule, seen, now, missed, grace * SECOND, most)
    everything = naive(rule, seen, now)
    assert found == EXPECTED[missed](everything, now, grace * SECOND)[:most]
    assert until == (found[-1] if len(found) == most and missed != "last" else max(seen, now))


def test_the_last_of_years_of_ticks_is_found_at_once() -> None:
    taken: list[int] = []

    class Counted(Cron):
        def after(self, since: int) -> Any:
            for tick in super().after(since):
                taken.append(tick)
                yield tick

    now = nanos(END) + 30 * SECOND
    assert due(Counted("* * * * *", "UTC"), nanos(BEGIN), now, "last", 0).ticks == [nanos(END)]
    assert due(Counted("0 0 1 1 *", "UTC"), nanos(BEGIN), now + 10**16, "last", 0).ticks == [nanos(END)]
    assert len(taken) < 50
