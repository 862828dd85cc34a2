"""How a worker was told to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from jobq import inputs
from jobq.model.times import duration
from jobq.worker import checks
from jobq.worker.executors import Kind

MOST_SLOTS = 10_000


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings of a Worker, checked. lease, grace: nanoseconds."""

    topics: tuple[str, ...]
    concurrency: int
    executor: Kind
    lease: int
    grace: int
    max_jobs: int | None

    def __post_init__(self) -> None:
        checks.executor(self.executor, self.max_jobs)

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """The settings by their arguments of Worker, all of them. Raises TypeError and ValueError."""
        return cls(**_read(settings))

    def changed(self, settings: Mapping[str, Any]) -> Self:
        """The same with some of them changed. Raises TypeError and ValueError.

        max_jobs goes with the child processes, where there are none any more.
        """
        if settings.get("executor") == "thread":
            settings = {"max_jobs": None, **settings}
        return replace(self, **_read(settings))


def _read(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: READERS[name](value) if name in READERS else value for name, value in settings.items()}


READERS: Mapping[str, Callable[[Any], Any]] = {
    "topics": inputs.topics,
    "concurrency": partial(inputs.whole, what="concurrency", least=1, most=MOST_SLOTS),
    "lease": checks.lease,
    "grace": partial(duration, what="grace"),
}
"""What checks an argument, and turns it into what is kept."""
