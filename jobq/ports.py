"""What the core asks of a storage.

A storage holds jobs and topics that commit together. Its `transact` runs a body, a function of a unit of work alone:
the body reads, then writes; it never reads what it wrote; it changes nothing outside itself; it may run twice. Writes
are buffered and applied when the body returns, so that a body that raises leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

from jobq.model.records import (
    Entry,
    Hold,
    Log,
    LostPolicy,
    Now,
    Place,
    Policy,
    Quarantined,
    Rank,
    Record,
    Tally,
    TopicState,
)
from jobq.model.requests import Request
from jobq.model.status import Ordering
from jobq.model.views import Compaction, StorageInfo

if TYPE_CHECKING:
    from pathlib import Path

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
        """Take n consecutive ids, never given before, and return the first; they are taken if nothing else is done."""
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
        """The n records with the lowest ids above `after`, those left out that cannot be read."""
        ...

    def ids(self, after: int, n: int) -> list[int]:
        """The n lowest ids above `after` that have a record, whether it can be read or not."""
        ...

    def logs(self, job_id: int) -> Log:
        """The log of an existing job."""
        ...

    def add(self, records: Sequence[Record], payloads: Sequence[bytes]) -> None:
        """Keep new jobs, ascending by their ids, which come from `allocate`, be it that of an earlier unit of work."""
        ...

    def put(self, changes: Sequence[Change]) -> None:
        """Keep changed jobs; the unique key goes with `lifecycle.held_key` of the record before and after."""
        ...

    def put_payload(self, job_id: int, payload: bytes) -> None:
        """Give a job another payload."""
        ...

    def log(self, entries: Sequence[Entry]) -> None:
        """Add lines to the logs of jobs that stay, in this order; of each job the newest LOG_LINES are kept."""
        ...

    def put_log(self, job_id: int, log: Log) -> None:
        """Give a job, which may be a new one, this log in place of what it has; not beside `log` in a unit of work."""
        ...

    def delete(self, records: Sequence[Record]) -> None:
        """Forget jobs, given as they are stored, with payload, log and unique key."""
        ...

    def discard(self, ids: Sequence[int]) -> None:
        """Forget finished jobs, which hold no unique key, with payload and log; or records in the quarantine."""
        ...

    # What `verify` asks for. A storage that cannot hold what is asked for has an easy answer: nothing.

    def holds(self, after: Hold | None, n: int) -> list[Hold]:
        """The n first unique keys that are held behind `after`, which need not exist, in the storage's own order."""
        ...

    def token(self, key: tuple[str, str]) -> Hashable:
        """What `holds` calls this (topic, unique key)."""
        ...

    def hold(self, key: tuple[str, str], job_id: int) -> None:
        """Let a job hold a (topic, unique key), whoever did; this comes after what `put` and `delete` give up."""
        ...

    def unhold(self, tokens: Sequence[Hashable]) -> None:
        """Let nobody hold these unique keys."""
        ...

    def problem(self, job_id: int) -> str:
        """Why the record that `ids` gives for a job cannot be read; "" if it can."""
        ...

    def quarantined(self, after: int, n: int) -> list[Quarantined]:
        """The n records with the lowest ids above `after` that `get` or `page` set aside in a `transact`."""
        ...

    def restore(self, ids: Sequence[int]) -> None:
        """Make jobs of records in the quarantine, with the payloads and logs they had; their places are not taken."""
        ...

    def lost_policies(self, known: Sequence[Policy]) -> list[LostPolicy]:
        """The policies that cannot be read, where a storage keeps them apart from the records that share them.

        known: what a lost policy may have been. What takes its place is the same one if it can be told, else the first.
        """
        ...

    def mend_policies(self, lost: Sequence[LostPolicy]) -> None:
        """Put the policies in their places."""
        ...


class TopicRepository(Protocol):
    """Where each job waits."""

    def names(self) -> list[str]:
        """The topics in use, sorted."""
        ...

    def state(self, topic: str) -> TopicState | None:
        """The topic's counters; None if there is no such topic. Raises StorageCorrupt if they cannot be read."""
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

    # What `verify` asks for.

    def used(self) -> list[str]:
        """The topics that have a place, sorted, whether they have counters or not."""
        ...

    def taken(self, places: Sequence[Place]) -> list[bool]:
        """Whether each of these places is there."""
        ...

    def count(self, topic: str, ordering: Ordering) -> int:
        """How many places an ordering of a topic has, counted one by one."""
        ...

    def put_state(self, topic: str, state: TopicState) -> None:
        """Replace the topic's counters, which may be unreadable; a topic that `is_gone` with these is forgotten."""
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


class NotPlain(Exception):
    """What an Express was asked for is not plain, and is to be done by `transact`."""


Taken = tuple[Record, bytes, Now]
"""A job that was reserved, its payload, and when."""


class Express(Protocol):
    """One job a call, straight: what a storage may offer beside `transact`, by the same rules.

    Each verb raises NotPlain, having changed nothing, where more is asked for than one job's record and place.
    """

    def add(self, request: Request) -> int:
        """Enqueue a job that has no unique key and wants no log, and return its id."""
        ...

    def take(
        self, topics: Sequence[str], lease: int | None, most: int, when_committed: Callable[[Taken], object]
    ) -> None:
        """Reserve the first Ready job of these topics, for `lease` nanoseconds (None: its own).

        Not where a lease, a delay or a retention of the topics is over, or one has more than `most` Done jobs.
        """
        ...

    def settle(self, record: Record, change: Callable[[Record, Now], Record], is_retry: bool, most: int) -> None:
        """Change a job, given as it was reserved, if that reservation stands, it has no unique key, and is kept.

        is_retry: whether that counts as a retry if the job lives on. most: see `take`, with this job counted.
        """
        ...


class Watch(Protocol):
    """A listener for what is committed."""

    def wait(self, timeout: float) -> object:
        """Return once there may be what it listens for, at the latest after `timeout` seconds.

        Also, within about a second, when the wall clock was set, by which delays are.
        """
        ...

    def wake(self) -> None:
        """End the wait that runs, or else the next one; any thread may call this, and a signal handler."""
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

    @property
    def clock(self) -> Clock:
        """The clock of this machine by which its watches wait."""
        ...

    def transact(self, body: Callable[[UnitOfWork], T], *, when_committed: Callable[[T], object] | None = None) -> T:
        """Run a body and apply what it wrote, all or nothing; it may run again.

        when_committed: called with what the body returned once that is committed, also where Ctrl-C then keeps it
        from being returned.
        """
        ...

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        """Run a body that only reads, on a consistent snapshot; it holds up no writer."""
        ...

    def watch(self, topics: Sequence[str], *, finished: bool = False) -> AbstractContextManager[Watch]:
        """Listen for jobs to reserve, or for jobs that finish or go; begun before a look that may find nothing."""
        ...

    def info(self) -> StorageInfo:
        """What this storage is, and how much is in it; it takes no longer the more there is."""
        ...

    def backup(self, path: Path) -> None:
        """Copy all that is here, as it is at one moment, to an absolute path where nothing or an empty directory is.

        Other work goes on meanwhile. A storage that has no such copy to make raises ConfigError and says what to do
        instead.
        """
        ...

    def compact(self) -> Compaction:
        """Give the room of deleted jobs back to the disk, and change nothing else.

        It may ask for the storage to be open by nobody else. A storage that has no file to make smaller raises
        ConfigError and says why, or what to do instead.
        """
        ...

    def close(self) -> None:
        """Let go of the storage and wake its watches; a second time does nothing."""
        ...
