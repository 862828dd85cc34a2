"""Whether there is more to do in a topic than what one call asks for: then an Express leaves it to `transact`."""

from __future__ import annotations

from typing import Protocol

from jobq import lifecycle
from jobq.model.records import Now, Place, Rank, TopicState
from jobq.model.status import FINISHED_ORDERINGS, IN_DELAYED, IN_DONE, IN_RESERVED, Ordering
from jobq.ports import NotPlain


class Places(Protocol):
    """Where jobs wait."""

    def due(self, topic: str, ordering: Ordering, until: Rank, n: int) -> list[Place]:
        """See TopicRepository."""
        ...


def check_finished(places: Places, topic: str, state: TopicState, now: Now, most: int) -> None:
    """Raise NotPlain for a topic of which finished jobs are to go. most: how many Done ones it may have."""
    counts, rank = state.now, (0, now.wall)
    if counts[IN_DONE] > most:
        raise NotPlain
    for ordering in FINISHED_ORDERINGS:
        if counts[ordering] and places.due(topic, ordering, rank, 1):
            raise NotPlain


def check_waiting(places: Places, topic: str, state: TopicState, now: Now) -> None:
    """Raise NotPlain for a topic with a lease or a delay that is over."""
    counts = state.now
    if counts[IN_RESERVED] and places.due(topic, IN_RESERVED, lifecycle.due_rank(IN_RESERVED, now), 1):
        raise NotPlain
    if counts[IN_DELAYED] and places.due(topic, IN_DELAYED, (0, now.wall), 1):
        raise NotPlain
