"""verify: whatever differs from the jobs is found, said, left as it is, and mended when that is asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

import pytest

import jobq.verifying
from jobq import Compaction, Difference, JobqError, JobService, NewJob, ServiceClosed, Status, StorageInfo
from jobq.lifecycle import held_key, place_of
from jobq.model.records import Hold, Place, Record, Tally, TopicState, Total
from jobq.model.status import Ordering
from jobq.ports import Clock, Storage, UnitOfWork, Watch
from jobq.testing.invariants import check_invariants, dump
from jobq.verbs import verifying
from tests.clocks import ManualClock
from tests.conftest import OpenStorage
from tests.contract.scenes import STATES, given, put

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "PAGE", 3)


@pytest.fixture
def storage(open_storage: OpenStorage) -> Storage:
    return open_storage()


@pytest.fixture
def svc(storage: Storage, open_storage: OpenStorage) -> JobService:
    """A queue with jobs in every state, of which two wait under a unique key."""
    svc = JobService(open_storage())
    for state in STATES:
        put(svc, state)
        put(svc, state)
    given(svc, "keyed", unique_key="was done").done()
    svc.enqueue("keyed", unique_key="a")
    svc.enqueue("keyed", unique_key="b", delay=60)
    svc.pause("nothing-here")
    return svc


# -- breaking things by hand -------------------------------------------------------------------------------------------


def record(uow: UnitOfWork, status: Status, topic: str | None = None) -> Record:
    """The first job of a status."""
    found = [job for job in uow.jobs.page(0, 100) if job.status is status and job.topic == (topic or status.value)]
    return found[0]


def lose_place(status: str) -> Callable[[UnitOfWork], int]:
    def body(uow: UnitOfWork) -> int:
        job = record(uow, Status("canceled" if status == "dead" else status), status)
        uow.topics.move([(place_of(job), None)])
        return job.id

    return body


def misplace(uow: UnitOfWork) -> int:
    """A delayed job stands where the reserved ones do, in another topic."""
    job = record(uow, Status.DELAYED)
    uow.topics.move([(place_of(job), Place("reserved", Ordering.RESERVED, 1, 2, job.id))])
    return job.id


def misdate(uow: UnitOfWork) -> int:
    job = record(uow, Status.RESERVED)
    place = place_of(job)
    uow.topics.move([(place, place._replace(minor=place.minor + 1))])
    return job.id


def place_twice(uow: UnitOfWork) -> int:
    """Two places for a job; in memory, which has one for each id, the wrong one alone."""
    job = record(uow, Status.DONE)
    uow.topics.move([(None, Place("delayed", Ordering.DELAYED, 0, 5, job.id))])
    return job.id


def place_nobody(uow: UnitOfWork) -> int:
    uow.topics.move([(None, Place("ready", Ordering.READY, 0, 5, 777))])
    return 777


def place_nobody_nowhere(uow: UnitOfWork) -> int:
    uow.topics.move([(None, Place("never-used", Ordering.READY, 0, 5, 777))])
    return 777


def holder(uow: UnitOfWork, key: str) -> int:
    [found] = uow.jobs.by_key([("keyed", key)])
    assert found is not None
    return found


def lose_key(uow: UnitOfWork) -> int:
    uow.jobs.unhold([uow.jobs.token(("keyed", "a"))])
    return holder(uow, "a")


def hold_for_nobody(uow: UnitOfWork) -> int:
    uow.jobs.hold(("keyed", "x" * 1000), 777)
    return 777


def hold_for_a_done_job(uow: UnitOfWork) -> int:
    job = record(uow, Status.DONE, "keyed")
    uow.jobs.hold((job.topic, job.unique_key), job.id)
    return job.id


def hold_a_second_key(uow: UnitOfWork) -> int:
    uow.jobs.hold(("keyed", "c"), holder(uow, "a"))
    return holder(uow, "a")


def hold_for_another(uow: UnitOfWork) -> int:
    uow.jobs.hold(("keyed", "a"), holder(uow, "b"))
    return holder(uow, "a")


def hold_for_one_who_is_gone(uow: UnitOfWork) -> int:
    uow.jobs.hold(("keyed", "a"), 777)
    return holder(uow, "a")


def miscount(uow: UnitOfWork) -> None:
    tally = Tally()
    tally.now[Ordering.READY] = 3
    tally.now[Ordering.DONE] = -1
    uow.topics.tally("ready", tally)


def miscount_to_nothing(uow: UnitOfWork) -> None:
    """With these counters the topic seems to be gone, and is forgotten."""
    tally = Tally()
    tally.now[Ordering.READY] = -2
    uow.topics.tally("ready", tally)


def count_what_is_not(uow: UnitOfWork) -> None:
    uow.topics.put_state("empty", TopicState(now=(0, 0, 1, 0, 0, 0)))


BREAKS: dict[str, tuple[Callable[[UnitOfWork], int | None], str, str]] = {
    **{
        f"no place, {state}": (lose_place(state), "place", "but has no place there") for state in STATES
    },
    "a wrong place": (misplace, "place", "is wrong (reserved in topic 'reserved', (1, 2)): it is delayed in topic"),
    "a wrong deadline": (misdate, "place", "is wrong (reserved in topic 'reserved', ("),
    "a second place": (place_twice, "place", "delayed in topic 'delayed'"),
    "a place for nobody": (place_nobody, "place", "a place says that job 777 is ready in topic 'ready', and there"),
    "a place in no topic": (place_nobody_nowhere, "place", "ready in topic 'never-used', and there is no such job"),
    "a key is not held": (lose_key, "unique_key", "of topic 'keyed' does not hold its unique key 'a'"),
    "a key for nobody": (hold_for_nobody, "unique_key", "is held by job 777, which is not there"),
    "a key of a done job": (hold_for_a_done_job, "unique_key", "the unique key 'was done' of topic 'keyed' is held by"),
    "a second key": (hold_a_second_key, "unique_key", "the unique key 'c' of topic 'keyed' is held by job 14, whose"),
    "another's key": (hold_for_another, "unique_key", "its unique key 'a': it is held by job 15, whose key it is not"),
    "a key of one gone": (hold_for_one_who_is_gone, "unique_key", "it is held by job 777, which is not there"),
    "a wrong count": (miscount, "count", "of topic 'ready' are wrong: ready 5 where there are 2, done -1 where"),
    "a forgotten topic": (miscount_to_nothing, "topic", "topic 'ready' has 2 jobs, but no counters"),
    "a count of nothing": (count_what_is_not, "count", "topic 'empty' are wrong: reserved 1 where there are 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BREAKS)
def test_what_differs_is_found_and_said_and_mended_on_request(svc: JobService, storage: Storage, case: str) -> None:
    breaks, kind, said = BREAKS[case]
    jobs = storage.view(lambda uow: uow.jobs.page(0, 100))
    job_id = storage.transact(breaks)
    found, *recounts = svc.verify()
    assert (found.kind, found.job_id, found.repaired) == (kind, job_id, False)
    assert {recount.kind for recount in recounts} <= {"count", "topic"}, "fewer or more places are another count"
    assert svc.verify() == [found, *recounts], "what is not repaired stays"
    assert said in found.message == str(found)
    [mended] = svc.verify(repair=True)
    assert mended == Difference(found.kind, found.topic, found.job_id, found.message, True)
    assert str(mended) == f"{found.message} (repaired)"
    assert svc.verify() == svc.verify(repair=True) == []
    check_invariants(storage, [("keyed", key) for key in ("a", "b", "c", "was done", "x" * 1000)])
    assert storage.view(lambda uow: uow.jobs.page(0, 100)) == jobs, "the jobs are the truth"


def test_a_sound_queue_has_no_differences_and_is_left_alone(svc: JobService, storage: Storage) -> None:
    before = dump(storage)
    assert svc.verify() == svc.verify(repair=True) == []
    assert dump(storage) == before


def test_an_empty_queue_has_no_differences(open_service: Callable[..., JobService]) -> None:
    assert open_service().verify(repair=True) == []


def test_a_reserved_job_without_a_lease_entry_comes_back(svc: JobService, storage: Storage, clock: ManualClock) -> None:
    """Reserved but with no lease entry, never recovered (asynq)."""
    lost = storage.transact(lose_place("reserved"))
    clock.advance(1_000)
    assert lost not in [job.id for job in svc.reserve("reserved", 10)]
    svc.verify(repair=True)
    assert [job.id for job in svc.reserve("reserved", 10)] == [lost]


def test_of_unfinished_jobs_with_one_key_the_first_keeps_it(svc: JobService, storage: Storage) -> None:
    first, *others = svc.enqueue_many([NewJob("twins", delay=9) for _ in range(5)])

    def share(uow: UnitOfWork) -> None:
        records = [job for job in uow.jobs.get([first, *others]) if job is not None]
        uow.jobs.put([(job, job._replace(unique_key="one")) for job in records])
        uow.jobs.hold(("twins", "one"), others[1])

    storage.transact(share)
    assert {found.kind for found in svc.verify()} == {"unique_key"}
    mended = svc.verify(repair=True)
    assert [found.job_id for found in mended if found.repaired] == [others[1], others[0], *others[2:]]
    assert f"job {first} keeps it, and job {others[1]} goes on without one" in mended[0].message
    assert svc.verify() == []
    assert [svc.get(job_id).unique_key for job_id in (first, *others)] == ["one", None, None, None, None]
    assert svc.lookup("twins", "one") == first
    assert [svc.status(job_id) for job_id in (first, *others)] == ["delayed"] * 5
    check_invariants(storage)


def test_counting_anew_keeps_totals_and_pause(svc: JobService, storage: Storage) -> None:
    svc.pause("ready")
    before = svc.stats("ready")
    storage.transact(miscount)
    svc.verify(repair=True)
    assert svc.stats("ready") == before
    assert before.paused


def test_everything_broken_at_once_is_mended_in_one_go(svc: JobService, storage: Storage) -> None:
    for case in ("no place, done", "a wrong place", "a place in no topic", "another's key", "a count of nothing"):
        storage.transact(BREAKS[case][0])
    assert len({found.job_id for found in svc.verify()}) == 5
    assert all(found.repaired for found in svc.verify(repair=True))
    assert svc.verify() == []
    check_invariants(storage)


def test_more_than_a_page_of_each(open_storage: OpenStorage) -> None:
    storage = open_storage()
    svc = JobService(storage)
    svc.enqueue_many([NewJob(f"t{n % 2}", unique_key=f"{n}") for n in range(20)])
    keys = [(f"t{n % 2}", f"{n}") for n in range(20)]

    def lose_all(uow: UnitOfWork) -> None:
        uow.topics.move([(place_of(job), None) for job in uow.jobs.page(0, 100)])
        uow.jobs.unhold([uow.jobs.token(key) for key in keys])
        for n in range(10):
            uow.jobs.hold(("gone", f"{n}"), 100 + n)
        uow.topics.move([(None, Place("gone", Ordering.DONE, 0, 1, 100 + n)) for n in range(10)])

    storage.transact(lose_all)
    found = svc.verify(repair=True)
    assert len(found) == len({(one.kind, one.job_id) for one in found}) == 60
    assert svc.verify() == []
    check_invariants(storage, keys)


# -- while the queue runs ----------------------------------------------------------------------------------------------


class Interleaved:
    """A storage that lets something else happen between any two of its transactions, and counts those."""

    def __init__(self, storage: Storage, between: Callable[[], object]) -> None:
        self._storage = storage
        self._between = between
        self.views = 0
        self.transactions = 0

    @property
    def url(self) -> str:
        return self._storage.url

    @property
    def identity(self) -> object:
        return self._storage.identity

    @property
    def clock(self) -> Clock:
        return self._storage.clock

    def transact(self, body: Callable[[UnitOfWork], T], *, when_committed: Callable[[T], object] | None = None) -> T:
        self._between()
        self.transactions += 1
        return self._storage.transact(body, when_committed=when_committed)

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        self._between()
        self.views += 1
        return self._storage.view(body)

    def watch(self, topics: Sequence[str], *, finished: bool = False) -> AbstractContextManager[Watch]:
        return self._storage.watch(topics, finished=finished)

    def info(self) -> StorageInfo:
        return self._storage.info()

    def backup(self, path: Any) -> None:
        self._storage.backup(path)

    def compact(self) -> Compaction:
        return self._storage.compact()

    def close(self) -> None:
        self._storage.close()


class Traffic:
    """Verbs drawn at random, of which each call makes one."""

    def __init__(self, svc: JobService, clock: ManualClock, seed: int) -> None:
        self.svc, self.clock, self.chance = svc, clock, random.Random(seed)

    def __call__(self) -> None:
        svc, chance = self.svc, self.chance
        topic = chance.choice(["a", "b", "c"])
        verb = chance.choice(["enqueue", "enqueue", "reserve", "settle", "settle", "cancel", "reset", "clear", "pass"])
        with suppress(JobqError):
            if verb == "enqueue":
                keys = [None, *"xyz"]
                svc.enqueue(topic, chance.randrange(3), delay=chance.choice([0, 5]), unique_key=chance.choice(keys))
            elif verb == "reserve":
                svc.reserve(["a", "b", "c"], chance.randrange(1, 4), lease=10)
            elif verb == "settle":
                for job in svc.reserve(topic):
                    getattr(job, chance.choice(["done", "retry", "release", "reject"]))()
            elif verb == "cancel":
                svc.cancel([info.id for info in svc.find("ready", topic=topic)][:2])
            elif verb == "reset":
                svc.reset([info.id for info in svc.find(chance.choice(["done", "canceled"]), topic=topic)][:2])
            elif verb == "clear":
                svc.prune(self.clock.now(), topic=topic)
            else:
                self.clock.advance(chance.choice([1, 20]))


@pytest.mark.parametrize("repair", [False, True])
def test_verbs_between_the_steps_are_no_differences(
    open_storage: OpenStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, repair: bool
) -> None:
    monkeypatch.setattr(verifying, "PAGE", 2)
    storage = open_storage()
    traffic = Traffic(JobService(open_storage()), clock, seed=7)
    for _ in range(60):
        traffic()
    interleaved = Interleaved(storage, traffic)
    svc = JobService(interleaved)
    for _ in range(12):
        assert svc.verify(repair) == []
    assert interleaved.views > 200
    assert interleaved.transactions == 0, "a repair of nothing holds up nobody"
    check_invariants(storage)


class PutRightFirst(Interleaved):
    """What was found in a view is put right by somebody else before the transaction that is to mend it."""

    def transact(self, body: Callable[[UnitOfWork], T], *, when_committed: Callable[[T], object] | None = None) -> T:
        self._between()
        return self._storage.transact(body, when_committed=when_committed)

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        return self._storage.view(body)


def test_what_was_put_right_before_it_could_be_mended_is_not_mended_twice(
    svc: JobService, open_storage: OpenStorage, storage: Storage
) -> None:
    job_id = storage.transact(misplace)
    assert svc.verify()[0].job_id == job_id
    racing = PutRightFirst(open_storage(), lambda: svc.verify(repair=True))
    assert JobService(racing).verify(repair=True) == []
    check_invariants(storage)


def test_a_difference_is_told_from_traffic(open_storage: OpenStorage, clock: ManualClock) -> None:
    storage = open_storage()
    traffic = Traffic(JobService(open_storage()), clock, seed=3)
    for _ in range(40):
        traffic()
    lost = traffic.svc.enqueue("ready")
    storage.transact(lose_place("ready"))
    svc = JobService(Interleaved(storage, traffic))
    assert [(found.kind, found.job_id) for found in svc.verify()] == [("place", lost), ("count", None)]
    assert {found.topic for found in svc.verify()} == {"ready"}
    assert {found.topic for found in svc.verify(repair=True)} == {"ready"}
    assert svc.verify() == []


def test_a_large_topic_is_counted_in_a_transaction_and_others_in_views(
    svc: JobService, storage: Storage, open_storage: OpenStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobq.verifying, "LARGE", 4)
    svc.enqueue_many([NewJob("large") for _ in range(5)])
    interleaved = Interleaved(open_storage(), lambda: None)
    assert JobService(interleaved).verify() == []
    assert interleaved.transactions == 1
    tally = Tally()
    tally.now[Ordering.READY] = tally.totals[Total.DONE] = 1
    storage.transact(lambda uow: uow.topics.tally("large", tally))
    assert [found.kind for found in svc.verify()] == ["count"]
    assert [found.repaired for found in svc.verify(repair=True)] == [True]
    assert svc.stats("large").now[Status.READY] == 5
    assert svc.stats("large").done == 1


# -- bad calls ---------------------------------------------------------------------------------------------------------


def test_repair_is_a_flag(svc: JobService) -> None:
    with pytest.raises(TypeError, match="repair must be True or False, not str"):
        svc.verify(repair="no")  # type: ignore[arg-type]


def test_a_closed_service_verifies_nothing(svc: JobService) -> None:
    svc.close()
    with pytest.raises(ServiceClosed):
        svc.verify()


def test_keys_page_in_one_order(svc: JobService, storage: Storage) -> None:
    """All held keys are seen, each once, whatever their length."""
    svc.enqueue_many([NewJob(f"k{n % 3}", unique_key=f"{n}" * (1 if n % 2 else 300)) for n in range(9)])

    def all_holds(uow: UnitOfWork) -> list[Hold]:
        found: list[Hold] = []
        while page := uow.jobs.holds(found[-1] if found else None, 2):
            found += page
        return found

    holds = storage.view(all_holds)
    assert len({hold.token for hold in holds}) == len(holds) == 11
    records = storage.view(lambda uow: uow.jobs.get([hold.id for hold in holds]))
    expected = storage.view(lambda uow: [uow.jobs.token(held_key(job) or ("", "")) for job in records if job])
    assert [hold.token for hold in holds] == expected
