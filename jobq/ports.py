"""What the core asks of a storage.

A storage holds jobs and topics that commit together. Its `transact` runs a body, a function of a unit of work alone:
the body reads, then writes; it never reads what it wrote; it changes nothing outside itself; it may run twice. Writes
are buffered and applied when the body returns, so that a body that raises leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from jobq.model.records import Now, Place, Rank, Record, Tally, TopicState
from jobq.model.status import Ordering

T = TypeVar("T")

Change = tuple[Record, Record]
"""A job before and after."""
Move = tuple[Place | None, Place | None]
"""A place given up and a place taken; None where the job is new, or goes."""


class Signal(Protocol):
    """A flag that one thread waits for and others set, as threading.Event is."""

    def set(self) -> None:
        """Set it."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set (True) or the timeout is over (False)."""
        ...


class Clock(Protocol):
    """Two readings of time, and a way to wait by the second of them."""

    def wall(self) -> int:
        """Nanoseconds since 1970."""
        ...

    def steady(self) -> int:
        """Nanoseconds of a clock that only goes forward, and is the same for all processes of the machine."""
        ...

    def wait(self, event: Signal, timeout: float) -> bool:
        """Wait until the event is set (True) or `timeout` seconds of steady time have passed (False)."""
        ...


class JobRepository(Protocol):
    """What each job is."""

    def allocate(self, n: int) -> int:
        """Take n consecutive ids, never given before, and return the first."""
        ...

    def get(self, ids: Sequence[int]) -> list[Record | None]:
        """The records, in the order of the ids; None where there is none."""
        ...

    def payloads(self, ids: Sequence[int]) -> list[bytes]:
        """The payloads of existing jobs, in the order of the ids."""
        ...

    def by_key(self, keys: Sequence[tuple[str, str]]) -> list[int | None]:
        """The ids of the jobs that hold these (topic, unique key) pairs."""
        ...

    def page(self, after: int, n: int) -> list[Record]:
        """The n records with the lowest ids above `after`."""
        ...

    def add(self, records: Sequence[Record], payloads: Sequence[bytes]) -> None:
        """Keep new jobs; their ids come from `allocate`, ascending."""
        ...

    def put(self, changes: Sequence[Change]) -> None:
        """Keep changed jobs; the unique key goes with `lifecycle.held_key` of the record before and after."""
        ...

    def put_payload(self, job_id: int, payload: bytes) -> None:
        """Give a job another payload."""
        ...

    def delete(self, records: Sequence[Record]) -> None:
        """Forget jobs, given as they are stored, with payload and unique key."""
        ...

    def discard(self, ids: Sequence[int]) -> None:
        """Forget finished jobs, which hold no unique key."""
        ...


class TopicRepository(Protocol):
    """Where each job waits."""

    def names(self) -> list[str]:
        """The topics in use, sorted."""
        ...

    def state(self, topic: str) -> TopicState | None:
        """The topic's counters; None if there is no such topic."""
        ...

    def head(self, topic: str, n: int) -> list[Place]:
        """The n first Ready places."""
        ...

    def due(self, topic: str, ordering: Ordering, until: Rank, n: int) -> list[Place]:
        """The n first places of an ordering whose (major, minor) is at most `until`."""
        ...

    def page(self, topic: str, ordering: Ordering, after: Place | None, n: int) -> list[Place]:
        """The n first places of an ordering behind `after`, which need not exist."""
        ...

    def oldest_ready(self, topic: str) -> int | None:
        """The earliest run_at of the topic's Ready jobs."""
        ...

    def move(self, moves: Sequence[Move]) -> None:
        """Give up places and take others."""
        ...

    def tally(self, topic: str, tally: Tally) -> None:
        """Add to the topic's counters; a topic that `is_gone` after that is forgotten."""
        ...

    def pause(self, topic: str, paused: bool) -> None:
        """Set whether the topic is paused; a topic that `is_gone` after that is forgotten."""
        ...


class UnitOfWork(Protocol):
    """What a body gets: the time, and both repositories of one transaction."""

    @property
    def now(self) -> Now:
        """The time of the transaction, by the server's clock where there is a server."""
        ...

    @property
    def jobs(self) -> JobRepository:
        """What each job is."""
        ...

    @property
    def topics(self) -> TopicRepository:
        """Where each job waits."""
        ...


class Watch(Protocol):
    """A listener for jobs to reserve."""

    def wait(self, timeout: float) -> object:
        """Return once there may be something to reserve, at the latest after `timeout` seconds."""
        ...


class Storage(Protocol):
    """A JobRepository and a TopicRepository that commit together."""

    @property
    def url(self) -> str:
        """Where the jobs are, without a password."""
        ...

    @property
    def identity(self) -> object:
        """What is equal for storages that share their jobs, and for no others."""
        ...

    def transact(self, body: Callable[[UnitOfWork], T]) -> T:
        """Run a body and apply what it wrote, all or nothing; it may run again."""
        ...

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        """Run a body that only reads, on a consistent snapshot; it holds up no writer."""
        ...

    def watch(self, topics: Sequence[str]) -> AbstractContextManager[Watch]:
        """Listen for jobs to reserve; begun before a reserve that may find nothing."""
        ...

    def close(self) -> None:
        """Let go of the storage and wake its watches; a second time does nothing."""
        ...
