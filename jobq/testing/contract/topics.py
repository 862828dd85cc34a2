"""The contract of the TopicRepository."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from jobq import lifecycle
from jobq.model.options import JobOptions
from jobq.model.records import Now, Place, Rank, Record, Tally, TopicState, Total, policy_of
from jobq.model.status import CancelReason, Ordering, Status
from jobq.model.times import FOREVER, SECOND
from jobq.ports import Storage
from jobq.testing.clock import ManualClock
from jobq.testing.contract.scenes import OpenStorage, add, change, delete, discard, head, ids, listed, request
from jobq.testing.invariants import check_invariants

LOWEST, HIGHEST = -(2**15), 2**15 - 1
ALIKE = ["a", "A", "a.", "a-", "a:", "a_", "aa", "a.a", "a" * 127, "a" * 128, "0"]


class TopicsContract:
    """Where each job waits: the orderings of a topic, its counters, pausing."""

    # -- orderings

    def test_head_gives_the_lowest_priority_first_then_who_waited_longest(
        self, open_storage: OpenStorage, clock: ManualClock
    ) -> None:
        storage = open_storage()
        priorities = [0, 5, LOWEST, -1, HIGHEST, 0, 1, -1, 256, -256, 255, -255]
        records = []
        for priority in priorities:
            records += add(storage, request(priority=priority))
            clock.advance(1)
        expected = ids(sorted(records, key=lambda record: (record.priority, record.run_at)))
        assert head(storage) == expected
        for n in (1, 2, len(records)):
            assert head(storage, "t", n) == expected[:n]

    def test_of_equals_the_lower_id_is_first(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, *[request()] * 300)
        assert head(storage) == ids(records)

    def test_due_ends_with_what_is_due_just_now(self, open_storage: OpenStorage, clock: ManualClock) -> None:
        storage = open_storage()
        delays = [30, 10, 20, 10, 40]
        records = add(storage, *(request(delay=delay * SECOND) for delay in delays))
        places = sorted(map(lifecycle.place_of, records))
        start = clock.wall()
        for seconds, count in ((0, 0), (10, 2), (20, 3), (40, 5)):
            for early in (1, 0):
                until = (0, start + seconds * SECOND - early)
                found = due(storage, Ordering.DELAYED, until)
                assert found == [place for place in places if (place.major, place.minor) <= until]
                assert early or len(found) == count

    def test_due_gives_at_most_as_many_as_asked_for(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, *[request(delay=SECOND)] * 5)
        assert [place.id for place in due(storage, Ordering.DELAYED, (0, FOREVER), 3)] == ids(records[:3])

    @pytest.mark.parametrize("ordering", Ordering)
    def test_every_ordering_sorts_huge_ranks(self, open_storage: OpenStorage, ordering: Ordering) -> None:
        storage = open_storage()
        records = add(storage, *[request()] * len(RANKS))
        changes = [(record, ranked(record, ordering, *rank)) for record, rank in zip(records, RANKS, strict=True)]
        change(storage, *changes)
        places = sorted(lifecycle.place_of(new) for _, new in changes)
        assert {place.ordering for place in places} == {ordering}
        assert listed(storage, ordering) == places
        for place in places:
            until = (place.major, place.minor)
            assert due(storage, ordering, until) == [one for one in places if (one.major, one.minor) <= until]
            assert page(storage, place, 1_000) == places[places.index(place) + 1 :]
        check_invariants(storage)

    def test_pages_go_on_behind_a_place_that_is_gone(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, *(request(priority=number // 2) for number in range(10)))
        places = [lifecycle.place_of(record) for record in records]
        delete(storage, records[3], records[9])
        left = [place for place in places if place not in (places[3], places[9])]
        assert page(storage, places[3], 3) == left[3:6]
        assert page(storage, places[3]._replace(minor=0), 3) == left[2:5]
        assert page(storage, places[9], 3) == []
        assert page(storage, places[0]._replace(id=0), 2) == left[:2]

    def test_oldest_ready_looks_at_all_priorities(self, open_storage: OpenStorage, clock: ManualClock) -> None:
        storage = open_storage()
        records: list[Record] = []
        for priority in (3, -3, 0):
            records += add(storage, request(priority=priority), request(delay=SECOND))
            clock.advance(60)
        for ready in records[::2]:
            assert storage.view(lambda uow: uow.topics.oldest_ready("t")) == ready.run_at
            delete(storage, ready)
        assert storage.view(lambda uow: uow.topics.oldest_ready("t")) is None
        assert storage.view(lambda uow: uow.topics.oldest_ready("unknown")) is None

    def test_a_job_moves_from_place_to_place(self, open_storage: OpenStorage, clock: ManualClock) -> None:
        storage = open_storage()
        one, other = add(storage, request(), request())
        for _ in range(3):
            now = Now(clock.wall(), clock.steady())
            held = lifecycle.reserve(one, now)
            change(storage, (one, held))
            assert (head(storage), [place.id for place in listed(storage, Ordering.RESERVED)]) == ([other.id], [one.id])
            clock.advance(1)
            one = lifecycle.release(held, now._replace(wall=clock.wall()))
            change(storage, (held, one))
            assert (head(storage), listed(storage, Ordering.RESERVED)) == ([other.id, one.id], [])

    def test_topics_do_not_mix(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = {topic: add(storage, *[request(topic)] * 3, request(topic, delay=SECOND)) for topic in ALIKE}
        assert names(storage) == sorted(ALIKE)
        for topic, mine in records.items():
            assert head(storage, topic) == ids(mine[:3])
            assert listed(storage, Ordering.DELAYED, topic) == [lifecycle.place_of(mine[3])]
        delete(storage, *records["a"])
        assert names(storage) == sorted(ALIKE[1:])
        check_invariants(storage)

    @pytest.mark.parametrize("seed", range(3))
    def test_whatever_moves_the_orderings_stay_sorted(
        self, open_storage: OpenStorage, clock: ManualClock, seed: int
    ) -> None:
        storage = open_storage()
        random = Random(seed)
        jobs: list[Record] = []
        for _ in range(40):
            clock.advance(random.choice([0, 0.5, 10]))
            jobs += add(
                storage, *(request("tu"[random.randrange(2)], priority=random.randint(-2, 2)) for _ in range(5))
            )
            for job in random.sample(jobs, len(jobs) // 3):
                after = ranked(job, random.choice(list(Ordering)), random.randint(-3, 3), random.randrange(10**15))
                if lifecycle.place_of(after) != lifecycle.place_of(job):
                    change(storage, (job, after))
                    jobs[jobs.index(job)] = after
            gone = random.sample(jobs, 2)
            delete(storage, *gone)
            jobs = [job for job in jobs if job not in gone]
        check_invariants(storage)
        for topic in "tu":
            for ordering in Ordering:
                places = sorted(map(lifecycle.place_of, jobs))
                mine = [place for place in places if (place.topic, place.ordering) == (topic, ordering)]
                assert listed(storage, ordering, topic) == mine

    # -- counters

    def test_of_an_unknown_topic_there_is_nothing(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        assert names(storage) == []
        assert state(storage) is None
        assert head(storage) == []
        assert [listed(storage, ordering) for ordering in Ordering] == [[]] * len(Ordering)

    def test_counters_add_up(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        add(storage, request())
        for number in (1, 2):
            tally_all(storage, number)
        counted = counters(storage)
        assert list(counted.totals) == [3 * (total + 1) for total in Total]
        assert list(counted.now) == [1, 0, 0, 0, 0, 0]
        assert counted[3:] == (100, 200, 1_000, 2_000), "the first and the last instants"

    def test_counters_of_a_body_that_tallies_many_topics(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        add(storage, *(request(f"t{number}") for number in range(50) for _ in range(number % 3 + 1)))
        for number in range(50):
            assert counters(storage, f"t{number}").now[Ordering.READY] == number % 3 + 1

    @pytest.mark.parametrize("forget", [delete, discard])
    def test_a_topic_is_gone_with_its_last_job_and_begins_anew(
        self, open_storage: OpenStorage, forget: Callable[[Storage, Record], None]
    ) -> None:
        storage = open_storage()
        [record] = add(storage, request())
        tally_all(storage, 1)
        finished = lifecycle.cancel(record, Now(SECOND, SECOND))
        change(storage, (record, finished))
        assert names(storage) == ["t"]
        forget(storage, finished)
        assert state(storage) is None
        assert names(storage) == []

        [again] = add(storage, request())
        begun = counters(storage)
        assert (list(begun.totals), head(storage)) == ([0] * len(Total), [again.id])

    # -- pausing

    def test_pausing_keeps_a_topic_and_its_counters(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request())
        tally_all(storage, 1)
        before = counters(storage)
        pause(storage, True)
        pause(storage, True)
        assert state(storage) == before._replace(paused=True)
        delete(storage, record)
        assert names(storage) == ["t"], "what is paused is not forgotten"
        pause(storage, False)
        assert names(storage) == []

    def test_a_topic_that_is_paused_needs_no_job(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        pause(storage, True)
        paused = counters(storage)
        assert (paused.paused, list(paused.now)) == (True, [0] * len(Ordering))
        add(storage, request())
        pause(storage, False)
        resumed = counters(storage)
        assert (resumed.paused, resumed.now[Ordering.READY]) == (False, 1)


RANKS = [
    *((0, FOREVER), (0, 2), (1, 5), (0, FOREVER - 1), (3, FOREVER), (1, 4)),
    *((0, 2**32), (0, 2**31), (2, 3), (0, 255), (0, 256), (HIGHEST, 9)),
]
"""(major, minor), not sorted; the orderings that know no major have the minor alone."""
KEPT = policy_of(JobOptions(keep_done=1e-9, keep_canceled=1e-9, keep_dead=1e-9))
"""Kept for a nanosecond: the rank of a finished job is one more than when it finished."""


def ranked(job: Record, ordering: Ordering, major: int, minor: int) -> Record:
    """The job in an ordering, with this rank as far as the ordering has one."""
    ready = job._replace(
        status=Status.READY, cancel_reason=None, finished_at=0, policy=KEPT, priority=major, run_at=minor
    )
    held = lifecycle.reserve(ready, Now(0, 0, abs(major)), minor)
    end = Now(minor - 1, 0)
    if ordering is Ordering.READY:
        return ready
    if ordering is Ordering.DELAYED:
        return ready._replace(status=Status.DELAYED)
    if ordering is Ordering.RESERVED:
        return held
    if ordering is Ordering.DONE:
        return lifecycle.done(held, end)
    if ordering is Ordering.CANCELED:
        return lifecycle.cancel(ready, end)
    return lifecycle.reject(held, end, CancelReason.REJECTED)


def page(storage: Storage, after: Place, n: int) -> list[Place]:
    """The places behind one, in its ordering."""
    return storage.view(lambda uow: uow.topics.page(after.topic, after.ordering, after, n))


def due(storage: Storage, ordering: Ordering, until: Rank, n: int = 1_000) -> list[Place]:
    """The places of an ordering up to a rank."""
    return storage.view(lambda uow: uow.topics.due("t", ordering, until, n))


def names(storage: Storage) -> list[str]:
    """The topics in use."""
    return storage.view(lambda uow: uow.topics.names())


def state(storage: Storage, topic: str = "t") -> TopicState | None:
    """The counters of a topic."""
    return storage.view(lambda uow: uow.topics.state(topic))


def counters(storage: Storage, topic: str = "t") -> TopicState:
    """The counters of a topic that there is."""
    found = state(storage, topic)
    assert found is not None
    return found


def tally_all(storage: Storage, number: int) -> None:
    """Add to every total and instant of topic t."""
    tally = Tally()
    tally.totals = [number * (total + 1) for total in Total]
    tally.enqueued_at, tally.reserved_at = 100 * number, 1_000 * number
    storage.transact(lambda uow: uow.topics.tally("t", tally))


def pause(storage: Storage, paused: bool) -> None:
    """Pause topic t, or resume it."""
    storage.transact(lambda uow: uow.topics.pause("t", paused))
