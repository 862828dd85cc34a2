"""Places in LMDB: a database for each ordering, whose keys are the topic and the rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from typing import Protocol

import lmdb

from jobq import codec
from jobq.model.records import Place, Rank
from jobq.model.status import IN_READY, Ordering
from jobq.ports import Move
from jobq.repos.lmdb.databases import Databases
from jobq.repos.lmdb.known import Known

_LAST_ID = 2**64 - 1
_AFTER_ALL: Rank = (2**63, 0)
"""A rank behind all places."""


class Places(Protocol):
    """Where the places of a directory are, within one transaction; the readings are those of TopicRepository."""

    def page(self, topic: str, ordering: Ordering, after: Place | None, n: int) -> list[Place]:
        """The n first places of an ordering behind `after`."""
        ...

    def first(self, topic: str, ordering: Ordering) -> Place | None:
        """The first place of an ordering: a page of one, without what longer ones need."""
        ...

    def due(self, topic: str, ordering: Ordering, until: Rank, n: int) -> list[Place]:
        """The n first places of an ordering whose (major, minor) is at most `until`."""
        ...

    def oldest_ready(self, topic: str) -> int | None:
        """The earliest run_at of the topic's Ready jobs."""
        ...

    def used(self) -> list[str]:
        """The topics that have a place, sorted."""
        ...

    def taken(self, places: Sequence[Place]) -> list[bool]:
        """Whether each of these places is there."""
        ...

    def count(self, topic: str, ordering: Ordering) -> int:
        """How many places an ordering has, counted one by one."""
        ...

    def move(self, moves: Sequence[Move]) -> None:
        """Give up places and take others, now."""
        ...

    def forget(self, topic: str) -> None:
        """Drop what is kept for a topic that has no place any more."""
        ...


class LmdbPlaces:
    """The places in the orderings' databases."""

    def __init__(self, txn: lmdb.Transaction[bytes], dbs: Databases, known: Known | None = None) -> None:
        self._txn = txn
        self._dbs = dbs
        self._firsts = None if known is None else known.firsts

    def page(self, topic: str, ordering: Ordering, after: Place | None, n: int) -> list[Place]:
        """See Places."""
        prefix = codec.topic_prefix(topic)
        start = prefix if after is None else codec.place_key(after)
        with self._txn.cursor(self._dbs.orderings[ordering]) as cursor:
            if not cursor.set_range(start) or (cursor.key() == start and not cursor.next()):
                return []
            keys = takewhile(lambda key: key.startswith(prefix), cursor.iternext(values=False))
            return [codec.place_at(topic, ordering, key) for key in islice(keys, n)]

    def first(self, topic: str, ordering: Ordering) -> Place | None:
        """See Places."""
        prefix = codec.topic_prefix(topic)
        with self._txn.cursor(self._dbs.orderings[ordering]) as cursor:
            if cursor.set_range(prefix) and (key := cursor.key()).startswith(prefix):
                return codec.place_at(topic, ordering, key)
            return None

    def due(self, topic: str, ordering: Ordering, until: Rank, n: int) -> list[Place]:
        """See Places."""
        firsts = self._firsts
        if firsts is not None:
            first = firsts.get((topic, ordering))
            if first is None:
                first = firsts[topic, ordering] = self._first_rank(topic, ordering)
            if first > until:
                return []
        prefix = codec.topic_prefix(topic)
        last = prefix + codec.rank_suffix(*until, _LAST_ID)
        with self._txn.cursor(self._dbs.orderings[ordering]) as cursor:
            if not cursor.set_range(prefix):
                return []
            keys = islice(takewhile(last.__ge__, cursor.iternext(values=False)), n)
            found = [codec.place_at(topic, ordering, key) for key in keys]
        if firsts is not None and not found:
            firsts[topic, ordering] = self._first_rank(topic, ordering)
        return found

    def _first_rank(self, topic: str, ordering: Ordering) -> Rank:
        first = self.first(topic, ordering)
        return _AFTER_ALL if first is None else first[2:4]

    def oldest_ready(self, topic: str) -> int | None:
        """See Places."""
        return min((place.minor for place in self._first_of_each_priority(topic)), default=None)

    def _first_of_each_priority(self, topic: str) -> Iterator[Place]:
        prefix = codec.topic_prefix(topic)
        with self._txn.cursor(self._dbs.orderings[IN_READY]) as cursor:
            found = cursor.set_range(prefix)
            while found and (key := cursor.key()).startswith(prefix):
                place = codec.place_at(topic, IN_READY, key)
                yield place
                found = cursor.set_range(prefix + codec.rank_suffix(place.major + 1, 0, 0))

    def used(self) -> list[str]:
        """See Places."""
        return sorted({topic for db in self._dbs.orderings for topic in self._topics_of(db)})

    def _topics_of(self, db: lmdb._Database) -> Iterator[str]:
        with self._txn.cursor(db) as cursor:
            found = cursor.first()
            while found:
                topic = cursor.key().partition(b"\0")[0]
                yield topic.decode()
                found = cursor.set_range(topic + b"\1")

    def taken(self, places: Sequence[Place]) -> list[bool]:
        """See Places."""
        get, orderings = self._txn.get, self._dbs.orderings
        return [get(codec.place_key(place), None, orderings[place.ordering]) is not None for place in places]

    def count(self, topic: str, ordering: Ordering) -> int:
        """See Places."""
        prefix = codec.topic_prefix(topic)
        with self._txn.cursor(self._dbs.orderings[ordering]) as cursor:
            keys = cursor.iternext(values=False) if cursor.set_range(prefix) else iter(())
            counted = 0
            # By the thousand, of which only the last is looked at: a third of the time.
            while batch := list(islice(keys, 1_000)):
                if not batch[-1].startswith(prefix):
                    return counted + sum(key.startswith(prefix) for key in batch)
                counted += len(batch)
            return counted

    def move(self, moves: Sequence[Move]) -> None:
        """See Places."""
        put, delete, orderings, place_key = self._txn.put, self._txn.delete, self._dbs.orderings, codec.place_key
        firsts = self._firsts
        for old, new in moves:
            if old is not None:
                delete(place_key(old), db=orderings[old[1]])
            if new is not None:
                put(place_key(new), b"", db=orderings[new[1]])
                if firsts and (first := firsts.get(new[:2])) is not None and new[2:4] < first:
                    firsts[new[:2]] = new[2:4]

    def forget(self, topic: str) -> None:
        """See Places: nothing is kept."""
