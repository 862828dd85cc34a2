"""Fixtures of the worker's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import jobq
from jobq import JobService
from tests.conftest import OpenStorage
from tests.worker.scenes import Recorder, Watched


@pytest.fixture
def watched(open_storage: OpenStorage) -> Watched:
    """The storage under test, watched."""
    return Watched(open_storage())


@pytest.fixture
def queue(watched: Watched) -> JobService:
    """A JobService over the watched storage."""
    return JobService(watched)


@pytest.fixture
def svc_on() -> Iterator[JobService]:
    """A JobService in memory with the real clock, for child processes."""
    with jobq.open("memory://") as svc:
        yield svc


@pytest.fixture
def seen() -> Recorder:
    """An observer that notes every moment."""
    return Recorder()
