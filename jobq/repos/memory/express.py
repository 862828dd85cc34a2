"""One job a call, straight into the tables: the Express of this storage.

What a call that is about one job alone changes is one record and one place, so it does without the lists of a unit of
work: a lifecycle of three calls takes half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobq import lifecycle
from jobq.model.records import Now, Place, Record, Tally, TopicState
from jobq.model.requests import Request
from jobq.model.status import IN_READY
from jobq.ports import NotPlain, Taken
from jobq.repos.memory.jobs import JobTable
from jobq.repos.memory.topics import TopicTable
from jobq.repos.plainness import check_finished, check_waiting


class OneChange:
    """The change of one job, worked out first and written once it is complete."""

    __slots__ = ("_jobs", "_payload", "_record", "_state", "_topics", "moves", "now")

    def __init__(self, jobs: JobTable, topics: TopicTable, now: Now) -> None:
        self._jobs = jobs
        self._topics = topics
        self.now = now

    def add(self, request: Request) -> int:
        """Make a job of a request and return its id."""
        record = lifecycle.enqueue(self._jobs.next_id, request, self.now)
        tally = Tally()
        lifecycle.count_enqueued(tally, self.now)
        self._change(None, record, tally, request.payload)
        return record.id

    def take(self, topics: Sequence[str], lease: int | None, most: int) -> Taken:
        """Reserve the first Ready job of the topics."""
        states, places, now = self._topics.states, self._topics.places, self.now
        chosen = None
        for topic in topics:
            state = states.get(topic)
            if state is not None:
                check_finished(places, topic, state, now, most)
                if chosen is None and not state.paused:
                    check_waiting(places, topic, state, now)
                    chosen = topic if state.now[IN_READY] else None
        first = None if chosen is None else places.first(chosen, IN_READY)
        if first is None:
            raise NotPlain
        job = self._plain(first.id)
        held = lifecycle.reserve(job, now, lease)
        tally = Tally()
        lifecycle.count_reserved(tally, job, now)
        self._change(job, held, tally)
        return held, self._jobs.payloads[job.id], now

    def settle(self, record: Record, change: Callable[[Record, Now], Record], is_retry: bool, most: int) -> None:
        """Change a job whose reservation stands."""
        job = self._plain(record.id)
        if not lifecycle.is_held(job, record.attempt):
            raise NotPlain
        after = change(job, self.now)
        state = self._topics.states.get(job.topic)
        if state is None or not lifecycle.is_kept(after):
            raise NotPlain
        check_finished(self._topics.places, job.topic, state, self.now, most - 1)
        tally = Tally()
        lifecycle.count_settled(tally, job, after, is_retry)
        self._change(job, after, tally)

    def _plain(self, job_id: int) -> Record:
        job = self._jobs.records.get(job_id)
        if job is None or job.policy.log_status_change:
            raise NotPlain
        return job

    def _change(self, old: Record | None, new: Record, tally: Tally, payload: bytes | None = None) -> None:
        after = lifecycle.place_of(new)
        tally.now[after[1]] += 1
        before: Place | None = None
        if old is not None:
            before = lifecycle.place_of(old)
            tally.now[before[1]] -= 1
        self._record = new
        self._payload = payload
        self._state = (self._topics.states.get(new.topic) or TopicState()).plus(tally)
        self.moves = ((before, after),)

    @property
    def states(self) -> dict[str, TopicState]:
        """The counters that it leaves."""
        return {self._record.topic: self._state}

    def apply(self) -> None:
        """Write it; see MemoryUnit."""
        self._topics.places.move(self.moves)
        self._write()

    def redo(self) -> None:
        """Write it again; see MemoryUnit."""
        self._topics.places.redo(self.moves)
        self._write()

    def _write(self) -> None:
        jobs, record = self._jobs, self._record
        jobs.records[record.id] = record
        if self._payload is not None:
            jobs.payloads[record.id] = self._payload
            jobs.next_id = record.id + 1
        self._topics.states[record.topic] = self._state
