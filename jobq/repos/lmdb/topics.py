"""Where each job waits, on LMDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, takewhile

import lmdb

from jobq import codec
from jobq.model.records import Place, Rank, Tally, TopicState
from jobq.model.status import Ordering
from jobq.ports import Move
from jobq.repos.lmdb.environment import Databases

_LAST_ID = 2**64 - 1
KnownStates = dict[str, tuple[bytes, TopicState]]
"""Counters and the bytes they were read from: where the bytes are still the same, they need no decoding (7 µs)."""


class LmdbTopics:
    """The TopicRepository of one transaction: reads it, remembers what to write."""

    def __init__(self, txn: lmdb.Transaction[bytes], dbs: Databases, known: KnownStates) -> None:
        self._txn = txn
        self._dbs = dbs
        self._known = known
        self._states: dict[str, TopicState] = {}
        self.moves: list[Move] = []
        self.resumed: list[str] = []

    def names(self) -> list[str]:
        """See TopicRepository."""
        with self._txn.cursor(self._dbs.topics) as cursor:
            return [key.decode() for key in cursor.iternext(values=False)]

    def state(self, topic: str) -> TopicState | None:
        """See TopicRepository."""
        data = self._txn.get(topic.encode(), db=self._dbs.topics)
        if data is None:
            return None
        known = self._known.get(topic)
        if known is None or known[0] != data:
            known = self._known[topic] = (data, codec.decode_state(topic, data))
        return known[1]

    def head(self, topic: str, n: int) -> list[Place]:
        """See TopicRepository."""
        return self.page(topic, Ordering.READY, None, n)

    def due(self, topic: str, ordering: Ordering, until: Rank, n: int) -> list[Place]:
        """See TopicRepository."""
        prefix = codec.topic_prefix(topic)
        last = prefix + codec.rank_suffix(*until, _LAST_ID)
        with self._txn.cursor(self._dbs.orderings[ordering]) as cursor:
            if not cursor.set_range(prefix):
                return []
            keys = islice(takewhile(last.__ge__, cursor.iternext(values=False)), n)
            return [codec.place_at(topic, ordering, key) for key in keys]

    def page(self, topic: str, ordering: Ordering, after: Place | None, n: int) -> list[Place]:
        """See TopicRepository."""
        prefix = codec.topic_prefix(topic)
        start = prefix if after is None else codec.place_key(after)
        with self._txn.cursor(self._dbs.orderings[ordering]) as cursor:
            if not cursor.set_range(start) or (cursor.key() == start and not cursor.next()):
                return []
            keys = takewhile(lambda key: key.startswith(prefix), cursor.iternext(values=False))
            return [codec.place_at(topic, ordering, key) for key in islice(keys, n)]

    def oldest_ready(self, topic: str) -> int | None:
        """See TopicRepository."""
        return min((place.minor for place in self._first_of_each_priority(topic)), default=None)

    def _first_of_each_priority(self, topic: str) -> Iterator[Place]:
        prefix = codec.topic_prefix(topic)
        with self._txn.cursor(self._dbs.orderings[Ordering.READY]) as cursor:
            found = cursor.set_range(prefix)
            while found and (key := cursor.key()).startswith(prefix):
                place = codec.place_at(topic, Ordering.READY, key)
                yield place
                found = cursor.set_range(prefix + codec.rank_suffix(place.major + 1, 0, 0))

    def move(self, moves: Sequence[Move]) -> None:
        """See TopicRepository."""
        self.moves.extend(moves)

    def tally(self, topic: str, tally: Tally) -> None:
        """See TopicRepository."""
        self._states[topic] = self._latest(topic).plus(tally)

    def pause(self, topic: str, paused: bool) -> None:
        """See TopicRepository."""
        self._states[topic] = self._latest(topic)._replace(paused=paused)
        if not paused:
            self.resumed.append(topic)

    def _latest(self, topic: str) -> TopicState:
        return self._states.get(topic) or self.state(topic) or TopicState()

    def apply(self) -> None:
        """Write what was remembered."""
        put, delete, orderings, place_key = self._txn.put, self._txn.delete, self._dbs.orderings, codec.place_key
        for old, new in self.moves:
            if old is not None:
                delete(place_key(old), db=orderings[old.ordering])
            if new is not None:
                put(place_key(new), b"", db=orderings[new.ordering])
        for topic, state in self._states.items():
            if state.is_gone():
                delete(topic.encode(), db=self._dbs.topics)
                self._known.pop(topic, None)
            else:
                data = codec.encode_state(state)
                put(topic.encode(), data, db=self._dbs.topics)
                self._known[topic] = (data, state)
