"""Where each job waits, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from jobq.model.records import Place, Rank, Tally, TopicState
from jobq.model.status import IN_READY, Ordering
from jobq.ports import Move
from jobq.repos.places import PlaceIndex


class TopicTable:
    """The places and counters of all topics."""

    def __init__(self) -> None:
        self.states: dict[str, TopicState] = {}
        self.places = PlaceIndex()


class MemoryTopics:
    """The TopicRepository of one transaction: reads the table, remembers what to write."""

    def __init__(self, table: TopicTable) -> None:
        self._table = table
        self._places = table.places
        self.moves: list[Move] = []
        self.states: dict[str, TopicState] = {}

    def names(self) -> list[str]:
        """See TopicRepository."""
        return sorted(self._table.states)

    def state(self, topic: str) -> TopicState | None:
        """See TopicRepository."""
        return self._table.states.get(topic)

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
        return self._places.count(topic, ordering)

    def put_state(self, topic: str, state: TopicState) -> None:
        """See TopicRepository."""
        self.states[topic] = state

    def apply(self) -> None:
        """Write what was remembered."""
        self._places.move(self.moves)
        self._apply_states()

    def redo(self) -> None:
        """Write what was remembered, of which any part may have been written."""
        self._places.redo(self.moves)
        self._apply_states()

    def _apply_states(self) -> None:
        for topic, state in self.states.items():
            if state.is_gone():
                self._table.states.pop(topic, None)
                self._places.forget(topic)
            else:
                self._table.states[topic] = state

    def _latest(self, topic: str) -> TopicState:
        return self.states.get(topic) or self._table.states.get(topic) or TopicState()
