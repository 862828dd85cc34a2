"""The log of a job: lines that its holder adds, and one for each change of its status if the job's options say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from jobq import (
    Done,
    Job,
    JobLog,
    JobNotFound,
    JobOptions,
    JobService,
    LeaseLost,
    Limits,
    LogLine,
    NewJob,
    Reject,
    Release,
    Retry,
)
from jobq.model.records import Log
from jobq.repos import Storage
from jobq.repos.lmdb import LmdbStorage
from tests.clocks import ManualClock
from tests.conftest import OpenService, OpenStorage
from tests.contract.refusing import refused
from tests.contract.scenes import STATES, given, put, take, unchanged


def said(svc: JobService, job_id: int) -> list[str]:
    """What the lines of a job's log say."""
    return [line.message for line in svc.logs(job_id)]


def kept(storage: Storage, job_id: int) -> int:
    """How many lines a storage holds under an id, be there such a job or not."""
    return len(storage.view(lambda uow: uow.jobs.logs(job_id)).entries)


# -- the lines ---------------------------------------------------------------------------------------------------------


def test_a_new_job_has_no_lines(svc: JobService) -> None:
    job = given(svc)
    assert svc.logs(job.id) == JobLog((), 0)
    assert (list(svc.logs(job.id)), len(svc.logs(job.id)), svc.logs(job.id).dropped) == ([], 0, 0)


def test_the_holder_adds_lines_the_oldest_first(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    begun = clock.now()
    job.log("begun")
    clock.advance(2.5)
    job.log("half done")
    job.log("done")
    log = svc.logs(job.id)
    assert list(log) == [
        LogLine(begun, "begun"),
        LogLine(clock.now(), "half done"),
        LogLine(clock.now(), "done"),
    ]
    assert (log[0].message, log[-1].message, len(log), log.dropped) == ("begun", "done", 3, 0)
    assert log[1:] == tuple(log)[1:]
    assert log[0].at.utcoffset() is not None


def test_a_log_and_its_lines_are_frozen(svc: JobService) -> None:
    job = given(svc)
    job.log("one")
    log = svc.logs(job.id)
    with pytest.raises(FrozenInstanceError):
        log.dropped = 1  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        log[0].message = "other"  # type: ignore[misc]
    job.log("two")
    assert len(log) == 1
    with pytest.raises(IndexError):
        log[1]


@pytest.mark.parametrize("message", ["", " ", "größe 数 🙂", "two\nlines", "nul \0 inside", "x" * 2_000, "ü" * 2_000])
def test_a_message_is_kept_as_it_is(svc: JobService, message: str) -> None:
    job = given(svc)
    job.log(message)
    assert said(svc, job.id) == [message]


def test_a_long_message_is_cut(svc: JobService) -> None:
    job = given(svc)
    job.log("ü" * 1_999 + "xy")
    assert said(svc, job.id) == ["ü" * 1_999 + "x"]


def test_what_utf_8_cannot_say_is_escaped(svc: JobService) -> None:
    job = given(svc)
    job.log("lone \ud800")
    assert said(svc, job.id) == ["lone \\ud800"]


@pytest.mark.parametrize("message", [None, 5, b"bytes", ["text"], ValueError("bad")])
def test_a_message_is_text(full: JobService, message: Any) -> None:
    job = given(full)
    kind = type(message).__name__
    refused(full, TypeError, f"a message for the log must be a str, not {kind}", lambda: job.log(message))
    assert len(full.logs(job.id)) == 0


def test_a_line_changes_nothing_else(svc: JobService) -> None:
    job = given(svc)
    with unchanged(svc):
        job.log("only this")
    assert not job.settled


def test_each_job_has_its_own_log(svc: JobService) -> None:
    first, second, third = given(svc), given(svc), given(svc)
    for n in range(3):
        third.log(f"third {n}")
        first.log(f"first {n}")
    assert said(svc, first.id) == ["first 0", "first 1", "first 2"]
    assert said(svc, second.id) == []
    assert said(svc, third.id) == ["third 0", "third 1", "third 2"]


def test_attempts_share_a_log(svc: JobService) -> None:
    job = given(svc)
    job.log("first attempt")
    job.retry(0)
    again = take(svc)
    again.log("second attempt")
    again.done()
    svc.reset(job.id)
    take(svc).log("third attempt")
    assert said(svc, job.id) == ["first attempt", "second attempt", "third attempt"]


def test_lines_are_there_whatever_becomes_of_the_job(svc: JobService) -> None:
    jobs = [given(svc) for _ in range(3)]
    for job in jobs:
        job.log("seen")
    svc.exchange([(jobs[0], Done()), (jobs[1], Reject()), (jobs[2], Release())])
    assert [said(svc, job.id) for job in jobs] == [["seen"]] * 3


def test_lines_stand_in_the_order_they_were_added_though_the_wall_clock_is_set_back(
    svc: JobService, clock: ManualClock
) -> None:
    job = given(svc)
    job.log("first")
    clock.step_wall(-3600)
    job.log("second")
    log = svc.logs(job.id)
    assert [line.message for line in log] == ["first", "second"]
    assert log[1].at == clock.now() < log[0].at


def test_another_service_sees_the_lines(svc: JobService, open_service: OpenService) -> None:
    job = given(svc)
    job.log("here")
    assert said(open_service(), job.id) == ["here"]


@pytest.mark.parametrize("job_id", [0, -1, 99, 10**30])
def test_a_job_that_is_not_there_has_no_log(svc: JobService, job_id: int) -> None:
    given(svc).log("of another")
    with pytest.raises(JobNotFound) as e:
        svc.logs(job_id)
    assert e.value.ids == [job_id]


@pytest.mark.parametrize("job_id", [True, "1", 1.0, None])
def test_an_id_is_an_int(full: JobService, job_id: Any) -> None:
    refused(full, TypeError, "a job id must be an int, not ", lambda: full.logs(job_id))


# -- whose they are ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["done", "retry", "release", "reject", "cancel"])
def test_who_settled_a_job_adds_no_more(svc: JobService, verb: str) -> None:
    job = given(svc)
    getattr(job, verb)()
    with unchanged(svc), pytest.raises(LeaseLost) as e:
        job.log("late")
    assert e.value.jobs == [job]
    assert said(svc, job.id) == []


def test_who_lost_a_job_adds_no_more(svc: JobService, clock: ManualClock) -> None:
    lost = given(svc, lease=10)
    clock.advance(10)
    lost.log("late, but nobody has reclaimed it")
    again = take(svc)
    with pytest.raises(LeaseLost):
        lost.log("too late")
    again.log("mine")
    assert said(svc, lost.id) == ["late, but nobody has reclaimed it", "mine"]


def test_who_had_a_job_that_is_gone_adds_no_more(svc: JobService) -> None:
    job = given(svc)
    svc.cancel(job.id)
    with pytest.raises(LeaseLost):
        job.log("late")
    svc.delete(job.id)
    with pytest.raises(LeaseLost):
        job.log("too late")


# -- the newest hundred ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "dropped"), [(99, 0), (100, 0), (101, 1), (100 + 156, 156)])
def test_the_newest_hundred_are_kept_and_the_others_counted(svc: JobService, count: int, dropped: int) -> None:
    before, job, after = given(svc), given(svc), given(svc)
    before.log("before")
    after.log("after")
    for n in range(count):
        job.log(str(n))
    log = svc.logs(job.id)
    assert [line.message for line in log] == [str(n) for n in range(dropped, count)]
    assert log.dropped == dropped
    assert (said(svc, before.id), said(svc, after.id)) == (["before"], ["after"])


def test_the_count_of_dropped_lines_goes_on(svc: JobService, open_service: OpenService) -> None:
    job = given(svc)
    for n in range(110):
        job.log(str(n))
    other = open_service()
    job.retry(0)
    again = take(other)
    for n in range(110, 120):
        again.log(str(n))
    log = svc.logs(job.id)
    assert (log.dropped, log[0].message, log[-1].message, len(log)) == (20, "20", "119", 100)


def test_changes_of_status_and_lines_count_together(svc: JobService) -> None:
    job = given(svc, log_status_change=True)
    for n in range(99):
        job.log(str(n))
    job.done()
    log = svc.logs(job.id)
    assert (log.dropped, log[0].message, log[1].message, log[-1].message) == (
        2,
        "0",
        "1",
        "reserved -> done",
    )


# -- deletion ----------------------------------------------------------------------------------------------------------


def with_lines(svc: JobService, **options: Any) -> Job:
    """A reserved job with more lines than are kept, between two others with lines that have to stay."""
    neighbours = [given(svc, topic="neighbours"), given(svc, **options), given(svc, topic="neighbours")]
    for job in neighbours:
        for n in range(105 if job is neighbours[1] else 2):
            job.log(str(n))
    return neighbours[1]


def delete(svc: JobService, job: Job, clock: ManualClock) -> None:
    job.done()
    svc.delete(job.id)


def retire(svc: JobService, job: Job, clock: ManualClock) -> None:
    job.done()
    clock.advance(10)
    svc.reserve("t")


def prune(svc: JobService, job: Job, clock: ManualClock) -> None:
    job.done()
    clock.advance(10)
    assert svc.prune() == 1


def prune_before(svc: JobService, job: Job, clock: ManualClock) -> None:
    job.done()
    assert svc.prune(clock.after(1), topic="t") == 1


def cancel(svc: JobService, job: Job, clock: ManualClock) -> None:
    svc.cancel(job.id)


def die(svc: JobService, job: Job, clock: ManualClock) -> None:
    clock.advance(5)
    svc.reserve("t")


@pytest.mark.parametrize(
    ("end", "options"),
    [
        (delete, {}),
        (retire, {"keep_done": 10}),
        (prune, {"keep_done": 10}),
        (prune_before, {}),
        (lambda svc, job, clock: job.done(), {"keep_done": 0}),
        (lambda svc, job, clock: job.reject(), {"keep_dead": 0}),
        (cancel, {"keep_canceled": 0}),
        (die, {"lease": 5, "max_retries": 0, "keep_dead": 0}),
    ],
    ids=["delete", "retire", "prune", "prune before", "keep_done=0", "keep_dead=0", "keep_canceled=0", "expire"],
)
@pytest.mark.parametrize("log_status_change", [False, True])
def test_the_lines_go_with_the_job(
    open_storage: OpenStorage,
    clock: ManualClock,
    end: Callable[[JobService, Job, ManualClock], None],
    options: dict[str, Any],
    log_status_change: bool,
) -> None:
    storage = open_storage()
    svc = JobService(storage)
    job = with_lines(svc, log_status_change=log_status_change, **options)
    assert kept(storage, job.id) == 100
    end(svc, job, clock)
    with pytest.raises(JobNotFound):
        svc.logs(job.id)
    assert kept(storage, job.id) == 0
    assert said(svc, job.id - 1) == said(svc, job.id + 1) == ["0", "1"]


def test_lines_of_done_jobs_beyond_the_limit_go(open_service: OpenService, open_storage: OpenStorage) -> None:
    svc, storage = open_service(limits=Limits(done=1)), open_storage()
    ids = []
    for _ in range(4):
        job = given(svc)
        job.log("seen")
        job.done()
        ids.append(job.id)
    svc.reserve("t")
    assert [kept(storage, job_id) for job_id in ids] == [0, 0, 0, 1]


def test_an_unfinished_job_cannot_be_rid_of_its_lines(full: JobService) -> None:
    job = given(full, topic="u")
    job.log("stays")
    full.prune()
    assert said(full, job.id) == ["stays"]


# -- changes of status -------------------------------------------------------------------------------------------------


@pytest.fixture
def telling(open_service: OpenService) -> JobService:
    """A service whose jobs log each change of their status."""
    return open_service(defaults=JobOptions(log_status_change=True, max_retries=1, min_backoff=10))


def test_by_default_no_change_of_status_is_logged(svc: JobService, clock: ManualClock) -> None:
    ids = [put(svc, state) for state in STATES]
    assert [len(svc.logs(job_id)) for job_id in ids] == [0] * 6


def test_a_life_as_the_log_tells_it(telling: JobService, clock: ManualClock) -> None:
    job_id = telling.enqueue("t", delay=5)
    begun = clock.now()
    clock.advance(5)
    job = take(telling)
    job.log("hello")
    clock.advance(1)
    job.retry()
    clock.advance(10)
    take(telling).done()
    assert [((line.at - begun).total_seconds(), line.message) for line in telling.logs(job_id)] == [
        (0, "new -> delayed"),
        (5, "delayed -> ready"),
        (5, "ready -> reserved (attempt 1)"),
        (5, "hello"),
        (6, "reserved -> delayed (retry 1)"),
        (16, "delayed -> ready"),
        (16, "ready -> reserved (attempt 2)"),
        (16, "reserved -> done"),
    ]


TAKEN = ["new -> ready", "ready -> reserved (attempt 1)"]
AGAIN = "ready -> reserved (attempt 2)"

Change = Callable[[JobService, ManualClock], int]


def settled(**how: Any) -> Change:
    [(verb, arguments)] = how.items()

    def change(svc: JobService, clock: ManualClock) -> int:
        job = given(svc)
        getattr(job, verb)(*arguments)
        return job.id

    return change


def twice(outcome: Callable[[], Retry | Release]) -> Change:
    """Settled and reserved again in one commit."""

    def change(svc: JobService, clock: ManualClock) -> int:
        job = given(svc)
        svc.exchange([(job, outcome())], topics="t")
        return job.id

    return change


def expired(times: int) -> Change:
    def change(svc: JobService, clock: ManualClock) -> int:
        job_id = svc.enqueue("t", lease=5)
        for _ in range(times):
            take(svc)
            clock.advance(5)
        svc.reserve("t")
        return job_id

    return change


def by_id(verb: str, state: str, *arguments: Any) -> Change:
    def change(svc: JobService, clock: ManualClock) -> int:
        job_id = put(svc, state)
        getattr(svc, verb)(job_id, *(clock.after(one) for one in arguments))
        return job_id

    return change


def replaced(delay: float, replacement: float) -> Change:
    def change(svc: JobService, clock: ManualClock) -> int:
        svc.enqueue("t", unique_key="k", delay=delay)
        return svc.enqueue("t", unique_key="k", delay=replacement, on_duplicate="replace")

    return change


def cleared(svc: JobService, clock: ManualClock) -> int:
    job_id = svc.enqueue("t")
    svc.clear("t")
    return job_id


def left_with_an_error(svc: JobService, clock: ManualClock) -> int:
    with given(svc) as job:
        raise ValueError("bad")
    return job.id


def enqueued_and_taken_at_once(svc: JobService, clock: ManualClock) -> int:
    return svc.exchange(enqueue=NewJob("t"), topics="t").ids[0]


CHANGES: dict[str, tuple[Change, list[str]]] = {
    "done": (settled(done=[]), [*TAKEN, "reserved -> done"]),
    "retry": (settled(retry=[]), [*TAKEN, "reserved -> delayed (retry 1)"]),
    "retry at once": (settled(retry=[0]), [*TAKEN, "reserved -> ready (retry 1)"]),
    "release": (settled(release=[]), [*TAKEN, "reserved -> ready"]),
    "release for later": (settled(release=[5]), [*TAKEN, "reserved -> delayed"]),
    "reject": (settled(reject=[]), [*TAKEN, "reserved -> canceled (rejected)"]),
    "cancel by the holder": (settled(cancel=[]), [*TAKEN, "reserved -> canceled (requested)"]),
    "extend": (settled(extend=[50]), TAKEN),
    "an exception": (left_with_an_error, [*TAKEN, "reserved -> delayed (retry 1)"]),
    "release and reserve": (twice(Release), [*TAKEN, "reserved -> ready", AGAIN]),
    "retry and reserve": (twice(lambda: Retry(0)), [*TAKEN, "reserved -> ready (retry 1)", AGAIN]),
    "enqueue and reserve": (enqueued_and_taken_at_once, TAKEN),
    "expire": (expired(1), [*TAKEN, "reserved -> ready (retry 1)", AGAIN]),
    "expire twice": (
        expired(2),
        [*TAKEN, "reserved -> ready (retry 1)", AGAIN, "reserved -> canceled (exhausted)"],
    ),
    "cancel ready": (by_id("cancel", "ready"), ["new -> ready", "ready -> canceled (requested)"]),
    "cancel delayed": (by_id("cancel", "delayed"), ["new -> delayed", "delayed -> canceled (requested)"]),
    "cancel reserved": (by_id("cancel", "reserved"), [*TAKEN, "reserved -> canceled (requested)"]),
    "clear": (cleared, ["new -> ready", "ready -> canceled (requested)"]),
    "put off": (by_id("reschedule", "ready", 5), ["new -> ready", "ready -> delayed"]),
    "reschedule ready to now": (by_id("reschedule", "ready", 0), ["new -> ready"]),
    "put off again": (by_id("reschedule", "delayed", 5), ["new -> delayed"]),
    "bring forward": (by_id("reschedule", "delayed", 0), ["new -> delayed", "delayed -> ready"]),
    "reset delayed": (by_id("reset", "delayed"), ["new -> delayed", "delayed -> ready (reset 1)"]),
    "reset done": (by_id("reset", "done"), [*TAKEN, "reserved -> done", "done -> ready (reset 1)"]),
    "reset dead": (
        by_id("reset", "dead"),
        [*TAKEN, "reserved -> canceled (rejected)", "canceled -> ready (reset 1)"],
    ),
    "replace for later": (replaced(0, 5), ["new -> ready", "ready -> delayed"]),
    "replace for now": (replaced(5, 0), ["new -> delayed", "delayed -> ready"]),
    "replace as delayed": (replaced(5, 9), ["new -> delayed"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_of_status_is_a_line(telling: JobService, clock: ManualClock, name: str) -> None:
    change, messages = CHANGES[name]
    assert said(telling, change(telling, clock)) == messages


def test_a_refused_verb_leaves_no_line(telling: JobService) -> None:
    job = given(telling)
    ready = telling.enqueue("u")
    with pytest.raises(JobNotFound):
        telling.cancel([ready, 99])
    job.done()
    with pytest.raises(LeaseLost):
        job.done()
    assert said(telling, ready) == ["new -> ready"]
    assert said(telling, job.id) == [*TAKEN, "reserved -> done"]


def test_a_replaced_job_keeps_its_lines_and_goes_by_its_new_options(svc: JobService) -> None:
    job = given(svc, unique_key="k")
    job.log("of the first payload")
    job.release(60)
    svc.enqueue("t", unique_key="k", on_duplicate="replace", log_status_change=True)
    again = take(svc)
    again.release(60)
    svc.enqueue("t", unique_key="k", on_duplicate="replace")
    assert said(svc, job.id) == [
        "of the first payload",
        "delayed -> ready",
        "ready -> reserved (attempt 2)",
        "reserved -> delayed",
    ]


def test_a_job_that_is_kept_is_not_touched_by_the_options_of_the_other(svc: JobService) -> None:
    job_id = svc.enqueue("t", unique_key="k")
    svc.enqueue("t", unique_key="k", on_duplicate="keep", log_status_change=True)
    take(svc)
    assert said(svc, job_id) == []


# -- reopening ---------------------------------------------------------------------------------------------------------


def test_a_directory_keeps_the_lines_when_it_is_opened_again(tmp_path: Path, clock: ManualClock) -> None:
    with JobService(LmdbStorage(tmp_path / "jobs", clock=clock)) as first:
        job = given(first, log_status_change=True)
        for n in range(120):
            job.log(f"größe {n}")
        before = first.logs(job.id)
        assert before.dropped == 22
    with JobService(LmdbStorage(tmp_path / "jobs", clock=clock)) as second:
        assert second.logs(job.id) == before
        second.done(job)
        assert second.logs(job.id)[-1] == LogLine(clock.now(), "reserved -> done")
        assert second.logs(job.id).dropped == 23


def test_a_log_that_is_empty_is_so_in_every_storage(open_storage: OpenStorage) -> None:
    storage = open_storage()
    given(JobService(storage))
    assert storage.view(lambda uow: (uow.jobs.logs(1).dropped, list(uow.jobs.logs(1).entries))) == (0, [])
    assert Log() == (0, ())


def test_a_log_equals_a_list_or_tuple_of_its_lines(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    assert svc.logs(job.id) == []
    job.log("one")
    line = LogLine(clock.now(), "one")
    assert svc.logs(job.id) == [line] == svc.logs(job.id)
    assert svc.logs(job.id) == (line,) == svc.logs(job.id)
    assert svc.logs(job.id) == JobLog((line,))
    assert svc.logs(job.id) != JobLog((line,), 1)
    assert svc.logs(job.id) not in ([], [line, line], "one", None)
    with pytest.raises(TypeError, match="unhashable"):
        hash(svc.logs(job.id))
