"""Options, limits, and times: what they accept, what they say when they do not, and that nothing is lost on the way."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobq import JobOptions, Limits
from jobq.model.options import FIELDS, with_overrides
from jobq.model.records import Policy, options_of, policy_of
from jobq.model.times import LONGEST, SECOND, duration, instant, moment, moment_or_none, seconds

DURATIONS = ["lease", "min_backoff", "max_backoff", "keep_done", "keep_canceled", "keep_dead"]


# -- JobOptions ---------------------------------------------------------------------------------------------------


def test_the_defaults() -> None:
    assert asdict(JobOptions()) == {
        "lease": 300,
        "max_retries": 50,
        "min_backoff": 30,
        "max_backoff": 3600,
        "jitter": 0.0,
        "keep_done": 3600,
        "keep_canceled": 86_400,
        "keep_dead": None,
        "log_status_change": False,
    }
    assert list(asdict(JobOptions())) == list(FIELDS)


def test_options_are_frozen_and_equal_by_value() -> None:
    with pytest.raises(FrozenInstanceError):
        JobOptions().lease = 3  # type: ignore[misc]
    assert JobOptions(lease=timedelta(minutes=5)) == JobOptions()
    assert len({JobOptions(), JobOptions(), JobOptions(lease=1)}) == 2


@pytest.mark.parametrize("name", DURATIONS)
def test_durations_are_seconds_or_timedeltas(name: str) -> None:
    wide = {"min_backoff": 0} if name == "max_backoff" else {}
    for given_, kept in ((7, 7), (0.5, 0.5), (timedelta(minutes=1), 60.0), (3600, 3600)):
        assert getattr(JobOptions(**(wide | {name: given_})), name) == kept  # type: ignore[arg-type]


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", [True, "5", b"5", [5], Decimal(5)])
def test_durations_of_other_types_are_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be seconds .* or a timedelta, not {type(value).__name__}"):
        JobOptions(**{name: value})


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf, LONGEST + 1, timedelta(days=-1)])
def test_durations_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be "):
        JobOptions(**{name: value})


@pytest.mark.parametrize("value", [0, 0.0, timedelta(), 1e-10])
def test_only_the_lease_must_be_above_zero(value: Any) -> None:
    with pytest.raises(ValueError, match="lease must be above 0 seconds, not "):
        JobOptions(lease=value)
    for name in DURATIONS[1:]:
        wide = {"min_backoff": 0} if name == "max_backoff" else {}
        assert duration(getattr(JobOptions(**(wide | {name: value})), name), name) == 0


@pytest.mark.parametrize("name", ["keep_done", "keep_canceled", "keep_dead", "max_retries"])
def test_none_means_for_ever_where_it_can(name: str) -> None:
    assert getattr(JobOptions(**{name: None}), name) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["lease", "min_backoff", "max_backoff", "jitter"])
def test_none_is_refused_elsewhere(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be .*not NoneType"):
        JobOptions(**{name: None})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1])
def test_max_retries_accepts(value: int) -> None:
    assert JobOptions(max_retries=value).max_retries == value


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (2**31, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_max_retries_refuses(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"max_retries must be .*, or None, which retries for ever, not"):
        JobOptions(max_retries=value)


@pytest.mark.parametrize("value", [0, 1, 0.0, 0.5, 1.0])
def test_jitter_accepts(value: float) -> None:
    assert JobOptions(jitter=value).jitter == value


@pytest.mark.parametrize(
    ("value", "error"),
    [(-0.1, ValueError), (1.1, ValueError), (math.nan, ValueError), (math.inf, ValueError), (True, TypeError),
     ("0.5", TypeError), (timedelta(), TypeError)],
)  # fmt: skip
def test_jitter_refuses(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"jitter must be .*from 0 to 1, not"):
        JobOptions(jitter=value)


@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_log_status_change_is_true_or_false(value: Any) -> None:
    with pytest.raises(TypeError, match=f"log_status_change must be True or False, not {type(value).__name__}"):
        JobOptions(log_status_change=value)
    assert JobOptions(log_status_change=True).log_status_change is True


def test_the_backoffs_must_not_cross() -> None:
    with pytest.raises(ValueError, match=r"min_backoff \(60\) must not be above max_backoff \(59.5\): change both"):
        JobOptions(min_backoff=60, max_backoff=59.5)
    assert JobOptions(min_backoff=60, max_backoff=60).max_backoff == 60


def test_overrides_change_single_fields() -> None:
    base = JobOptions(lease=7, jitter=0.5)
    assert with_overrides(base, {}) == base
    assert with_overrides(base, {"max_retries": 2, "keep_dead": 5}) == replace(base, max_retries=2, keep_dead=5)
    with pytest.raises(ValueError, match="lease must be above 0"):
        with_overrides(base, {"lease": 0})


def test_an_unknown_override_is_named_with_its_neighbour() -> None:
    with pytest.raises(TypeError, match=r"'max_retrys' \(did you mean 'max_retries'\?\): the options are"):
        with_overrides(JobOptions(), {"max_retrys": 2})
    with pytest.raises(TypeError, match=r"unknown option 'zzz': the options are"):
        with_overrides(JobOptions(), {"zzz": 2})


# -- Limits -------------------------------------------------------------------------------------------------------


def test_the_default_limits() -> None:
    assert asdict(Limits()) == {
        "payload": 2**20,
        "batch": 10_000,
        "batch_bytes": 64 * 2**20,
        "depth": None,
        "done": 100_000,
    }


@pytest.mark.parametrize("name", ["payload", "batch", "batch_bytes", "depth", "done"])
def test_limits_are_whole_numbers(name: str) -> None:
    assert getattr(Limits(**{name: 1}), name) == 1
    for value, error in ((-1, ValueError), (2**63, ValueError), (1.0, TypeError), (True, TypeError), ("1", TypeError)):
        with pytest.raises(error, match=f"{name} must be "):
            Limits(**{name: value})  # type: ignore[arg-type]
    if name == "done":
        assert Limits(done=0).done == 0
    else:
        with pytest.raises(ValueError, match=f"{name} must be from 1 to"):
            Limits(**{name: 0})
    if name != "depth":
        with pytest.raises(TypeError, match=f"{name} must be an int, not NoneType"):
            Limits(**{name: None})  # type: ignore[arg-type]


# -- times --------------------------------------------------------------------------------------------------------


def test_the_longest_duration_is_accepted() -> None:
    assert seconds(LONGEST, "lease") == LONGEST
    with pytest.raises(ValueError, match=r"lease must be at most .* seconds .100 years., not"):
        seconds(LONGEST + 1, "lease")


@given(st.integers(0, LONGEST * 1_000_000))
def test_a_timedelta_is_exact_to_its_microsecond(micros: int) -> None:
    nanos = duration(timedelta(microseconds=micros), "lease")
    assert abs(nanos - micros * 1_000) < 1_000
    if micros < 2**51 / 1_000:
        assert nanos == micros * 1_000


@given(st.integers(0, 10**12))
def test_seconds_written_with_six_digits_are_exact(micros: int) -> None:
    """2.3 is 2,300,000,000 ns, though 2.3 * 10**9 is a little less."""
    assert duration(micros / 1_000_000, "lease") == micros * 1_000


@given(
    st.datetimes(
        datetime(1970, 1, 2), datetime(2200, 12, 30), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))])
    )
)
def test_an_instant_comes_back_as_it_was(value: datetime) -> None:
    assert moment(instant(value, "run_at")) == value


@given(st.integers(0, 2**62))
def test_a_moment_is_rounded_down_to_its_microsecond(nanos: int) -> None:
    assert instant(moment(nanos), "run_at") == nanos // 1_000 * 1_000
    assert moment(nanos).tzinfo is UTC


def test_zero_is_never() -> None:
    assert moment_or_none(0) is None
    assert moment_or_none(SECOND) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, 5, "2026-01-01", datetime(2026, 1, 1, tzinfo=UTC).date()])
def test_an_instant_must_be_a_datetime(value: Any) -> None:
    with pytest.raises(TypeError, match=f"run_at must be an aware datetime, not {type(value).__name__}"):
        instant(value, "run_at")


def test_an_instant_must_be_aware_and_of_our_time() -> None:
    with pytest.raises(ValueError, match=r"run_at must be an aware datetime, and .* is naive: .*datetime.now\(UTC\)"):
        instant(datetime(2026, 1, 1), "run_at")
    for year in (1969, 2201, 1, 9999):
        with pytest.raises(ValueError, match=f"run_at must lie between the years 1970 and 2200, not in {year}"):
            instant(datetime(year, 6, 1, tzinfo=UTC), "run_at")
    assert instant(datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=5))), "run_at") == 0


# -- options to policies and back ---------------------------------------------------------------------------------

# Up to 11 days, where a float of seconds still tells microseconds apart exactly as nanoseconds.
some_seconds = st.integers(0, 10**6) | st.integers(0, 10**12).map(lambda micros: micros / 10**6)
retentions = st.none() | some_seconds | some_seconds.map(lambda value: timedelta(seconds=value))


@st.composite
def options(draw: st.DrawFn) -> JobOptions:
    low, high = sorted([draw(some_seconds), draw(some_seconds)])
    return JobOptions(
        lease=draw(some_seconds.filter(bool)),
        max_retries=draw(st.none() | st.integers(0, 2**31 - 1)),
        min_backoff=low,
        max_backoff=high,
        jitter=draw(st.floats(0, 1)),
        keep_done=draw(retentions),
        keep_canceled=draw(retentions),
        keep_dead=draw(retentions),
    )


@example(JobOptions(lease=2.3, min_backoff=0.000129, max_backoff=1.1, keep_done=timedelta(seconds=4.35)))
@given(options())
def test_options_come_back_from_their_policy(given_options: JobOptions) -> None:
    assert options_of(policy_of(given_options)) == given_options


@given(options())
def test_a_policy_is_whole_nanoseconds(given_options: JobOptions) -> None:
    policy = policy_of(given_options)
    for name in DURATIONS:
        value = getattr(policy, name)
        assert value is None or type(value) is int


def test_a_policy_of_single_nanoseconds_comes_back() -> None:
    odd = Policy(1, 3, 290_000_001, 2_300_000_007, 0.25, 999_999_999, 3, None)
    assert policy_of(options_of(odd)) == odd


def test_the_longest_options_come_back() -> None:
    longest = JobOptions(
        lease=LONGEST, max_backoff=LONGEST, keep_done=LONGEST, keep_canceled=LONGEST, keep_dead=LONGEST
    )
    assert options_of(policy_of(longest)) == longest
