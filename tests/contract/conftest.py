"""Fixtures of the contract."""

from __future__ import annotations

import pytest

from jobq import JobService
from tests.contract.scenes import STATES, put


@pytest.fixture
def full(svc: JobService) -> JobService:
    """A service with a job in each state, that bad input may not change."""
    for state in STATES:
        put(svc, state)
    return svc
