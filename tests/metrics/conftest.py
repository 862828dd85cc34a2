"""Fixtures that the tests of metrics share with those of the worker."""

from __future__ import annotations

from tests.worker.conftest import queue, svc_on, watched

__all__ = ["queue", "svc_on", "watched"]
