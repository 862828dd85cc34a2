"""One ordering of a topic as a binary heap with lazy deletion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, nsmallest

from jobq.model.records import Place


class Heap:
    """Places in order. A place that was given up stays until it reaches the top, or half of the heap is such."""

    __slots__ = ("_is_live", "_places", "live")

    def __init__(self, is_live: Callable[[Place], bool]) -> None:
        self._is_live = is_live
        self._places: list[Place] = []
        self.live = 0

    def push(self, place: Place) -> None:
        """Add a place."""
        heappush(self._places, place)
        self.live += 1

    def forget(self) -> None:
        """Note that one place is no longer live, and tidy up when half are not."""
        self.live -= 1
        if len(self._places) > 64 and self.live * 2 < len(self._places):
            self._places = [place for place in self._places if self._is_live(place)]
            heapify(self._places)

    def first(self) -> Place | None:
        """The first live place."""
        places, is_live = self._places, self._is_live
        while places:
            if is_live(places[0]):
                return places[0]
            heappop(places)
        return None

    def __iter__(self) -> Iterator[Place]:
        """The live places in order, each found when asked for: the first n cost O(n log n) whatever the size.

        A best-first walk down the heap (Frederickson's simplest scheme): a place's children are looked at only once
        the place itself was the smallest of those seen.
        """
        places, is_live = self._places, self._is_live
        first = self.first()
        seen = [] if first is None else [(first, 0)]
        while seen:
            place, index = heappop(seen)
            if is_live(place):
                yield place
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(places):
                    heappush(seen, (places[child], child))

    def behind(self, after: Place, n: int) -> list[Place]:
        """The n first live places behind `after`: one pass over the whole heap."""
        return nsmallest(n, (place for place in self._places if place > after and self._is_live(place)))

    def places(self) -> Iterator[Place]:
        """All live places, in no order."""
        return filter(self._is_live, self._places)
