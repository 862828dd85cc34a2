"""One job a call, straight to its keys: the Express of this storage.

What a call that is about one job alone changes is one record and one place. So it is written here without the lists of
a unit of work: less code for the processor to come through, which is what a short transaction takes its time for (a
lifecycle of three calls takes three quarters of the time). What is read or written of topics and places is the same as
there, and so are rules, codec and grouping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import lmdb

from jobq import codec, lifecycle
from jobq.errors import StorageCorrupt
from jobq.model.records import Now, Place, Record, Tally
from jobq.model.requests import Request
from jobq.model.status import IN_READY
from jobq.ports import NotPlain, Taken
from jobq.repos.lmdb import dirty
from jobq.repos.lmdb.environment import Environment
from jobq.repos.lmdb.jobs import NEXT_ID, PER_JOB, in_pages, next_id
from jobq.repos.lmdb.places import LmdbPlaces
from jobq.repos.lmdb.room import Room
from jobq.repos.lmdb.topics import LmdbTopics
from jobq.repos.plainness import check_finished, check_waiting

_NEW = tuple.__new__


class Desk:
    """Where one job's change is worked out and written, in one write transaction."""

    __slots__ = ("_environment", "now", "topics", "txn")

    def __init__(self, environment: Environment, txn: lmdb.Transaction[bytes]) -> None:
        dbs, known, clock = environment.dbs, environment.known, environment.clock
        if dirty.is_marked(txn, dbs):
            raise NotPlain
        self._environment = environment
        self.txn = txn
        self.now: Now = _NEW(Now, (clock.wall(), clock.steady(), environment.properties.generation))
        places = LmdbPlaces(txn, dbs, known) if environment.places is None else environment.places
        self.topics = LmdbTopics(txn, dbs, environment.states, places, known)

    def record(self, job_id: int) -> Record:
        """A job that is there, and wants no log."""
        txn, policies = self.txn, self._environment.policies
        data = txn.get(codec.id_key(job_id), None, self._environment.dbs.jobs)
        if data is None:
            raise NotPlain
        try:
            job = codec.decode_record(job_id, data, lambda number: policies.get(txn, number))
        except StorageCorrupt:
            raise NotPlain from None
        if job.policy.log_status_change:
            raise NotPlain
        return job

    def write(self, old: Record | None, new: Record, tally: Tally) -> None:
        """Write a record, its place, and its topic's counters."""
        environment, txn = self._environment, self.txn
        data = codec.encode_record(new, environment.policies.number(txn, new.policy))
        # A new id is above all others, so LMDB need not search for its page.
        txn.put(codec.id_key(new.id), data, True, True, old is None, environment.dbs.jobs)
        after = lifecycle.place_of(new)
        tally.now[after[1]] += 1
        before: Place | None = None
        if old is not None:
            before = lifecycle.place_of(old)
            tally.now[before[1]] -= 1
        self.topics.move([(before, after)])
        self.topics.tally(new.topic, tally)
        self.topics.apply()


class Adding:
    """Enqueues a job that has no unique key. See grouping.Work."""

    __slots__ = ("_desk", "_environment", "_record", "_request", "_room", "result")

    def __init__(self, environment: Environment, room: Room, request: Request) -> None:
        self._environment = environment
        self._room = room
        self._request = request

    def prepare(self, txn: lmdb.Transaction[bytes], ahead: int) -> int:
        """See Work."""
        desk = self._desk = Desk(self._environment, txn)
        size = in_pages(len(self._request.payload)) + PER_JOB
        self._room.check(txn, ahead + size)
        known = self._environment.known.next_id
        self.result = next_id(txn, self._environment.dbs) if known is None else known
        self._record = lifecycle.enqueue(self.result, self._request, desk.now)
        return size

    def apply(self) -> int:
        """See Work."""
        desk, record, environment = self._desk, self._record, self._environment
        following, dbs = record.id + 1, environment.dbs
        if payload := self._request.payload:
            desk.txn.put(codec.id_key(record.id), payload, True, True, True, dbs.payloads)
        desk.txn.put(NEXT_ID, codec.id_key(following), True, True, False, dbs.meta)
        environment.known.next_id = following
        tally = Tally()
        lifecycle.count_enqueued(tally, desk.now)
        desk.write(None, record, tally)
        return 1

    def announce(self) -> None:
        """See Work."""
        self._environment.wakes.announce(self._desk.topics.moves, self._desk.topics.states, self._desk.now)


class Reserving:
    """Reserves the first Ready job of some topics, where nothing of theirs is overdue. See grouping.Work."""

    __slots__ = ("_desk", "_environment", "_job", "_lease", "_most", "_topics", "result")

    def __init__(self, environment: Environment, topics: Sequence[str], lease: int | None, most: int) -> None:
        self._environment = environment
        self._topics = topics
        self._lease = lease
        self._most = most

    def prepare(self, txn: lmdb.Transaction[bytes], ahead: int) -> int:
        """See Work."""
        desk = self._desk = Desk(self._environment, txn)
        chosen = None
        for topic in self._topics:
            state = desk.topics.state(topic)
            if state is not None:
                check_finished(desk.topics, topic, state, desk.now, self._most)
                if chosen is None and not state.paused:
                    check_waiting(desk.topics, topic, state, desk.now)
                    chosen = topic if state.now[IN_READY] else None
        places = [] if chosen is None else desk.topics.head(chosen, 1)
        if not places:
            raise NotPlain
        job = self._job = desk.record(places[0].id)
        held = lifecycle.reserve(job, desk.now, self._lease)
        self.result: Taken = (held, txn.get(codec.id_key(job.id), b"", self._environment.dbs.payloads), desk.now)
        return 0

    def apply(self) -> int:
        """See Work."""
        tally = Tally()
        lifecycle.count_reserved(tally, self._job, self._desk.now)
        self._desk.write(self._job, self.result[0], tally)
        return 1

    def announce(self) -> None:
        """See Work."""
        self._environment.wakes.announce(self._desk.topics.moves, self._desk.topics.states, self._desk.now)


class Settling:
    """Changes a job whose reservation stands, and which is kept. See grouping.Work."""

    __slots__ = ("_after", "_before", "_change", "_desk", "_environment", "_is_retry", "_most", "_record",
                 "_room")  # fmt: skip

    def __init__(
        self,
        environment: Environment,
        room: Room,
        record: Record,
        change: Callable[[Record, Now], Record],
        is_retry: bool,
        most: int,
    ) -> None:
        self._environment = environment
        self._room = room
        self._record = record
        self._change = change
        self._is_retry = is_retry
        self._most = most

    def prepare(self, txn: lmdb.Transaction[bytes], ahead: int) -> int:
        """See Work."""
        desk = self._desk = Desk(self._environment, txn)
        before = self._before = desk.record(self._record.id)
        if not lifecycle.is_held(before, self._record.attempt):
            raise NotPlain
        after = self._after = self._change(before, desk.now)
        state = desk.topics.state(before.topic)
        if state is None or not lifecycle.is_kept(after):
            raise NotPlain
        check_finished(desk.topics, before.topic, state, desk.now, self._most - 1)
        size = len(after.result) + len(after.last_error) + len(after.note)
        if size and self._room.shortage(txn, ahead + in_pages(size)):
            raise NotPlain
        return in_pages(size)

    def apply(self) -> int:
        """See Work."""
        tally = Tally()
        lifecycle.count_settled(tally, self._before, self._after, self._is_retry)
        self._desk.write(self._before, self._after, tally)
        return 1

    def announce(self) -> None:
        """See Work."""
        self._environment.wakes.announce(self._desk.topics.moves, self._desk.topics.states, self._desk.now)
