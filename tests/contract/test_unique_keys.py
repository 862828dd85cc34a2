"""A unique key is held per topic while its job is unfinished; a second job with it raises, is kept out, or replaces."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobq import DuplicateJob, JobOptions, JobService, NewJob, Status
from tests.clocks import ManualClock
from tests.contract.scenes import given, snapshot, take, unchanged


@pytest.mark.parametrize("state", ["ready", "delayed", "reserved"])
def test_a_held_key_raises(svc: JobService, state: str) -> None:
    holder = svc.enqueue("t", unique_key="k", delay=60 if state == "delayed" else None)
    if state == "reserved":
        take(svc)
    with unchanged(svc), pytest.raises(DuplicateJob, match=f"'k' of topic 't' is held by job {holder}.*{state}") as e:
        svc.enqueue("t", unique_key="k")
    assert e.value.job_id == holder


@pytest.mark.parametrize("state", ["ready", "delayed", "reserved"])
def test_keep_returns_the_holder_and_changes_nothing(svc: JobService, state: str) -> None:
    holder = svc.enqueue("t", payload=b"old", unique_key="k", delay=60 if state == "delayed" else None)
    if state == "reserved":
        take(svc)
    with unchanged(svc):
        assert svc.enqueue("t", 5, b"new", unique_key="k", on_duplicate="keep", delay=99) == holder


def test_replace_gives_a_waiting_holder_all_that_is_new(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, priority=9, payload=b"old", name="old", unique_key="k", min_backoff=60)
    job.retry(error="no route")
    before = svc.get(job.id)
    assert (before.status, before.retry_count) == (Status.DELAYED, 1)
    clock.advance(3)
    replaced = svc.enqueue("t", 1, b"new", name="new", delay=5, unique_key="k", on_duplicate="replace", lease=8)
    assert replaced == job.id
    assert svc.payload(job.id) == b"new"
    assert svc.get(job.id) == replace(
        before, priority=1, name="new", run_at=clock.after(5), retry_count=0, options=JobOptions(lease=8)
    )


def test_replace_makes_a_delayed_holder_ready_and_a_ready_one_delayed(svc: JobService, clock: ManualClock) -> None:
    holder = svc.enqueue("t", delay=60, unique_key="k")
    svc.enqueue("t", unique_key="k", on_duplicate="replace")
    assert (svc.status(holder), svc.get(holder).run_at) == (Status.READY, clock.now())
    svc.enqueue("t", delay=9, unique_key="k", on_duplicate="replace")
    assert (svc.status(holder), svc.get(holder).run_at) == (Status.DELAYED, clock.after(9))


def test_replace_again_and_again_is_a_debounce(svc: JobService, clock: ManualClock) -> None:
    holder = svc.enqueue("t", payload=b"0", delay=5, unique_key="k")
    for number in range(1, 10):
        clock.advance(4)
        svc.enqueue("t", payload=str(number), delay=5, unique_key="k", on_duplicate="replace")
        assert svc.reserve("t") == []
    clock.advance(5)
    job = take(svc)
    assert (job.id, job.text, svc.stats("t").enqueued) == (holder, "9", 1)


def test_replace_of_a_reserved_holder_raises(svc: JobService) -> None:
    job = given(svc, payload=b"old", unique_key="k")
    with unchanged(svc), pytest.raises(DuplicateJob, match="reserved: only a waiting job can be replaced") as e:
        svc.enqueue("t", payload=b"new", unique_key="k", on_duplicate="replace")
    assert e.value.job_id == job.id


def test_keep_and_replace_of_a_free_key_enqueue(svc: JobService) -> None:
    kept = svc.enqueue("t", unique_key="a", on_duplicate="keep")
    replaced = svc.enqueue("t", unique_key="b", on_duplicate="replace")
    assert (svc.lookup("t", "a"), svc.lookup("t", "b")) == (kept, replaced)
    assert kept != replaced


def test_a_key_is_held_per_topic(svc: JobService) -> None:
    one, two = svc.enqueue("t", unique_key="k"), svc.enqueue("u", unique_key="k")
    assert (svc.lookup("t", "k"), svc.lookup("u", "k"), svc.lookup("v", "k")) == (one, two, None)


@pytest.mark.parametrize("key", ["k", "ключ", "k" * 4096, "a\x00b", " "])
def test_any_text_is_a_key(svc: JobService, key: str) -> None:
    holder = svc.enqueue("t", unique_key=key)
    other = svc.enqueue("t", unique_key=key[:-1] + "?")
    assert (svc.lookup("t", key), svc.get(holder).unique_key) == (holder, key)
    assert svc.lookup("t", key[:-1] + "?") == other


def test_long_keys_that_begin_alike_are_different(svc: JobService) -> None:
    first = svc.enqueue("t", unique_key="k" * 4000 + "1")
    second = svc.enqueue("t", unique_key="k" * 4000 + "2")
    assert (svc.lookup("t", "k" * 4000 + "1"), svc.lookup("t", "k" * 4000 + "2")) == (first, second)


def test_done_frees_the_key(svc: JobService) -> None:
    given(svc, unique_key="k").done()
    assert svc.lookup("t", "k") is None
    assert svc.lookup("t", "k") != svc.enqueue("t", unique_key="k") == svc.lookup("t", "k")


def test_cancel_frees_the_key(svc: JobService) -> None:
    first = svc.enqueue("t", unique_key="k")
    svc.cancel(first)
    second = svc.enqueue("t", unique_key="k")
    assert svc.lookup("t", "k") == second != first


def test_reject_frees_the_key(svc: JobService) -> None:
    given(svc, unique_key="k").reject()
    assert svc.lookup("t", "k") is None


def test_running_out_of_retries_frees_the_key(svc: JobService) -> None:
    given(svc, unique_key="k", max_retries=0).retry()
    assert svc.lookup("t", "k") is None


def test_a_deleted_job_frees_no_key_that_another_holds(svc: JobService) -> None:
    first = svc.enqueue("t", unique_key="k")
    svc.cancel(first)
    second = svc.enqueue("t", unique_key="k")
    svc.delete(first)
    assert svc.lookup("t", "k") == second


@pytest.mark.parametrize("verb", ["retry", "release"])
def test_a_job_that_waits_again_still_holds_its_key(svc: JobService, verb: str) -> None:
    job = given(svc, unique_key="k")
    getattr(job, verb)(5)
    assert svc.lookup("t", "k") == job.id


def test_a_job_whose_lease_expired_still_holds_its_key(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, unique_key="k", lease=30)
    clock.advance(31)
    take(svc)
    assert svc.lookup("t", "k") == job.id


def test_reset_takes_the_key_back(svc: JobService) -> None:
    job = given(svc, unique_key="k")
    job.done()
    svc.reset(job.id)
    assert svc.lookup("t", "k") == job.id
    with pytest.raises(DuplicateJob):
        svc.enqueue("t", unique_key="k")


def test_reset_of_a_job_whose_key_is_held_raises_and_changes_none(svc: JobService) -> None:
    other = given(svc, unique_key="other")
    other.done()
    first = given(svc, unique_key="k")
    first.done()
    holder = svc.enqueue("t", unique_key="k")
    with unchanged(svc), pytest.raises(DuplicateJob, match=f"job {first.id} cannot be reset.*job {holder}") as e:
        svc.reset([other.id, first.id])
    assert (e.value.job_id, e.value.ids) == (holder, [first.id])


def test_reset_of_two_jobs_with_one_key_raises(svc: JobService) -> None:
    first = given(svc, unique_key="k")
    first.done()
    second = given(svc, unique_key="k")
    second.done()
    with unchanged(svc), pytest.raises(DuplicateJob) as e:
        svc.reset([first.id, second.id])
    assert (e.value.job_id, e.value.ids) == (first.id, [second.id])


def test_reset_of_a_delayed_job_keeps_its_key(svc: JobService) -> None:
    job_id = svc.enqueue("t", unique_key="k", delay=60)
    svc.reset(job_id)
    assert (svc.lookup("t", "k"), svc.status(job_id)) == (job_id, Status.READY)


# -- within one call ---------------------------------------------------------------------------------------------------


def test_keys_raise_within_one_call(svc: JobService) -> None:
    with unchanged(svc), pytest.raises(DuplicateJob, match="'k'"):
        svc.enqueue_many([NewJob("t", unique_key="k"), NewJob("u"), NewJob("t", unique_key="k")])


def test_keys_are_kept_within_one_call(svc: JobService) -> None:
    ids = svc.enqueue_many(
        [
            NewJob("t", payload=b"1", unique_key="k"),
            NewJob("t", payload=b"2", unique_key="k", on_duplicate="keep"),
            NewJob("u", payload=b"3", unique_key="k"),
        ]
    )
    assert ids[0] == ids[1] != ids[2]
    assert (svc.payload(ids[0]), svc.payload(ids[2]), svc.stats("t").enqueued) == (b"1", b"3", 1)


def test_keys_are_replaced_within_one_call_in_order(svc: JobService, clock: ManualClock) -> None:
    ids = svc.enqueue_many(
        [
            NewJob("t", 9, b"1", unique_key="k", name="one"),
            NewJob("t", 8, b"2", unique_key="k", on_duplicate="replace", name="two", delay=5),
            NewJob("t", 7, b"3", unique_key="k", on_duplicate="keep", name="three"),
        ]
    )
    assert len(set(ids)) == 1
    info = svc.get(ids[0])
    assert (info.priority, info.name, info.status, info.run_at) == (8, "two", Status.DELAYED, clock.after(5))
    assert svc.payload(ids[0]) == b"2"
    assert svc.stats("t").now == {status: int(status is Status.DELAYED) for status in Status}


def test_a_stored_holder_is_replaced_twice_within_one_call(svc: JobService) -> None:
    holder = svc.enqueue("t", payload=b"0", unique_key="k")
    ids = svc.enqueue_many([NewJob("t", payload=str(n), unique_key="k", on_duplicate="replace") for n in (1, 2)])
    assert (ids, svc.payload(holder), svc.stats("t").now[Status.READY]) == ([holder, holder], b"2", 1)


def test_jobs_without_a_key_stand_beside_one_with_a_key(svc: JobService) -> None:
    ids = svc.enqueue_many([NewJob("t"), NewJob("t", unique_key="k"), NewJob("t"), NewJob("t")])
    assert len(set(ids)) == 4
    assert svc.lookup("t", "k") == ids[1]
    assert [job.id for job in svc.reserve("t", 9)] == ids


@pytest.mark.parametrize("on_duplicate", ["keep", "replace"])
def test_jobs_without_a_key_are_never_duplicates(svc: JobService, on_duplicate: str) -> None:
    jobs = [NewJob("t", payload=str(n), on_duplicate=on_duplicate) for n in range(3)]  # type: ignore[arg-type]
    ids = svc.enqueue_many([*jobs, NewJob("t", payload="keyed", unique_key="k")])
    assert [svc.payload(job_id) for job_id in ids] == [b"0", b"1", b"2", b"keyed"]


def test_a_duplicate_leaves_the_ids_of_later_jobs_distinct(svc: JobService) -> None:
    svc.enqueue("t", unique_key="k")
    with pytest.raises(DuplicateJob):
        svc.enqueue_many([NewJob("t", unique_key="a"), NewJob("t", unique_key="k")])
    ids = svc.enqueue_many([NewJob("t", unique_key="a"), NewJob("t", unique_key="b")])
    assert len(set(ids) | {svc.lookup("t", "k")}) == 3
    assert len(snapshot(svc).jobs) == 3
