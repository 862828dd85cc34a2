"""The contract of what `verify` asks for: going through everything, and putting it right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobq import lifecycle
from jobq.errors import ConfigError
from jobq.model.options import JobOptions
from jobq.model.records import Now, Place, Tally, TopicState, policy_of
from jobq.model.status import Ordering, Status
from jobq.ports import Storage, UnitOfWork
from jobq.service import JobService
from jobq.testing.contract.scenes import OpenStorage, add, change, delete, holders, ids, request
from jobq.testing.invariants import all_holds, check_invariants

NOW = Now(10**18, 10**12)
KINDS = ["place lost", "place too many", "place wrong", "key lost", "key kept", "count"]
KEYS = [("a", "k"), ("ab", "k"), ("a", "kk"), ("a", "ünï ☃"), ("b", "x" * 3_000), ("b", "x" * 3_000 + "y")]


class VerifyingContract:
    """Everything can be gone through page by page, and what is wrong can be told and mended."""

    # -- the port

    def test_ids_page_as_jobs_do(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, *[request()] * 9)
        delete(storage, records[4])
        left = ids(records[:4] + records[5:])

        def look(uow: UnitOfWork) -> None:
            for after, n in ((0, 100), (0, 3), (left[2], 3), (records[4].id, 2), (left[-1], 3)):
                assert uow.jobs.ids(after, n) == [job_id for job_id in left if job_id > after][:n]

        storage.view(look)

    def test_keys_page_each_once_with_their_holders(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, *(request(topic, unique_key=key) for topic, key in KEYS))

        def look(uow: UnitOfWork) -> None:
            everything = uow.jobs.holds(None, 100)
            assert {hold.token: (hold.id, hold.topic) for hold in everything} == {
                uow.jobs.token(key): (record.id, key[0]) for key, record in zip(KEYS, records, strict=True)
            }
            assert all(isinstance(hold.label, str) for hold in everything)
            assert uow.jobs.holds(None, 2) == everything[:2]
            for position, hold in enumerate(everything):
                assert uow.jobs.holds(hold, 2) == everything[position + 1 : position + 3]

        storage.view(look)

    def test_keys_page_on_behind_one_that_is_gone(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        add(storage, *(request(topic, unique_key=key) for topic, key in KEYS))
        everything = storage.view(all_holds)
        gone = everything[2]
        storage.transact(lambda uow: uow.jobs.unhold([gone.token]))
        assert storage.view(lambda uow: uow.jobs.holds(gone, 100)) == everything[3:]
        assert storage.view(all_holds) == [hold for hold in everything if hold != gone]

    def test_a_key_is_held_and_given_up_by_order(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request(unique_key="k"))
        storage.transact(lambda uow: uow.jobs.hold(("t", "k"), 777))
        storage.transact(lambda uow: uow.jobs.hold(("t", "other"), record.id))
        assert holders(storage, ("t", "k"), ("t", "other")) == [777, record.id]
        storage.transact(lambda uow: uow.jobs.unhold([uow.jobs.token(("t", "k")), uow.jobs.token(("t", "other"))]))
        assert holders(storage, ("t", "k"), ("t", "other")) == [None, None]
        storage.transact(lambda uow: uow.jobs.hold(("t", "k"), record.id))
        check_invariants(storage, [("t", "k"), ("t", "other")])

    def test_places_are_counted_and_looked_up(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, *[request()] * 3, request("u", delay=10**12), request("w"))
        change(storage, (records[0], lifecycle.reserve(records[0], NOW)))
        places = [lifecycle.place_of(record) for record in records]

        def look(uow: UnitOfWork) -> None:
            assert uow.topics.taken(places) == [False, True, True, True, True]
            assert uow.topics.taken([places[1]._replace(minor=1), places[1]._replace(topic="u")]) == [False, False]
            assert [uow.topics.count("t", ordering) for ordering in Ordering] == [2, 0, 1, 0, 0, 0]
            assert uow.topics.count("u", Ordering.DELAYED) == uow.topics.count("w", Ordering.READY) == 1
            assert uow.topics.count("unknown", Ordering.READY) == 0
            assert uow.topics.used() == ["t", "u", "w"]

        storage.view(look)
        storage.transact(lambda uow: uow.topics.pause("empty", True))
        assert storage.view(lambda uow: uow.topics.used()) == ["t", "u", "w"], "a topic without a place is not used"

    def test_counters_are_replaced(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request())
        before = storage.view(lambda uow: uow.topics.state("t"))
        assert before is not None
        other = TopicState(True, (3, 0, 0, 1, 0, 0), tuple(range(9)), 1, 2, 3, 4)
        storage.transact(lambda uow: uow.topics.put_state("t", other))
        kept = storage.view(lambda uow: uow.topics.state("t"))
        assert kept is not None
        assert (list(kept.now), list(kept.totals), kept.paused, kept[3:]) == (
            *(list(other.now), list(other.totals), True, other[3:]),
        )
        storage.transact(lambda uow: uow.topics.put_state("t", TopicState()))
        assert storage.view(lambda uow: uow.topics.state("t")) is None
        assert storage.view(lambda uow: uow.topics.used()) == ["t"], "its place is still there"
        storage.transact(lambda uow: uow.topics.put_state("t", before))
        assert storage.view(lambda uow: uow.topics.head("t", 5)) == [lifecycle.place_of(record)]
        check_invariants(storage)

    def test_where_everything_can_be_read_nothing_is_set_aside(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        add(storage, request(unique_key="k"))
        assert storage.view(lambda uow: (uow.jobs.problem(1), uow.jobs.quarantined(0, 10))) == ("", [])
        assert storage.view(lambda uow: uow.jobs.lost_policies([policy_of(JobOptions())])) == []
        storage.transact(lambda uow: uow.jobs.restore([]))
        storage.transact(lambda uow: uow.jobs.mend_policies([]))
        check_invariants(storage)

    # -- verify

    def test_a_sound_queue_has_no_differences(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        svc = a_queue(storage)
        assert svc.verify() == svc.verify(repair=True) == []
        check_invariants(storage)

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_broken_is_told_and_mended(self, open_storage: OpenStorage, kind: str) -> None:
        storage = open_storage()
        svc = a_queue(storage)
        storage.transact(BREAKS[kind])
        told = svc.verify()
        assert {difference.kind for difference in told} <= {"place", "unique_key", "count", "topic"}
        assert told
        assert not any(difference.repaired for difference in told)
        assert all(difference.repaired for difference in svc.verify(repair=True))
        assert svc.verify() == []
        check_invariants(storage, [("t", key) for key in ("waits", "done", "nobody's")])

    # -- backup

    def test_a_backup_is_made_or_refused(
        self, open_storage: OpenStorage, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("backup")
        storage = open_storage()
        svc = a_queue(storage)
        try:
            storage.backup(folder / "copy")
        except ConfigError:
            assert list(folder.iterdir()) == []
        else:
            assert [path.name for path in folder.iterdir()] == ["copy"]
        assert svc.enqueue("t")
        check_invariants(storage)


def a_queue(storage: Storage) -> JobService:
    """A queue with jobs in several statuses, two of them with unique keys."""
    svc = JobService(storage)
    svc.enqueue("t", unique_key="done")
    svc.done(svc.reserve("t"))
    svc.enqueue("t", unique_key="waits")
    svc.enqueue("t", delay=60)
    svc.enqueue("u")
    svc.reserve("u")
    return svc


def _lose_place(uow: UnitOfWork) -> None:
    uow.topics.move([(place, None) for place in uow.topics.head("t", 1)])


def _place_nobody(uow: UnitOfWork) -> None:
    uow.topics.move([(None, Place("t", Ordering.READY, 0, 5, 777))])


def _misplace(uow: UnitOfWork) -> None:
    uow.topics.move([(place, place._replace(major=9)) for place in uow.topics.head("t", 1)])


def _lose_key(uow: UnitOfWork) -> None:
    uow.jobs.unhold([uow.jobs.token(("t", "waits"))])


def _keep_key(uow: UnitOfWork) -> None:
    [done] = [job for job in uow.jobs.page(0, 100) if job.status is Status.DONE]
    uow.jobs.hold(("t", "done"), done.id)
    uow.jobs.hold(("t", "nobody's"), 777)


def _miscount(uow: UnitOfWork) -> None:
    tally = Tally()
    tally.now[Ordering.READY] = 3
    uow.topics.tally("t", tally)


BREAKS: dict[str, Callable[[UnitOfWork], None]] = {
    "place lost": _lose_place,
    "place too many": _place_nobody,
    "place wrong": _misplace,
    "key lost": _lose_key,
    "key kept": _keep_key,
    "count": _miscount,
}
"""How something comes to differ from the jobs."""
