"""The contract of the JobRepository."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from jobq import lifecycle
from jobq.draft import Draft, commit
from jobq.model.options import JobOptions
from jobq.model.records import Now, Record, policy_of
from jobq.model.status import CancelReason
from jobq.model.times import FOREVER, SECOND
from jobq.ports import Storage
from jobq.testing.contract.scenes import (
    OpenStorage,
    add,
    change,
    delete,
    discard,
    draft_new,
    get,
    holders,
    ids,
    in_threads,
    payloads,
    put_payload,
    request,
)
from jobq.testing.invariants import check_invariants

LATER = Now(wall=2_000_000_000 * SECOND, steady=FOREVER - 10**6 * SECOND)
TEXTS = ["x", "two words", "ünï ☃ 漢字 \U0001f600", "zero\0byte", "line\nbreak", "'; DROP TABLE jobs; --", "k" * 255]
PAYLOADS = [b"", b"\0", b"text", bytes(range(256)), "☃".encode(), Random(1).randbytes(100_000)]
ODD_POLICY = policy_of(
    JobOptions(
        lease=0.000_000_001,
        max_retries=None,
        min_backoff=0,
        max_backoff=10**9,
        jitter=0.3,
        keep_done=0,
        keep_canceled=None,
        keep_dead=0.5,
    )
)


class JobsContract:
    """What each job is: ids, records, payloads, unique keys."""

    # -- ids

    def test_ids_are_consecutive_and_never_given_twice(self, open_storage: OpenStorage) -> None:
        storage = open_storage()

        def verb(draft: Draft) -> list[int]:
            return [record.id for count in (1, 5, 2) for record in draft_new(draft, *[request()] * count)]

        first, *rest = given = commit(storage, verb)
        assert first >= 1
        assert given == list(range(first, first + 8)), "ids that one body takes follow each other"
        [newest] = add(storage, request())
        assert newest.id > rest[-1]
        delete(storage, newest)
        assert ids(add(storage, request())) > [newest.id], "the id of a deleted job is not given again"

    def test_ids_that_nothing_was_done_with_are_taken(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        first = storage.transact(lambda uow: uow.jobs.allocate(5))
        assert ids(add(storage, request())) > [first + 4]

    def test_jobs_come_under_ids_that_were_taken_earlier(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        first = storage.transact(lambda uow: uow.jobs.allocate(9))
        for numbers in ([7], [2, 5], [1, 3, 8], [0]):
            add_under(storage, [first + number for number in numbers])
            check_invariants(storage)
        [last] = add(storage, request(payload=b"last"))
        found = page(storage, 0, 100)
        assert ids(found) == [*(first + number for number in (0, 1, 2, 3, 5, 7, 8)), last.id]
        assert payloads(storage, *found) == [*(b"%d" % record.id for record in found[:-1]), b"last"]

    def test_threads_never_get_the_same_id(self, open_storage: OpenStorage) -> None:
        storage = open_storage()

        def work(_: int) -> list[int]:
            return [record.id for _ in range(15) for record in add(storage, request(), request())]

        given = [job_id for some in in_threads(4, work) for job_id in some]
        assert len(set(given)) == len(given) == 120
        check_invariants(storage)

    # -- records

    def test_records_come_in_the_order_asked_for(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        one, two, three = add(storage, request(), request("u"), request())
        delete(storage, two)
        assert get(storage, three.id, one.id, two.id) == [three, one, None]
        assert get(storage) == []

    def test_of_ids_that_never_were_there_is_none(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request())
        assert get(storage, 0, -1, record.id + 1, 2**63 - 1, 2**64, 10**30) == [None] * 6

    @pytest.mark.parametrize("text", TEXTS)
    def test_texts_are_kept_as_they_are(self, open_storage: OpenStorage, text: str) -> None:
        storage = open_storage()
        [old] = add(storage, request(name=text, unique_key=text))
        assert get(storage, old.id) == [old]
        new = old._replace(note=text, last_error=text, result=text.encode())
        change(storage, (old, new))
        assert get(storage, old.id) == [new]

    @pytest.mark.parametrize("headers", [b'{"a":"b"}', b'{"h":"' + b"x" * 3_992 + b'"}'], ids=["short", "longest"])
    def test_headers_are_kept_and_replaced(self, open_storage: OpenStorage, headers: bytes) -> None:
        storage = open_storage()
        old, other = add(storage, request(headers=headers), request())
        assert get(storage, old.id, other.id) == [old, other]
        held = lifecycle.reserve(old, LATER)._replace(last_error="e", result=b"1")
        change(storage, (old, held), (other, other._replace(headers=headers)))
        assert get(storage, old.id, other.id) == [held, other._replace(headers=headers)]
        change(storage, (held, held._replace(headers=b"")))
        assert [job and job.headers for job in get(storage, old.id, other.id)] == [b"", headers]

    @pytest.mark.parametrize(
        "fields",
        [
            {"priority": -(2**15)},
            {"priority": 2**15 - 1},
            {"policy": ODD_POLICY},
            {"attempt": 2**31 - 1, "retry_count": 2**31 - 1, "reset_count": 2**31 - 1},
            {"last_error": "☃" * 10_000, "note": "n" * 2_000, "result": b'"' + b"r" * 100_000 + b'"'},
        ],
        ids=lambda fields: ",".join(fields),
    )
    def test_extreme_fields_are_kept(self, open_storage: OpenStorage, fields: dict[str, Any]) -> None:
        storage = open_storage()
        [old] = add(storage, request())
        new = old._replace(**fields)
        change(storage, (old, new))
        assert get(storage, old.id) == [new]
        check_invariants(storage)

    def test_a_job_is_kept_in_every_state(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        policy = policy_of(JobOptions(max_retries=1, keep_done=None, min_backoff=5))
        job = add(storage, request(priority=-7, name="n", unique_key="k", policy=policy, headers=b"{}"))[0]
        held = lifecycle.reserve(job, LATER)
        retried = lifecycle.retry(held, LATER, None, "again")
        again = lifecycle.reserve(lifecycle.due(retried), LATER)
        exhausted = lifecycle.retry(again, LATER, None, "too often")
        reset = lifecycle.reset(exhausted, LATER)
        done = lifecycle.done(lifecycle.reserve(reset, LATER), LATER, b'{"a":1}')
        canceled = lifecycle.cancel(lifecycle.reset(done, LATER), LATER, "no more")
        rejected = lifecycle.reject(
            lifecycle.reserve(lifecycle.reset(canceled, LATER), LATER), LATER, CancelReason.UNHANDLED
        )
        before = job
        for after in (held, retried, again, exhausted, reset, done, canceled, rejected):
            change(storage, (before, after))
            assert get(storage, job.id) == [after]
            check_invariants(storage, [("t", "k")])
            before = after

    def test_pages_go_through_all_jobs_by_id(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, *(request(topic) for topic in "abc" * 10))
        delete(storage, records[3], records[29])
        kept = [record for record in records if record not in (records[3], records[29])]
        assert page(storage, 0, 1_000) == kept
        assert page(storage, 0, 4) == kept[:4]
        assert page(storage, kept[3].id, 4) == kept[4:8]
        assert page(storage, records[3].id, 2) == kept[3:5], "the id to go on behind may be gone"
        assert page(storage, kept[-1].id, 4) == []

    def test_deleted_jobs_are_gone(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        gone, over, kept = add(storage, *(request(payload=b"p", unique_key=key) for key in ("gone", "over", "kept")))
        finished = lifecycle.cancel(over, LATER)
        change(storage, (over, finished))
        delete(storage, gone)
        discard(storage, finished)
        assert get(storage, gone.id, over.id, kept.id) == [None, None, kept]
        assert holders(storage, ("t", "gone"), ("t", "over"), ("t", "kept")) == [None, None, kept.id]
        assert payloads(storage, kept) == [b"p"]
        check_invariants(storage)

    # -- payloads

    @pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: f"{len(payload)} bytes")
    def test_payloads_are_kept_byte_by_byte(self, open_storage: OpenStorage, payload: bytes) -> None:
        storage = open_storage()
        [record] = add(storage, request(payload=payload))
        [stored] = payloads(storage, record)
        assert (stored, type(stored)) == (payload, bytes)

    def test_payloads_come_in_the_order_asked_for(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, *(request(payload=payload) for payload in PAYLOADS))
        assert payloads(storage, *reversed(records)) == PAYLOADS[::-1]
        assert payloads(storage) == []

    @pytest.mark.parametrize("before", [b"", b"short", b"long" * 3_000])
    @pytest.mark.parametrize("after", [b"", b"other", b"longer" * 3_000])
    def test_a_payload_is_replaced(self, open_storage: OpenStorage, before: bytes, after: bytes) -> None:
        storage = open_storage()
        [record, other] = add(storage, request(payload=before), request(payload=b"other"))
        put_payload(storage, record, after)
        assert payloads(storage, record, other) == [after, b"other"]
        assert get(storage, record.id) == [record]

    def test_a_change_of_state_leaves_the_payload(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [record] = add(storage, request(payload=b"kept"))
        change(storage, (record, lifecycle.reserve(record, LATER)))
        assert payloads(storage, record) == [b"kept"]

    # -- unique keys

    def test_a_key_belongs_to_its_topic(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        one, other = add(storage, request("a", unique_key="k"), request("b", unique_key="k"))
        asked = [("b", "k"), ("a", "k"), ("c", "k"), ("a", "K"), ("a", "")]
        assert holders(storage, *asked) == [other.id, one.id, None, None, None]
        assert holders(storage) == []

    def test_keys_that_look_alike_are_different(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        alike = [
            "k",
            "kk",
            "k\0",
            "K",
            "k ",
            "k\u0301",
            *(end.join(["x" * 2_000] * 2) for end in "ab"),
            "x" * 4_001,
            "\u00e9",
            "e\u0301",
        ]
        records = add(storage, *(request(topic, unique_key=key) for topic in ("a", "ak") for key in alike))
        keys = [(topic, key) for topic in ("a", "ak") for key in alike]
        assert holders(storage, *keys) == ids(records)
        for record in records[::2]:
            delete(storage, record)
        assert holders(storage, *keys) == [None if n % 2 == 0 else record.id for n, record in enumerate(records)]

    def test_a_key_is_held_while_its_job_is_unfinished(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [ready] = add(storage, request(unique_key="k"))
        held = lifecycle.reserve(ready, LATER)
        done = lifecycle.done(held, LATER)
        reset = lifecycle.reset(done, LATER)
        before = ready
        for after, holder in ((held, ready.id), (done, None), (reset, ready.id)):
            change(storage, (before, after))
            assert holders(storage, ("t", "k")) == [holder]
            before = after

    def test_a_key_changes_hands_in_one_transaction(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        [first] = add(storage, request(unique_key="k"))

        def verb(draft: Draft) -> int:
            draft.change(first, lifecycle.cancel(first, draft.now))
            return draft_new(draft, request(unique_key="k"))[0].id

        second = commit(storage, verb)
        assert holders(storage, ("t", "k")) == [second]
        check_invariants(storage)

    @pytest.mark.parametrize("forget", [delete, discard])
    def test_forgetting_a_finished_job_leaves_the_key_to_its_next_holder(
        self, open_storage: OpenStorage, forget: Callable[[Storage, Record], None]
    ) -> None:
        storage = open_storage()
        [first] = add(storage, request(unique_key="k"))
        finished = lifecycle.cancel(first, LATER)
        change(storage, (first, finished))
        [second] = add(storage, request(unique_key="k"))
        forget(storage, finished)
        assert holders(storage, ("t", "k")) == [second.id]

    # -- many

    def test_a_thousand_jobs_in_one_transaction(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        records = add(storage, *(request(payload=b"%d" % number, unique_key=f"{number}") for number in range(1_000)))
        assert get(storage, *ids(records)) == records
        canceled = [lifecycle.cancel(record, LATER) for record in records[::2]]
        change(storage, *zip(records[::2], canceled, strict=True))
        delete(storage, *records[1::4])
        assert page(storage, 0, 10_000) == sorted(canceled + records[3::4])
        check_invariants(storage)


def add_under(storage: Storage, ids: list[int]) -> None:
    """Keep new jobs under these ids in one transaction, each with its id as the payload."""

    def verb(draft: Draft) -> None:
        for job_id in ids:
            draft.add(lifecycle.enqueue(job_id, request(), draft.now), b"%d" % job_id)

    commit(storage, verb)


def page(storage: Storage, after: int, n: int) -> list[Record]:
    """One page of all jobs."""
    return storage.view(lambda uow: uow.jobs.page(after, n))
