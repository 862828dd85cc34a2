"""What tests of bad input share: bad values, what messages say, and the assertion itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from jobq import JobService
from tests.contract.scenes import unchanged

NAN, INFINITY = float("nan"), float("inf")
NAIVE = datetime(2026, 1, 1)
ALLOWED_TOPIC = r"1 to 128 of A-Z a-z 0-9 \. _ : - , beginning with a letter or digit"
DURATION = r"must be seconds \(int, float\) or a timedelta, not "
HUNDRED_YEARS = r"must be at most 3162240000 seconds \(100 years\), not "
AWARE = r"must be an aware datetime, and datetime\.datetime\(.*\) is naive: give it a tzinfo, such as datetime\.now"
YEARS = "must lie between the years 1970 and 2200, not in "

Case = tuple[Any, type[Exception], str]


def refused(svc: JobService, error: type[Exception], message: str, *calls: Callable[[], object]) -> None:
    """Each call raises this very error, with this message, and changes nothing."""
    with unchanged(svc):
        for call in calls:
            with pytest.raises(error, match=message) as e:
                call()
            assert type(e.value) is error
