"""The clock that tests set, and how long they wait for others."""

from __future__ import annotations

from jobq.testing import ManualClock

__all__ = ["PATIENCE", "ManualClock"]

PATIENCE = 30
"""Real seconds after which a test that waits for another thread or process has failed."""
