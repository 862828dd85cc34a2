"""The contract of the logs of jobs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobq import lifecycle
from jobq.draft import Draft, commit
from jobq.model.records import LOG_LINES, Entry, Log, Now, Record
from jobq.ports import Storage, UnitOfWork
from jobq.testing.contract.scenes import OpenStorage, add, change, delete, discard, draft_new, request
from jobq.testing.invariants import check_invariants

MESSAGES = ["begun", "", "two\nlines", "ünï ☃ \U0001f600", "zero\0byte", "x" * 2_000]


class LogsContract:
    """Lines are added to the log of a job, which keeps the newest and goes with its job."""

    def test_a_new_job_has_no_lines(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request())
        assert lines(storage, record) == (0, [])

    def test_lines_are_kept_in_order_as_they_are(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        one, other = add(storage, request(), request())
        write(storage, *(Entry(one.id, at, message) for at, message in enumerate(MESSAGES[:3], 1)))
        write(storage, Entry(other.id, 1, "of the other"))
        write(storage, *(Entry(one.id, at, message) for at, message in enumerate(MESSAGES[3:], 4)))
        assert lines(storage, one) == (0, list(enumerate(MESSAGES, 1)))
        assert lines(storage, other) == (0, [(1, "of the other")])

    def test_the_order_is_that_of_writing_whatever_the_clock_said(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request())
        for at in (2**60, 7, 7, 2**62):
            write(storage, Entry(record.id, at, "line"))
        assert [at for at, _ in lines(storage, record)[1]] == [2**60, 7, 7, 2**62]

    def test_lines_of_several_jobs_in_one_transaction(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [old] = add(storage, request())

        def verb(draft: Draft) -> Record:
            [new] = draft_new(draft, request())
            draft.write()
            draft.uow.jobs.log([Entry(job.id, at, f"{job is new}") for at in (1, 2) for job in (old, new)])
            return new

        new = storage.transact(lambda uow: verb(Draft(uow)))
        assert lines(storage, old) == (0, [(1, "False"), (2, "False")])
        assert lines(storage, new) == (0, [(1, "True"), (2, "True")])

    @pytest.mark.parametrize("before", [0, 3, LOG_LINES + 5])
    @pytest.mark.parametrize("dropped", [0, 4_000])
    def test_a_log_is_replaced_as_a_whole(self, open_storage: OpenStorage, before: int, dropped: int) -> None:
        storage = open_storage()
        record, other = add(storage, request(), request())
        write(storage, *(Entry(one.id, at, "of before") for at in range(before) for one in (record, other)))
        of_other = lines(storage, other)
        messages = MESSAGES if not dropped else (MESSAGES * LOG_LINES)[:LOG_LINES]
        entries = [Entry(record.id, at, message) for at, message in enumerate(messages)]
        storage.transact(lambda uow: uow.jobs.put_log(record.id, Log(dropped, tuple(entries))))
        assert lines(storage, record) == (dropped, list(enumerate(messages)))
        write(storage, Entry(record.id, 7, "one more"))
        assert lines(storage, record) == (
            (0, [*enumerate(messages), (7, "one more")])
            if not dropped
            else (dropped + 1, [*list(enumerate(messages))[1:], (7, "one more")])
        )
        assert lines(storage, other) == of_other

    def test_a_new_job_comes_with_a_log(self, open_storage: OpenStorage) -> None:
        storage = open_storage()

        def body(uow: UnitOfWork) -> Record:
            draft = Draft(uow)
            [record] = draft_new(draft, request())
            draft.write()
            uow.jobs.put_log(record.id, Log(9, (Entry(record.id, 5, "of before"),)))
            return record

        record = storage.transact(body)
        assert lines(storage, record) == (9, [(5, "of before")])
        delete(storage, record)
        assert lines(storage, record) == (0, [])

    @pytest.mark.parametrize("at_once", [1, 7, LOG_LINES + 30])
    def test_the_newest_are_kept_and_the_others_counted(self, open_storage: OpenStorage, at_once: int) -> None:
        storage = open_storage()
        record, other = add(storage, request(), request())
        entries = [Entry(record.id, at, f"line {at}") for at in range(LOG_LINES + 30)]
        write(storage, Entry(other.id, 0, "stays"))
        for begin in range(0, len(entries), at_once):
            write(storage, *entries[begin : begin + at_once])
        dropped, kept = lines(storage, record)
        assert dropped == 30
        assert kept == [(entry.at, entry.message) for entry in entries[30:]]
        assert lines(storage, other) == (0, [(0, "stays")])

    def test_a_change_of_state_leaves_the_log(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request())
        write(storage, Entry(record.id, 1, "line"))
        change(storage, (record, lifecycle.reserve(record, Now(1, 1))))
        assert lines(storage, record) == (0, [(1, "line")])

    @pytest.mark.parametrize("forget", [delete, discard])
    def test_a_log_goes_with_its_job(
        self, open_storage: OpenStorage, forget: Callable[[Storage, Record], None]
    ) -> None:
        storage = open_storage()
        gone, kept = add(storage, request(), request())
        finished = lifecycle.cancel(gone, Now(1, 1))
        change(storage, (gone, finished))
        for record in (gone, kept):
            write(storage, *(Entry(record.id, at, "line") for at in range(3)))
        forget(storage, finished)
        assert len(lines(storage, kept)[1]) == 3
        assert lines(storage, gone) == (0, []), "nothing of it is left"
        check_invariants(storage)

    def test_lines_of_a_body_that_raises_are_not_kept(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request())
        write(storage, Entry(record.id, 1, "before"))

        def verb(draft: Draft) -> None:
            draft.uow.jobs.log([Entry(record.id, 2, "not kept")])
            raise RuntimeError

        with pytest.raises(RuntimeError):
            commit(storage, verb)
        assert lines(storage, record) == (0, [(1, "before")])


def write(storage: Storage, *entries: Entry) -> None:
    """Add lines to logs in one transaction."""
    storage.transact(lambda uow: uow.jobs.log(entries))


def lines(storage: Storage, record: Record) -> tuple[int, list[tuple[int, str]]]:
    """How many lines of a job's log were dropped, and those that are kept."""
    log: Log = storage.view(lambda uow: uow.jobs.logs(record.id))
    assert all(entry.job_id == record.id for entry in log.entries)
    return log.dropped, [(entry.at, entry.message) for entry in log.entries]
