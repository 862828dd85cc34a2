"""The verbs, awaited: what they do is tested with JobService, here only that each arrives there and comes back."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import jobq
from jobq import (
    AsyncJob,
    AsyncJobService,
    Cancel,
    CancelReason,
    ConfigError,
    Done,
    DuplicateJob,
    InvalidTopic,
    JobNotFound,
    JobOptions,
    JobService,
    LeaseLost,
    Limits,
    MoveProgress,
    NewJob,
    Reject,
    Release,
    Retry,
    ServiceClosed,
    Status,
)
from jobq.repos import MemoryStorage, open_storage
from tests.aio.conftest import Run, eventually, quiet, threads
from tests.clocks import ManualClock


def test_a_job_through_its_life(asvc: AsyncJobService, clock: ManualClock, run: Run[None]) -> None:
    async def life() -> None:
        id = await asvc.enqueue("mail", 3, "hello", name="greet", unique_key="k", max_retries=2)
        assert await asvc.enqueue_many([NewJob("mail", 1, json={"n": 1}), NewJob("other")]) == [2, 3]
        with pytest.raises(DuplicateJob):
            await asvc.enqueue("mail", unique_key="k")
        assert (await asvc.status(id), await asvc.payload(id), await asvc.lookup("mail", "k")) == (
            "ready",
            b"hello",
            id,
        )
        assert [job.id for job in await asvc.find("ready", topic="mail")] == [2, 1]
        assert await asvc.topics() == ["mail", "other"]
        assert (await asvc.stats("mail")).now[Status.READY] == 2
        assert await asvc.next_due("mail") == clock.now()

        first, second = await asvc.reserve(["mail"], 2, lease=20)
        assert isinstance(first, AsyncJob)
        assert first.json() == {"n": 1}
        assert (second.id, second.topic, second.priority, second.name) == (id, "mail", 3, "greet")
        assert (second.payload, second.text) == (b"hello", "hello")
        assert (second.attempt, second.retry_count, second.retries_left, second.settled) == (1, 0, 2, False)
        assert (second.deadline, second.options.max_retries) == (clock.after(20), 2)
        assert (second.run_at, second.reserved_at) == (clock.now(), clock.now())
        await second.extend(50)
        assert second.deadline == clock.after(50)
        await second.log("half way")
        assert [line.message for line in (await asvc.logs(id)).lines] == ["half way"]
        assert (await second.info()).status == "reserved"
        assert not await second.canceled()
        assert await second.done({"sent": True}, then=NewJob("after")) == [4]
        assert second.settled
        assert (await asvc.get(id)).result == {"sent": True}
        await asvc.retry(first, 10, error="later")
        await asvc.reschedule(first.id, clock.after(30))
        assert (await asvc.get(first.id)).run_at == clock.after(30)
        await asvc.cancel([first.id], "enough")
        await asvc.reset(first.id)
        assert await asvc.clear("mail") == 1
        await asvc.delete(first.id)
        assert await asvc.prune(clock.after(1)) == 1
        await asvc.pause("other")
        assert await asvc.reserve("other") == []
        await asvc.resume("other")
        assert await asvc.verify() == []
        assert (asvc.limits, asvc.clock) == (asvc.sync.limits, clock)

    run(life())


def test_each_way_to_settle(asvc: AsyncJobService, run: Run[None]) -> None:
    async def settle() -> None:
        ids = await asvc.enqueue_many([NewJob("t", name=str(n), min_backoff=0) for n in range(9)])
        jobs = await asvc.reserve("t", 9)
        await jobs[0].retry(60, error="no")
        await jobs[1].release(60)
        await jobs[2].reject("never", reason=CancelReason.UNHANDLED)
        await jobs[3].cancel("not needed")
        await asvc.release(jobs[4], 60)
        await asvc.reject([jobs[5], jobs[6]], "no")
        await asvc.extend(jobs[7:], 5)
        done = await asvc.exchange([(jobs[7], Done("x")), (jobs[8], Retry(60))], enqueue=NewJob("u"), topics=["u"])
        assert ([job.id for job in done.jobs], done.ids, done.lost) == ([10], [10], [])
        found = [str(await asvc.status(id)) for id in ids]
        assert found == ["delayed", "delayed", *["canceled"] * 2, "delayed", *["canceled"] * 2, "done", "delayed"]
        assert [job.id for job in await asvc.dead_letters("t")] == [3, 6, 7]

    run(settle())


def test_with_blocks(asvc: AsyncJobService, run: Run[None]) -> None:
    outcomes: list[BaseException] = [Retry(60), Release(60), Reject("no"), Cancel("off"), ValueError("wrong"), Done(1)]

    async def blocks() -> None:
        await asvc.enqueue_many([NewJob("t") for _ in [*outcomes, 1, 2, 3]])
        for outcome in outcomes:
            [job] = await asvc.reserve("t")
            async with job:
                raise outcome
        async with (await asvc.reserve("t"))[0]:
            pass
        async with (await asvc.reserve("t"))[0] as job:
            await job.done("before")
        with pytest.raises(KeyboardInterrupt):
            async with (await asvc.reserve("t"))[0]:
                raise KeyboardInterrupt
        found = [str(await asvc.status(id)) for id in range(1, 10)]
        assert found == ["delayed", "delayed", "canceled", "canceled", "delayed", "done", "done", "done", "ready"]
        assert "ValueError: wrong" in str((await asvc.get(5)).last_error)
        assert ((await asvc.get(6)).result, (await asvc.get(8)).result) == (1, "before")

    run(blocks())


def test_what_is_lost_is_told_with_its_own_handles(
    asvc: AsyncJobService, clock: ManualClock, run: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    async def lose() -> None:
        await asvc.enqueue_many([NewJob("t"), NewJob("t"), NewJob("t")])
        jobs = await asvc.reserve("t", 3)
        await asvc.cancel([jobs[0].id, jobs[1].id])
        with pytest.raises(LeaseLost) as lost:
            await asvc.done(jobs)
        assert lost.value.jobs == jobs[:2]
        assert {*lost.value.jobs} == {*jobs[:2]}
        assert lost.value.jobs != [job.sync for job in jobs[:2]]
        for verb in (jobs[0].retry, jobs[0].extend, jobs[0].done, jobs[0].cancel):
            with pytest.raises(LeaseLost) as lost:
                await verb()
            assert lost.value.jobs == [jobs[0]]
        assert (await asvc.exchange([(jobs[1], Done())])).lost == [jobs[1]]
        assert await jobs[0].canceled()
        async with jobs[0]:
            pass
        assert "the reservation was lost" in caplog.text

    run(lose())


def test_the_loop(asvc: AsyncJobService, run: Run[None]) -> None:
    async def loop() -> None:
        await asvc.enqueue_many([NewJob("t", payload=str(n)) for n in range(10)])
        seen = []
        async for job in asvc.jobs("t", n=4, timeout=0):
            seen.append(job.text)
            await job.done()
        assert seen == [str(n) for n in range(10)]
        await asvc.enqueue_many([NewJob("t") for _ in range(4)])
        async for job in asvc.jobs("t", n=4):
            await job.done()
            break  # what was reserved and not yet yielded is given back
        await eventually(lambda: asvc.sync.stats("t").now[Status.READY] == 3)

    run(loop())


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda asvc: asvc.enqueue("/"), InvalidTopic),
        (lambda asvc: asvc.enqueue("t", payload={}), TypeError),
        (lambda asvc: asvc.reserve([]), ValueError),
        (lambda asvc: asvc.reserve("t", 0), ValueError),
        (lambda asvc: asvc.reserve("t", timeout="1"), TypeError),
        (lambda asvc: asvc.reserve("t", linger=-1), ValueError),
        (lambda asvc: asvc.reserve("t", lease=0), ValueError),
        (lambda asvc: asvc.exchange(3), TypeError),
        (lambda asvc: asvc.exchange([3]), TypeError),
        (lambda asvc: asvc.exchange([(3, Done())]), TypeError),
        (lambda asvc: asvc.done(3), TypeError),
        (lambda asvc: asvc.done([None]), TypeError),
        (lambda asvc: asvc.get(77), JobNotFound),
        (lambda asvc: asvc.wait_for(77, 1), JobNotFound),
        (lambda asvc: asvc.wait_for("x", 1), TypeError),
        (lambda asvc: asvc.wait_for(1, "x"), TypeError),
        (lambda asvc: asvc.reschedule(1, datetime(2026, 1, 1)), ValueError),
        (lambda asvc: asvc.listen([]).__aenter__(), ValueError),
    ],
)
def test_what_is_wrong_is_refused(
    asvc: AsyncJobService, run: Run[Any], call: Callable[[Any], Any], kind: type[Exception]
) -> None:
    async def refuse() -> None:
        await call(asvc)

    with pytest.raises(kind):
        run(refuse())
    assert asvc.sync.topics() == []


def test_the_loop_refuses_at_once(asvc: AsyncJobService) -> None:
    with pytest.raises(ValueError, match="n must be"):
        asvc.jobs("t", n=0)
    with pytest.raises(TypeError):
        asvc.jobs("t", timeout="x")  # type: ignore[arg-type]


def test_opening(tmp_path: Path, run: Run[None]) -> None:
    pytest.importorskip("lmdb")
    url = f"lmdb:{tmp_path}/jobs"

    async def use() -> None:
        asvc = await jobq.open_async(url, defaults=JobOptions(max_retries=1), limits=Limits(payload=10))
        assert isinstance(asvc, AsyncJobService)
        id = await asvc.enqueue("t")
        assert (await asvc.get(id)).options.max_retries == 1
        await asvc.backup(tmp_path / "copy")
        await asvc.close()
        with pytest.raises(ServiceClosed):
            await asvc.enqueue("t")
        async with jobq.open_async(f"lmdb:{tmp_path}/copy") as copy, await jobq.open_async(url) as again:
            assert (await copy.get(id), await again.payload(id)) == (await again.get(id), b"")
        with pytest.raises(ServiceClosed):
            await copy.topics()
        with pytest.raises(ConfigError):
            await jobq.open_async("nonsense://")
        with pytest.raises(ConfigError):
            async with jobq.open_async(""):
                pass

    run(use())


def test_moving(asvc: AsyncJobService, clock: ManualClock, run: Run[None]) -> None:
    told: list[MoveProgress] = []

    async def move() -> None:
        other = AsyncJobService(JobService(MemoryStorage(clock=clock)))
        await asvc.enqueue_many([NewJob("t"), NewJob("t")])
        assert await asvc.move_to(other, progress=told.append) == MoveProgress(moved=2) == told[-1]
        assert (await asvc.topics(), len(await other.reserve("t", 5))) == ([], 2)
        assert await other.move_to(asvc, take=True) == MoveProgress(moved=2)
        wrong: Any = other.sync
        with pytest.raises(TypeError, match="move_to takes the AsyncJobService to move the jobs to, not JobService"):
            await asvc.move_to(wrong)
        wrong = 1
        with pytest.raises(TypeError, match="progress must be a function or None, not int"):
            await asvc.move_to(other, progress=wrong)

    run(move())


def test_a_move_that_is_cancelled_ends_and_can_be_run_again(
    asvc: AsyncJobService, clock: ManualClock, run: Run[None]
) -> None:
    told: list[MoveProgress] = []

    async def move() -> None:
        other = AsyncJobService(JobService(MemoryStorage(clock=clock)))
        await asvc.enqueue_many([NewJob("t"), NewJob("t")])
        [job] = await asvc.reserve("t")
        moving = asyncio.ensure_future(asvc.move_to(other, progress=told.append))
        waiting = MoveProgress(moved=1, left=1, reserved=1)
        await eventually(lambda: told[-1:] == [waiting] and clock.sleeping.acquire(blocking=False))
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
        clock.advance(1)
        await quiet(asvc)
        assert told[-1] == waiting
        await job.done()
        assert await other.topics() == ["jobq.moves", "t"]
        assert (await asvc.move_to(other)).left == 0
        assert (await other.stats("t")).now[Status.DONE] == 1

    run(move())


def test_opening_that_is_cancelled_leaves_nothing_open(
    tmp_path: Path, run: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, go = threading.Event(), threading.Event()
    real = open_storage

    def slow(url: str) -> Any:
        go.wait()
        storage = real(url)
        real_close = storage.close

        def close() -> None:
            real_close()
            closed.set()

        monkeypatch.setattr(storage, "close", close)
        return storage

    monkeypatch.setattr("jobq.repos.urls.open_storage", slow)

    async def cancelled() -> None:
        task = asyncio.ensure_future(jobq.open_async("memory://"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        await eventually(closed.is_set)

    run(cancelled())


def test_it_refuses_pickling_and_tells_what_it_is(asvc: AsyncJobService, run: Run[None]) -> None:
    with pytest.raises(TypeError, match="open the same URL"):
        pickle.dumps(asvc)
    with pytest.raises(TypeError, match="AsyncJobService takes a JobService, not str"):
        AsyncJobService("memory://")  # type: ignore[arg-type]
    assert repr(asvc).startswith("<AsyncJobService of ")

    async def one() -> None:
        await asvc.enqueue("t", payload="secret", name="it")
        [job] = await asvc.reserve("t")
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(job)
        assert repr(job) == "<AsyncJob 1 'it' of topic 't', attempt 1>"

    run(one())


def test_verbs_do_not_hold_up_the_event_loop(svc: JobService, asvc: AsyncJobService, run: Run[int]) -> None:
    """While another thread is in a transaction, verbs wait for it, and the loop goes on."""
    inside, leave = threading.Event(), threading.Event()

    def hold(uow: object) -> None:
        inside.set()
        leave.wait()

    async def turns() -> int:
        holder = threading.Thread(target=svc._storage.transact, args=[hold])
        holder.start()
        inside.wait()
        count = 0
        verbs = [asyncio.ensure_future(asvc.enqueue("t")) for _ in range(40)]
        for _ in range(1000):
            await asyncio.sleep(0)
            count += not any(verb.done() for verb in verbs)
        leave.set()
        assert sorted(await asyncio.gather(*verbs)) == list(range(1, 41))
        holder.join()
        return count

    assert run(turns()) == 1000


def test_listening(asvc: AsyncJobService, run: Run[None]) -> None:
    async def listen() -> None:
        async with asvc.listen("t") as listener:
            assert await listener.ready_topics() == []
            waiting = asyncio.ensure_future(listener.wait(60))
            await asyncio.sleep(0)
            await asvc.enqueue("t")
            await waiting
            assert await listener.ready_topics() == ["t"]
        async with asvc.listen("u") as listener:
            waiting = asyncio.ensure_future(listener.wait(60))
            await asyncio.sleep(0)
            listener.wake()
            await waiting
            waiting = asyncio.ensure_future(listener.wait(60))
            await eventually(lambda: "jobq-listener_0" in threads())
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await eventually(lambda: "jobq-listener_0" not in threads())

    run(listen())


def test_dates_are_aware(asvc: AsyncJobService, run: Run[None]) -> None:
    async def one() -> None:
        id = await asvc.enqueue("t", run_at=datetime(2030, 1, 1, tzinfo=UTC))
        assert (await asvc.get(id)).run_at.tzinfo is UTC

    run(one())
