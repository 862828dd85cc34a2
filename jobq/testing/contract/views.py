"""The contract of `view`: a consistent snapshot."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from threading import Event

from jobq import lifecycle
from jobq.draft import Draft, commit
from jobq.ports import UnitOfWork
from jobq.testing.contract.scenes import PATIENCE, OpenStorage, add, begin, draft_new, payloads, put_payload, request
from jobq.testing.invariants import all_places, all_records, check_invariants

GRACE = 0.1
"""Seconds of real time that a writer is given to break into a view; a storage may also have it wait."""


class ViewsContract:
    """A view shows one moment, whatever is committed meanwhile."""

    def test_a_view_stays_as_it_began(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        add(storage, *(request(payload=b"p", unique_key=f"{number}") for number in range(20)))
        written = Event()

        def verb(draft: Draft) -> None:
            for record in all_records(draft.uow)[::2]:
                draft.change(record, lifecycle.cancel(record, draft.now))
            draft_new(draft, request("new"))

        def write() -> None:
            commit(storage, verb)
            written.set()

        def look_twice(uow: UnitOfWork) -> Future[None]:
            before = everything(uow)
            writer = begin(write)
            written.wait(GRACE)
            assert everything(uow) == before
            return writer

        storage.view(look_twice).result(PATIENCE)
        assert len(storage.view(all_records)) == 21
        check_invariants(storage)

    def test_no_view_is_torn_by_writers(self, open_storage: OpenStorage) -> None:
        """Each commit finishes a job and enqueues another: who saw half of it would find a place or a key too many."""
        storage = open_storage()
        add(storage, request(unique_key="k"))

        def write() -> None:
            for number in range(60):
                commit(storage, partial(step, number=number))

        writers = [begin(write) for _ in range(2)]
        while not all(writer.done() for writer in writers):
            check_invariants(storage, [("t", "k")])
        for writer in writers:
            writer.result(PATIENCE)
        assert len(storage.view(all_records)) == 121
        check_invariants(storage, [("t", "k")])

    def test_a_view_sees_all_that_was_committed_before_it(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request())
        for number in range(30):
            written = b"%d" % number
            begin(partial(put_payload, storage, record, written)).result(PATIENCE)
            assert payloads(storage, record) == [written]


def everything(uow: UnitOfWork) -> object:
    """All that the test's writer changes."""
    keys = [("t", f"{number}") for number in range(20)]
    return all_records(uow), all_places(uow), uow.jobs.by_key(keys), uow.topics.names(), uow.topics.state("t")


def step(draft: Draft, number: int) -> None:
    """Finish the holder of the key, and enqueue another job, which twice out of three times takes the key."""
    [holder] = draft.holders([("t", "k")])
    if holder is not None:
        [record] = draft.get([holder])
        assert record is not None
        draft.change(record, lifecycle.cancel(record, draft.now))
    draft_new(draft, request("t", b"p", unique_key="k", priority=number % 3) if number % 3 else request("u"))
