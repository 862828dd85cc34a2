"""What one transaction changes, gathered first and written once.

A verb reads through the draft and sees its own changes there, so that several verbs make one transaction as if they
ran one after the other, while the storage is only read until `write` writes each job once. Here the first invariant
is kept: every place that is given up or taken is computed from a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

from jobq import lifecycle
from jobq.model.records import Entry, Place, Record, Tally, TopicState
from jobq.model.status import IN_DELAYED, IN_READY, WAITING, Status
from jobq.ports import Change, Move, Storage, UnitOfWork

T = TypeVar("T")
_NO_TOPIC = TopicState()
_NO_COUNTS: list[int] = []


class Draft:
    """The changes of one unit of work."""

    __slots__ = (
        "_changes",
        "_discarded",
        "_entries",
        "_fresh",
        "_keys",
        "_orphans",
        "_payloads",
        "_states",
        "_tallies",
        "now",
        "uow",
    )

    def __init__(self, uow: UnitOfWork) -> None:
        self.uow = uow
        self.now = uow.now
        self._fresh: dict[int, Record] = {}
        self._changes: dict[int, tuple[Record, Record | None]] = {}
        self._payloads: dict[int, bytes] = {}
        self._discarded: list[Place] = []
        self._orphans: list[Place] = []
        self._entries: list[Entry] = []
        self._keys: dict[tuple[str, str], int | None] = {}
        self._states: dict[str, TopicState] = {}
        self._tallies: dict[str, Tally] = {}

    # -- reading

    def get(self, ids: Sequence[int]) -> list[Record | None]:
        """The records as this draft leaves them; None for a job that is not, or no more."""
        if not self._changes and not self._fresh:
            return self.uow.jobs.get(ids)
        stored = dict(zip(ids, self.uow.jobs.get(ids), strict=True))
        for job_id in ids:
            if job_id in self._changes:
                stored[job_id] = self._changes[job_id][1]
            elif job_id in self._fresh:
                stored[job_id] = self._fresh[job_id]
        return [stored[job_id] for job_id in ids]

    def at(self, places: Sequence[Place]) -> list[Record]:
        """The records of stored places as this draft leaves them; a place without a job is given up."""
        found = self.get([place.id for place in places])
        if None not in found:
            return cast(list[Record], found)
        self._orphans.extend(place for place, job in zip(places, found, strict=True) if job is None)
        return [job for job in found if job is not None]

    def payloads(self, ids: Sequence[int]) -> list[bytes]:
        """The payloads of existing jobs as this draft leaves them."""
        if not self._payloads:
            return self.uow.jobs.payloads(ids)
        stored = [job_id for job_id in ids if job_id not in self._payloads]
        found = dict(zip(stored, self.uow.jobs.payloads(stored), strict=True)) | self._payloads
        return [found[job_id] for job_id in ids]

    def holders(self, keys: Sequence[tuple[str, str]]) -> list[int | None]:
        """Who holds these (topic, unique key) pairs as this draft leaves them."""
        return [self._keys.get(key, stored) for key, stored in zip(keys, self.uow.jobs.by_key(keys), strict=True)]

    def state(self, topic: str) -> TopicState:
        """The topic's counters before this draft; all zero for a topic that is not."""
        state = self._states.get(topic)
        if state is None:
            state = self._states[topic] = self.uow.topics.state(topic) or _NO_TOPIC
        return state

    def drafted(self, topic: str, status: Status) -> list[Record]:
        """The topic's jobs that this draft brought into a status."""
        changed = (new for _, new in self._changes.values() if new is not None)
        return [r for r in (*changed, *self._fresh.values()) if r.topic == topic and r.status is status]

    def left_ready(self, topic: str) -> int:
        """How many of the topic's stored Ready jobs this draft changed."""
        return sum(old.status is Status.READY and old.topic == topic for old, _ in self._changes.values())

    def waiting(self, topic: str) -> int:
        """How many of the topic's jobs wait, Ready or Delayed, as this draft leaves them."""
        now = self.state(topic).now
        before = [old for old, _ in self._changes.values()]
        after = [*(new for _, new in self._changes.values() if new is not None), *self._fresh.values()]
        came, went = (sum(r.topic == topic and r.status in WAITING for r in records) for records in (after, before))
        return now[IN_READY] + now[IN_DELAYED] + came - went

    def is_empty(self) -> bool:
        """Whether this draft changed no job yet, and added none."""
        return not (self._changes or self._fresh)

    def changed(self) -> int:
        """How many stored jobs this draft changed."""
        return len(self._changes)

    def orphans(self) -> int:
        """How many places without a job this draft gives up."""
        return len(self._orphans)

    def has_touched(self, job_id: int) -> bool:
        """Whether this draft changed the job."""
        return job_id in self._changes

    # -- changing

    def tally(self, topic: str) -> Tally:
        """The counters that this draft adds to a topic, to be added to."""
        tally = self._tallies.get(topic)
        if tally is None:
            tally = self._tallies[topic] = Tally()
        return tally

    def add(self, record: Record, payload: bytes) -> None:
        """A new job."""
        self._fresh[record.id] = record
        self._payloads[record.id] = payload
        if record.policy.log_status_change:
            self.log(record.id, lifecycle.status_change(None, record))
        if record.unique_key:
            self._track_key(None, record)

    def change(self, old: Record, new: Record) -> None:
        """A job as `get` gave it, and as it becomes; one that is not kept is deleted."""
        kept = new if lifecycle.is_kept(new) else None
        if new.policy.log_status_change and (message := lifecycle.status_change(old, new)):
            self.log(new.id, message)
        job_id = old.id
        if old.unique_key:
            self._track_key(old, kept)
        if job_id in self._fresh:
            self._fresh[job_id] = new  # reserved at most, so it stays
            return
        before = self._changes.get(job_id)
        self._changes[job_id] = (old if before is None else before[0], kept)

    def delete(self, old: Record) -> None:
        """A job that goes, with its payload and its log."""
        self._changes[old.id] = (old, None)

    def discard(self, places: Iterable[Place]) -> None:
        """Finished jobs that go, known by their places."""
        self._discarded.extend(places)

    def replace_payload(self, job_id: int, payload: bytes) -> None:
        """Another payload for a job."""
        self._payloads[job_id] = payload

    def log(self, job_id: int, message: str) -> None:
        """One more line for the log of a job."""
        self._entries.append(Entry(job_id, self.now.wall, message))

    def _track_key(self, old: Record | None, new: Record | None) -> None:
        if old is not None and (key := lifecycle.held_key(old)):
            self._keys[key] = None
        if new is not None and (key := lifecycle.held_key(new)):
            self._keys[key] = new.id

    # -- writing

    def write(self) -> None:
        """Hand everything to the repositories."""
        moves: list[Move] = []
        if self._changes:
            self._write_changes(moves)
        if self._fresh:
            self._write_fresh(moves)
        for job_id, payload in self._payloads.items():
            self.uow.jobs.put_payload(job_id, payload)
        if self._entries:
            gone = {job_id for job_id, (_, new) in self._changes.items() if new is None}
            self.uow.jobs.log([entry for entry in self._entries if entry.job_id not in gone])
        if self._discarded:
            self.uow.jobs.discard([place.id for place in self._discarded])
            self._give_up(self._discarded, moves)
        if self._orphans:
            self._give_up(self._orphans, moves)
        if moves:
            self.uow.topics.move(moves)
        for topic, tally in self._tallies.items():
            self.uow.topics.tally(topic, tally)

    def _write_changes(self, moves: list[Move]) -> None:
        place_of, tally = lifecycle.place_of, self.tally
        changes: list[Change] = []
        deleted: list[Record] = []
        topic, now = None, _NO_COUNTS
        for change in self._changes.values():
            old, new = change
            before = place_of(old)
            if before[0] is not topic:  # mostly one topic's jobs follow on each other
                topic = before[0]
                now = tally(topic).now
            if new is None:
                deleted.append(old)
                self._payloads.pop(old.id, None)
                moves.append((before, None))
                now[before[1]] -= 1
                continue
            changes.append(change)  # type: ignore[arg-type]  # its second is a record here
            after = place_of(new)
            if before != after:
                moves.append((before, after))
                now[before[1]] -= 1
                now[after[1]] += 1
        if deleted:
            self.uow.jobs.delete(deleted)
        if changes:
            self.uow.jobs.put(changes)

    def _write_fresh(self, moves: list[Move]) -> None:
        place_of, tally, payload_of = lifecycle.place_of, self.tally, self._payloads.pop
        records = list(self._fresh.values())
        self.uow.jobs.add(records, [payload_of(record.id) for record in records])
        topic, now = None, _NO_COUNTS
        for record in records:
            place = place_of(record)
            moves.append((None, place))
            if place[0] is not topic:
                topic = place[0]
                now = tally(topic).now
            now[place[1]] += 1

    def _give_up(self, places: Iterable[Place], moves: list[Move]) -> None:
        for place in places:
            moves.append((place, None))
            self.tally(place.topic).now[place.ordering] -= 1


def commit(storage: Storage, verb: Callable[[Draft], T], when_committed: Callable[[T], object] | None = None) -> T:
    """Run a verb over a draft and write it, in one transaction; the verb may run twice. when_committed: see Storage."""

    def body(uow: UnitOfWork) -> T:
        draft = Draft(uow)
        result = verb(draft)
        draft.write()
        return result

    return storage.transact(body, when_committed=when_committed)
