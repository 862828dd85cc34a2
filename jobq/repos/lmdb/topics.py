"""Where each job waits, on LMDB: the counters there, the places there or in memory."""

from __future__ import annotations

from collections.abc import Sequence

import lmdb

from jobq import codec
from jobq.model.records import Place, Rank, Tally, TopicState
from jobq.model.status import IN_READY, Ordering
from jobq.ports import Move
from jobq.repos.lmdb.databases import Databases
from jobq.repos.lmdb.known import Known
from jobq.repos.lmdb.places import Places

DecodedStates = dict[str, tuple[bytes, TopicState]]
"""Counters and the bytes they were read from: where the bytes are still the same, they need no decoding (7 µs)."""


class LmdbTopics:
    """The TopicRepository of one transaction: reads it, remembers what to write."""

    def __init__(
        self,
        txn: lmdb.Transaction[bytes],
        dbs: Databases,
        decoded: DecodedStates,
        places: Places,
        known: Known | None = None,
    ) -> None:
        self._txn = txn
        self._dbs = dbs
        self._decoded = decoded
        self._places = places
        self._known = known
        self.states: dict[str, TopicState] = {}
        self.moves: list[Move] = []

    def names(self) -> list[str]:
        """See TopicRepository."""
        with self._txn.cursor(self._dbs.topics) as cursor:
            return [key.decode() for key in cursor.iternext(values=False)]

    def state(self, topic: str) -> TopicState | None:
        """See TopicRepository."""
        return read_state(self._txn, self._dbs, self._decoded, self._known, topic)

    def head(self, topic: str, n: int) -> list[Place]:
        """See TopicRepository."""
        return self._places.page(topic, IN_READY, None, n)

    def due(self, topic: str, ordering: Ordering, until: Rank, n: int) -> list[Place]:
        """See TopicRepository."""
        return self._places.due(topic, ordering, until, n)

    def page(self, topic: str, ordering: Ordering, after: Place | None, n: int) -> list[Place]:
        """See TopicRepository."""
        return self._places.page(topic, ordering, after, n)

    def oldest_ready(self, topic: str) -> int | None:
        """See TopicRepository."""
        return self._places.oldest_ready(topic)

    def move(self, moves: Sequence[Move]) -> None:
        """See TopicRepository."""
        self.moves.extend(moves)

    def tally(self, topic: str, tally: Tally) -> None:
        """See TopicRepository."""
        self.states[topic] = self._latest(topic).plus(tally)

    def pause(self, topic: str, paused: bool) -> None:
        """See TopicRepository."""
        self.states[topic] = self._latest(topic)._replace(paused=paused)

    def used(self) -> list[str]:
        """See TopicRepository."""
        return self._places.used()

    def taken(self, places: Sequence[Place]) -> list[bool]:
        """See TopicRepository."""
        return self._places.taken(places)

    def count(self, topic: str, ordering: Ordering) -> int:
        """See TopicRepository."""
        if self._known is not None:
            self._known.states.pop(topic, None)  # who counts doubts the counters, and is to see those that are stored
        return self._places.count(topic, ordering)

    def put_state(self, topic: str, state: TopicState) -> None:
        """See TopicRepository."""
        self.states[topic] = state

    def _latest(self, topic: str) -> TopicState:
        return self.states.get(topic) or self.state(topic) or TopicState()

    def apply(self) -> None:
        """Write what was remembered."""
        if self.moves:
            self._places.move(self.moves)
        for topic, state in self.states.items():
            if not state.is_gone():
                write_state(self._txn, self._dbs, self._decoded, self._known, topic, state)
                continue
            self._txn.delete(topic.encode(), db=self._dbs.topics)
            self._decoded.pop(topic, None)
            self._places.forget(topic)
            if self._known is not None:
                self._known.states[topic] = None


def read_state(
    txn: lmdb.Transaction[bytes], dbs: Databases, decoded: DecodedStates, known: Known | None, topic: str
) -> TopicState | None:
    """The counters of a topic; None if there is no such topic."""
    if known is not None and topic in known.states:
        return known.states[topic]
    state = None
    data = txn.get(topic.encode(), None, dbs.topics)
    if data is not None:
        last = decoded.get(topic)
        if last is None or last[0] != data:
            last = decoded[topic] = (data, codec.decode_state(topic, data))
        state = last[1]
    if known is not None:
        known.states[topic] = state
    return state


def write_state(
    txn: lmdb.Transaction[bytes],
    dbs: Databases,
    decoded: DecodedStates,
    known: Known | None,
    topic: str,
    state: TopicState,
) -> None:
    """Write the counters of a topic that stays."""
    data = codec.encode_state(state)
    txn.put(topic.encode(), data, True, True, False, dbs.topics)
    decoded[topic] = (data, state)
    if known is not None:
        known.states[topic] = state
        known.has_written = True
