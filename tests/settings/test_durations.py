"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.settings import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5s", 1.5),
        ("500ms", 0.5),
        ("10m", 600),
        ("2h", 7200),
        ("7d", 604_800),
        ("1h30m", 5400),
        (" 2H ", 7200),
        ("0", 0),
        (".5", 0.5),
    ],
)
def test_what_a_duration_means(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 s x", "1e3", "5x", "s", "inf", "nan", "٣s", "1h 30m", "1..5"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write seconds"):
        parse_duration(text)


@given(st.integers(0, 10**6))
def test_whole_seconds_stay_what_they_are(seconds: int) -> None:
    assert parse_duration(f"{seconds}s") == seconds == parse_duration(str(seconds))
