"""The heap with lazy deletion against a sorted list."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobq.model.records import Place
from jobq.model.status import Ordering
from jobq.repos.heap import Heap

ranks = st.tuples(st.integers(-2, 2), st.integers(0, 5))


class HeapMachine(RuleBasedStateMachine):
    """Jobs take places, give them up and move on; a job that comes back to a rank has a place equal to the old one."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, Place] = {}
        self.heap = Heap(lambda place: self.at.get(place.id) is place)
        self.next_id = 1

    def take(self, job_id: int, rank: tuple[int, int]) -> None:
        self.at[job_id] = Place("t", Ordering.READY, *rank, job_id)
        self.heap.push(self.at[job_id])

    def give_up(self, job_id: int) -> None:
        del self.at[job_id]
        self.heap.forget()

    def some(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.at)))

    @rule(rank=ranks)
    def one_comes(self, rank: tuple[int, int]) -> None:
        self.take(self.next_id, rank)
        self.next_id += 1

    @rule(many=st.lists(ranks, min_size=60, max_size=80))
    def many_come(self, many: list[tuple[int, int]]) -> None:
        for rank in many:
            self.one_comes(rank)

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def one_goes(self, data: st.DataObject) -> None:
        self.give_up(self.some(data))

    @precondition(lambda self: self.at)
    @rule(share=st.floats(0, 1), first=st.booleans())
    def many_go(self, share: float, first: bool) -> None:
        ids = [place.id for place in sorted(self.at.values(), reverse=not first)]
        for job_id in ids[: int(len(ids) * share)]:
            self.give_up(job_id)

    @precondition(lambda self: self.at)
    @rule(data=st.data(), rank=ranks)
    def one_moves(self, data: st.DataObject, rank: tuple[int, int]) -> None:
        job_id = self.some(data)
        self.give_up(job_id)
        self.take(job_id, rank)

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def one_comes_back_to_its_rank(self, data: st.DataObject) -> None:
        place = self.at[self.some(data)]
        self.give_up(place.id)
        self.take(place.id, (place.major, place.minor))

    @rule(n=st.integers(0, 90), rank=ranks, job_id=st.integers(0, 9))
    def a_page_is_behind_its_cursor(self, n: int, rank: tuple[int, int], job_id: int) -> None:
        after = Place("t", Ordering.READY, *rank, job_id)
        expected = [place for place in sorted(self.at.values()) if place > after]
        assert self.heap.behind(after, n) == expected[:n]

    @rule(n=st.integers(0, 90))
    def the_first_come_in_order(self, n: int) -> None:
        assert list(islice(self.heap, n)) == sorted(self.at.values())[:n]

    @invariant()
    def all_are_there_in_order(self) -> None:
        expected = sorted(self.at.values())
        assert list(self.heap) == expected
        assert sorted(self.heap.places()) == expected
        assert self.heap.live == len(expected)

    @invariant()
    def the_dead_do_not_pile_up(self) -> None:
        assert len(self.heap._places) <= max(64, 2 * len(self.at))


TestHeap = HeapMachine.TestCase


@given(st.lists(ranks, max_size=200), st.integers(0, 200))
def test_looking_takes_nothing_away(many: list[tuple[int, int]], n: int) -> None:
    places = [Place("t", Ordering.READY, *rank, job_id) for job_id, rank in enumerate(many, 1)]
    heap = Heap(lambda place: True)
    for place in places:
        heap.push(place)
    for _ in range(2):
        assert list(islice(heap, n)) == sorted(places)[:n]


def test_the_first_of_many_are_found_without_looking_at_all() -> None:
    """The first n cost a walk of some 2n places, not a pass over the whole heap."""
    looked = 0

    def is_live(place: Place) -> bool:
        nonlocal looked
        looked += 1
        return True

    heap = Heap(is_live)
    for job_id in range(10_000, 0, -1):
        heap.push(Place("t", Ordering.READY, 0, job_id, job_id))
    assert [place.id for place in islice(heap, 100)] == list(range(1, 101))
    assert looked < 250
