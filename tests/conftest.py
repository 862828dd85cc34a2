"""Fixtures: a clock that stands still, and a service over each storage."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from jobq import JobService
from jobq.repos import MemoryStorage, Storage
from tests.clocks import ManualClock

settings.register_profile("quick", max_examples=25, stateful_step_count=30, deadline=None, derandomize=True)
settings.register_profile(
    "deep",
    max_examples=2_000,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("JOBQ_HYPOTHESIS", "quick"))


def pytest_configure(config: pytest.Config) -> None:
    """Where Python is told to keep no bytecode, have the processes of tests keep it for each other until the end.

    There are hundreds, and each would compile the library anew.
    """
    if sys.dont_write_bytecode:
        cache = TemporaryDirectory(ignore_cleanup_errors=True)
        config.add_cleanup(cache.cleanup)
        os.environ["PYTHONPYCACHEPREFIX"] = cache.name
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


OpenStorage = Callable[[], Storage]
OpenService = Callable[..., JobService]


@pytest.fixture
def pytester(pytester: pytest.Pytester) -> pytest.Pytester:
    """Without the plugin of hypothesis, whose import takes longer than the rest of a run."""
    pytester.plugins.append("no:hypothesispytest")
    return pytester


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "lmdb", "volatile"])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[OpenStorage]:
    """Open the storage under test: in memory, on LMDB, and on LMDB with places in memory.

    Each call opens the same jobs again, as long as one is open or they are durable."""
    opened: list[Storage] = []

    def open_one() -> Storage:
        storage: Storage
        if request.param == "memory":
            storage = MemoryStorage(f"test-{tmp_path.name}", clock=clock)
        else:
            from jobq.repos.lmdb import LmdbStorage

            storage = LmdbStorage(
                tmp_path / "jobs", sync="off", topics="memory" if request.param == "volatile" else None, clock=clock
            )
        opened.append(storage)
        return storage

    yield open_one
    for storage in opened:
        storage.close()


@pytest.fixture
def open_service(open_storage: OpenStorage) -> OpenService:
    """Open a JobService over the storage under test, with the arguments of JobService."""

    def open_one(**arguments: Any) -> JobService:
        return JobService(open_storage(), **arguments)

    return open_one


@pytest.fixture
def svc(open_service: OpenService) -> JobService:
    """A JobService over the storage under test, with the default options."""
    return open_service()
