"""The contract of `transact`: all or nothing, one body after the other."""

from __future__ import annotations

from typing import Any

import pytest

from jobq import lifecycle
from jobq.draft import Draft, commit
from jobq.errors import ServiceClosed
from jobq.model.records import Record
from jobq.ports import Storage, UnitOfWork
from jobq.testing.clock import ManualClock
from jobq.testing.contract.scenes import OpenStorage, add, draft_new, get, in_threads, payloads, request
from jobq.testing.invariants import check_invariants, dump


class TransactionsContract:
    """`transact` applies all that a body wrote, or nothing; `close` ends it."""

    def test_a_body_gives_back_what_it_returns(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        answer = object()
        assert storage.transact(lambda _: answer) is answer
        assert storage.view(lambda _: answer) is answer

    def test_a_new_storage_is_empty(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        assert dump(storage)["records"] == []
        assert storage.view(lambda uow: uow.topics.names()) == []

    def test_the_time_is_that_of_the_clock(self, open_storage: OpenStorage, clock: ManualClock) -> None:
        storage = open_storage()
        for seconds in (0, 1.5, 3600):
            clock.advance(seconds)
            for run in (storage.transact, storage.view):
                now: Any = run(lambda uow: uow.now)
                assert (now.wall, now.steady) == (clock.wall(), clock.steady())

    def test_what_a_body_wrote_stays(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, request(payload=b"one"), request("u", payload=b"two"))
        assert get(storage, *(record.id for record in records)) == records
        assert payloads(storage, *records) == [b"one", b"two"]
        check_invariants(storage)

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_a_body_that_raises_leaves_nothing(self, open_storage: OpenStorage, error: type[BaseException]) -> None:
        storage = open_storage()
        ready, held, done = a_queue(storage)
        before = dump(storage)

        def body(uow: UnitOfWork) -> None:
            write_everything(uow, ready, held, done)
            raise error("after all was written")

        with pytest.raises(error, match="after all was written"):
            storage.transact(body)
        assert dump(storage) == before

        storage.transact(lambda uow: write_everything(uow, ready, held, done))
        assert dump(storage) != before
        check_invariants(storage)

    def test_a_view_that_raises_leaves_the_storage_usable(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        with pytest.raises(ZeroDivisionError):
            storage.view(lambda _: 1 / 0)
        [record] = add(storage, request())
        assert get(storage, record.id) == [record]

    def test_a_body_that_raises_spoils_nothing_for_other_threads(self, open_storage: OpenStorage) -> None:
        storage = open_storage()

        def work(thread: int) -> list[Record]:
            kept = []
            for number in range(20):
                if number % 2:
                    kept += add(storage, request(payload=b"%d %d" % (thread, number)))
                else:
                    with pytest.raises(ZeroDivisionError):
                        commit(storage, lambda draft: (draft_new(draft, request("bad")), 1 / 0))
            return kept

        kept = [record for records in in_threads(4, work) for record in records]
        assert dump(storage)["records"] == sorted(kept)
        assert len(set(payloads(storage, *kept))) == 40
        check_invariants(storage)

    def test_threads_that_read_and_write_one_job_lose_no_update(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [counter] = add(storage, request(payload=b"0"))

        def count(_: int) -> None:
            for _ in range(25):
                storage.transact(one_more)

        def one_more(uow: UnitOfWork) -> None:
            [payload] = uow.jobs.payloads([counter.id])
            uow.jobs.put_payload(counter.id, b"%d" % (int(payload) + 1))

        in_threads(4, count)
        assert payloads(storage, counter) == [b"100"]

    def test_what_is_committed_is_told(self, open_storage: OpenStorage) -> None:
        """`when_committed` gets what the body returned, if that was committed."""
        storage = open_storage()
        told: list[object] = []
        assert storage.transact(lambda _: "result", when_committed=told.append) == "result"
        with pytest.raises(ZeroDivisionError):
            storage.transact(lambda _: 1 / 0, when_committed=told.append)
        assert told == ["result"]

    def test_closed_it_says_so(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        storage.close()
        storage.close()
        for call in (storage.transact, storage.view):
            with pytest.raises(ServiceClosed):
                call(lambda uow: uow.topics.names())


def a_queue(storage: Storage) -> tuple[Record, Record, Record]:
    """A Ready, a Reserved and a Done job, all with unique keys."""
    ready, held, done = add(storage, *(request(payload=key.encode(), unique_key=key) for key in ("a", "b", "c")))

    def verb(draft: Draft) -> tuple[Record, Record]:
        taken = lifecycle.reserve(held, draft.now)
        finished = lifecycle.done(lifecycle.reserve(done, draft.now), draft.now)
        draft.change(held, taken)
        draft.change(done, finished)
        return taken, finished

    return (ready, *commit(storage, verb))


def write_everything(uow: UnitOfWork, ready: Record, held: Record, done: Record) -> None:
    """Write to the jobs of `a_queue` in every way there is."""
    draft = Draft(uow)
    draft_new(draft, request(payload=b"new", unique_key="new"), request("other"))
    draft.change(ready, lifecycle.cancel(ready, draft.now, "enough"))
    draft.replace_payload(ready.id, b"changed")
    draft.delete(held)
    draft.discard([lifecycle.place_of(done)])
    draft.write()
    uow.topics.pause("paused", True)
