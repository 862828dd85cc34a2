"""One job a call, straight to its keys: the Express of this storage.

What a call that is about one job alone changes is one record and one place. So it is written here without the lists of
a unit of work: less code for the processor to come through, which is what a short transaction takes its time for (a
lifecycle of three calls takes half the time). What is read or written of topics and places is the same as there, and so
are rules, codec and grouping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import lmdb

from jobq import codec, lifecycle
from jobq.errors import StorageCorrupt
from jobq.model.records import Now, Place, Record, Tally, TopicState
from jobq.model.requests import Request
from jobq.model.status import IN_READY
from jobq.ports import NotPlain, Taken
from jobq.repos.lmdb import dirty
from jobq.repos.lmdb.environment import Environment
from jobq.repos.lmdb.jobs import NEXT_ID, PER_JOB, in_pages, next_id
from jobq.repos.lmdb.places import LmdbPlaces, Places
from jobq.repos.lmdb.room import Room
from jobq.repos.lmdb.topics import read_state, write_state
from jobq.repos.plainness import check_finished, check_waiting

_NEW = tuple.__new__


class OneChange:
    """The change of one job in a write transaction: worked out by `decide`, then written. See grouping.Work.

    decide: notes with `enqueue` or `change` what is to be written, and returns the bytes that it adds, about; given
    those that the transaction adds already. Raises NotPlain.
    """

    __slots__ = ("_after", "_before", "_decide", "_environment", "_new", "_payload", "_state", "now", "places", "txn")

    txn: lmdb.Transaction[bytes]
    now: Now
    places: Places

    def __init__(self, environment: Environment, decide: Callable[[OneChange, int], int]) -> None:
        self._environment = environment
        self._decide = decide
        self._before: Place | None = None
        self._payload: bytes | None = None

    def prepare(self, txn: lmdb.Transaction[bytes], ahead: int) -> int:
        """See Work."""
        environment = self._environment
        dbs, known, clock = environment.dbs, environment.known, environment.clock
        if known.is_marked is None:
            known.is_marked = dirty.is_marked(txn, dbs)
        if known.is_marked:
            raise NotPlain
        self.txn = txn
        self.now = _NEW(Now, (clock.wall(), clock.steady(), environment.properties.generation))
        self.places = LmdbPlaces(txn, dbs, known) if environment.places is None else environment.places
        return self._decide(self, ahead)

    def state(self, topic: str) -> TopicState | None:
        """The counters of a topic."""
        environment = self._environment
        return read_state(self.txn, environment.dbs, environment.states, environment.known, topic)

    def record(self, job_id: int) -> Record:
        """A job that is there, and wants no log."""
        environment = self._environment
        data = self.txn.get(codec.id_key(job_id), None, environment.dbs.jobs)
        if data is None:
            raise NotPlain
        try:
            job = codec.decode_record(job_id, data, environment.policies.read)
        except StorageCorrupt:
            raise NotPlain from None
        if job.policy.log_status_change:
            raise NotPlain
        return job

    def payload(self, job_id: int) -> bytes:
        """The payload of a job."""
        return self.txn.get(codec.id_key(job_id), b"", self._environment.dbs.payloads)

    def next_id(self) -> int:
        """The first id that was not given yet."""
        known = self._environment.known.next_id
        return next_id(self.txn, self._environment.dbs) if known is None else known

    def enqueue(self, new: Record, payload: bytes, tally: Tally) -> None:
        """Note a new job, and what it adds to the counters of its topic."""
        after = lifecycle.place_of(new)
        tally.now[after[1]] += 1
        self._payload = payload
        self._note(new, after, self.state(new.topic), tally)

    def change(self, old: Record, new: Record, tally: Tally) -> None:
        """Note what becomes of a job that stays, and what that adds to the counters of its topic."""
        before, after = lifecycle.place_of(old), lifecycle.place_of(new)
        tally.now[before[1]] -= 1
        tally.now[after[1]] += 1
        self._before = before
        self._note(new, after, self.state(new.topic), tally)

    def _note(self, new: Record, after: Place, state: TopicState | None, tally: Tally) -> None:
        self._new = new
        self._after = after
        self._state = (state or TopicState()).plus(tally)

    def apply(self) -> int:
        """See Work."""
        environment, txn, new, payload = self._environment, self.txn, self._new, self._payload
        dbs, known = environment.dbs, environment.known
        key = codec.id_key(new.id)
        is_new = payload is not None
        data = codec.encode_record(new, environment.policies.number(txn, new.policy))
        # A new id is above all others, so LMDB need not search for its page.
        txn.put(key, data, True, True, is_new, dbs.jobs)
        if is_new:
            if payload:
                txn.put(key, payload, True, True, True, dbs.payloads)
            txn.put(NEXT_ID, codec.id_key(new.id + 1), True, True, False, dbs.meta)
            known.next_id = new.id + 1
        self.places.move(((self._before, self._after),))
        write_state(txn, dbs, environment.states, known, new.topic, self._state)
        return 1

    def announce(self) -> None:
        """See Work."""
        wakes = self._environment.wakes
        if not wakes.is_quiet():
            wakes.announce(((self._before, self._after),), {self._new.topic: self._state}, self.now)


class Adding:
    """Enqueues a job that has no unique key."""

    __slots__ = ("_request", "_room", "result")

    def __init__(self, room: Room, request: Request) -> None:
        self._room = room
        self._request = request

    def __call__(self, one: OneChange, ahead: int) -> int:
        """See OneChange."""
        request = self._request
        size = in_pages(len(request.payload)) + PER_JOB
        if request.headers:
            size += in_pages(len(request.headers))
        self._room.check(one.txn, ahead + size)
        self.result = one.next_id()
        tally = Tally()
        lifecycle.count_enqueued(tally, one.now)
        one.enqueue(lifecycle.enqueue(self.result, request, one.now), request.payload, tally)
        return size


class Reserving:
    """Reserves the first Ready job of some topics, where nothing of theirs is overdue."""

    __slots__ = ("_lease", "_most", "_topics", "result")

    def __init__(self, topics: Sequence[str], lease: int | None, most: int) -> None:
        self._topics = topics
        self._lease = lease
        self._most = most

    def __call__(self, one: OneChange, ahead: int) -> int:
        """See OneChange."""
        now, places = one.now, one.places
        chosen = None
        for topic in self._topics:
            state = one.state(topic)
            if state is not None:
                check_finished(places, topic, state, now, self._most)
                if chosen is None and not state.paused:
                    check_waiting(places, topic, state, now)
                    chosen = topic if state.now[IN_READY] else None
        first = None if chosen is None else places.first(chosen, IN_READY)
        if first is None:
            raise NotPlain
        job = one.record(first.id)
        held = lifecycle.reserve(job, now, self._lease)
        self.result: Taken = (held, one.payload(job.id), now)
        tally = Tally()
        lifecycle.count_reserved(tally, job, now)
        one.change(job, held, tally)
        return 0


class Settling:
    """Changes a job whose reservation stands, and which is kept."""

    __slots__ = ("_change", "_is_retry", "_most", "_record", "_room")

    def __init__(
        self, room: Room, record: Record, change: Callable[[Record, Now], Record], is_retry: bool, most: int
    ) -> None:
        self._room = room
        self._record = record
        self._change = change
        self._is_retry = is_retry
        self._most = most

    def __call__(self, one: OneChange, ahead: int) -> int:
        """See OneChange."""
        before = one.record(self._record.id)
        if not lifecycle.is_held(before, self._record.attempt):
            raise NotPlain
        after = self._change(before, one.now)
        state = one.state(before.topic)
        if state is None or not lifecycle.is_kept(after):
            raise NotPlain
        check_finished(one.places, before.topic, state, one.now, self._most - 1)
        size = len(after.result) + len(after.last_error) + len(after.note)
        if size:
            size = in_pages(size)
            if self._room.shortage(one.txn, ahead + size):
                raise NotPlain
        tally = Tally()
        lifecycle.count_settled(tally, before, after, self._is_retry)
        one.change(before, after, tally)
        return size
