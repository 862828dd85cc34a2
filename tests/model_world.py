"""The storages that test_model runs against, and how their answers are compared with the model's."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import fields
from itertools import count, cycle
from pathlib import Path
from typing import Any, NamedTuple

from jobq import Exchange, Job, JobInfo, JobLog, JobqError, JobService, TopicStats
from jobq.repos import LmdbStorage, MemoryStorage, Storage
from jobq.testing.invariants import dump
from tests.clocks import ManualClock
from tests.model_values import ModelHandle

NUMBERS = count(1)
SEEN_OF_A_HANDLE = (
    *("id", "topic", "priority", "name", "unique_key", "payload", "attempt"),
    *("run_at", "reserved_at", "retries_left", "deadline", "options", "settled", "headers"),
)

# -- the storages ----------------------------------------------------------------------------------------------------


class MemoryHome:
    """A storage in memory that an anchor keeps alive while the service is reopened."""

    def __init__(self, clock: ManualClock) -> None:
        self._name, self._clock = f"model-{next(NUMBERS)}", clock
        self._anchor = self.open()

    def open(self) -> Storage:
        return MemoryStorage(self._name, clock=self._clock)

    def close(self) -> None:
        self._anchor.close()


class LmdbHome:
    """A directory, truly closed before it is reopened, with its places in the first of `topics`, then the next, …"""

    def __init__(self, clock: ManualClock, *topics: str) -> None:
        self._path, self._clock = Path(tempfile.mkdtemp(prefix="jobq-model-")), clock
        self._topics = cycle(topics)

    def open(self) -> Storage:
        return LmdbStorage(self._path / "jobs", sync="off", topics=next(self._topics), clock=self._clock)

    def reboot(self) -> None:
        """Make it a directory that was closed before the machine was booted."""
        path = self._path / "jobs" / "jobq.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"boot_id": "an earlier boot"}))

    def dump_of_backup(self, service: JobService) -> dict[str, Any]:
        """All that a backup holds, opened as the queue that it is."""
        with tempfile.TemporaryDirectory(prefix="jobq-model-") as folder:
            service.backup(Path(folder) / "copy")
            storage = LmdbStorage(Path(folder) / "copy", clock=self._clock)
            try:
                return dump(storage)
            finally:
                storage.close()

    def close(self) -> None:
        shutil.rmtree(self._path)


class Held(NamedTuple):
    """One reservation: the model's handle and those of the services."""

    model: ModelHandle
    jobs: list[Job]

    def of(self, target: int) -> Any:
        return self.jobs[target] if target >= 0 else self.model


# -- comparing -------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A result as values that can be compared between the model and a service."""
    if isinstance(value, JobInfo | TopicStats):
        return {one.name: getattr(value, one.name) for one in fields(value) if not one.name.startswith("_")}
    if isinstance(value, JobLog):
        return {"lines": [(line.at, line.message) for line in value], "dropped": value.dropped}
    if isinstance(value, Job | ModelHandle):
        return {name: getattr(value, name) for name in SEEN_OF_A_HANDLE}
    if isinstance(value, Exchange):
        return plain(value.jobs), value.ids, plain(value.lost)
    return list(map(plain, value)) if isinstance(value, list) else value


def said(error: JobqError | TimeoutError) -> Any:
    """What a program can tell from an error, its message aside."""
    return type(error), {name: plain(value) for name, value in vars(error).items()}


def attempt(call: Callable[[], Any]) -> tuple[Any, Any]:
    """What a call returned, and what can be told of the error that it raised."""
    try:
        return call(), None
    except (JobqError, TimeoutError) as error:
        return None, said(error)
