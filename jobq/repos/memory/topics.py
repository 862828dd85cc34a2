"""Where each job waits, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, takewhile

from jobq.model.records import Place, Rank, Tally, TopicState
from jobq.model.status import Ordering
from jobq.ports import Move
from jobq.repos.memory.heap import Heap


class TopicIndex:
    """The places and counters of all topics."""

    def __init__(self) -> None:
        self.states: dict[str, TopicState] = {}
        self._places: dict[int, Place] = {}
        self._heaps: dict[tuple[str, Ordering], Heap] = {}

    def heap(self, topic: str, ordering: Ordering) -> Heap | None:
        """The heap of an ordering; None if nothing was ever there."""
        return self._heaps.get((topic, ordering))

    def move(self, old: Place | None, new: Place | None) -> None:
        """Give up a place and take another."""
        if old is not None:
            del self._places[old.id]
            self._heaps[old.topic, old.ordering].forget()
        if new is not None:
            self._places[new.id] = new
            key = (new.topic, new.ordering)
            heap = self._heaps.get(key)
            if heap is None:
                heap = self._heaps[key] = Heap(self._is_live)
            heap.push(new)

    def set_state(self, topic: str, state: TopicState) -> None:
        """Keep a topic's counters, or forget the topic once it is gone."""
        if not state.is_gone():
            self.states[topic] = state
            return
        self.states.pop(topic, None)
        for ordering in Ordering:
            self._heaps.pop((topic, ordering), None)

    def redo(self, moves: Sequence[Move]) -> None:
        """Make sure of moves of which any part may have been done, and build all heaps anew."""
        for old, new in moves:
            if new is not None:
                self._places[new.id] = new
            elif old is not None:
                self._places.pop(old.id, None)
        self._heaps.clear()
        for place in self._places.values():
            self._heaps.setdefault((place.topic, place.ordering), Heap(self._is_live)).push(place)

    def _is_live(self, place: Place) -> bool:
        return self._places.get(place.id) is place


class MemoryTopics:
    """The TopicRepository of one transaction: reads the index, remembers what to write."""

    def __init__(self, index: TopicIndex) -> None:
        self._index = index
        self.moves: list[Move] = []
        self.resumed: list[str] = []
        self._states: dict[str, TopicState] = {}

    def names(self) -> list[str]:
        """See TopicRepository."""
        return sorted(self._index.states)

    def state(self, topic: str) -> TopicState | None:
        """See TopicRepository."""
        return self._index.states.get(topic)

    def head(self, topic: str, n: int) -> list[Place]:
        """See TopicRepository."""
        return self.page(topic, Ordering.READY, None, n)

    def due(self, topic: str, ordering: Ordering, until: Rank, n: int) -> list[Place]:
        """See TopicRepository."""
        heap = self._index.heap(topic, ordering)
        return list(islice(takewhile(lambda p: (p.major, p.minor) <= until, heap), n)) if heap else []

    def page(self, topic: str, ordering: Ordering, after: Place | None, n: int) -> list[Place]:
        """See TopicRepository."""
        heap = self._index.heap(topic, ordering)
        if heap is None:
            return []
        return list(islice(heap, n)) if after is None else heap.behind(after, n)

    def oldest_ready(self, topic: str) -> int | None:
        """See TopicRepository."""
        heap = self._index.heap(topic, Ordering.READY)
        return min((place.minor for place in heap.places()), default=None) if heap else None

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

    def apply(self) -> None:
        """Write what was remembered."""
        for old, new in self.moves:
            self._index.move(old, new)
        self._apply_states()

    def redo(self) -> None:
        """Write what was remembered, of which any part may have been written."""
        self._index.redo(self.moves)
        self._apply_states()

    def _apply_states(self) -> None:
        for topic, state in self._states.items():
            self._index.set_state(topic, state)

    def _latest(self, topic: str) -> TopicState:
        return self._states.get(topic) or self._index.states.get(topic) or TopicState()
