"""move_to: all there is arrives as it was, over each pair of storages; and what is refused."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobq import (
    AsyncJobService,
    ConfigError,
    Job,
    JobService,
    LeaseLost,
    Limits,
    MoveProgress,
    NewJob,
    ServiceClosed,
    Status,
    StorageCorrupt,
    Worker,
)
from jobq.draft import Draft, commit
from jobq.repos import MemoryStorage
from jobq.tasks import Schedules, Tasks
from jobq.testing import drain
from jobq.verbs import arriving, leaving, marking
from tests.clocks import PATIENCE, ManualClock
from tests.contract.moves import PAIRS, Pair, fill, is_bare, pairs, settle_differently, world
from tests.contract.scenes import enqueue_named, given, take, unchanged


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Pair]:
    with pairs(request.param, tmp_path, clock) as new:
        yield new()


@pytest.fixture
def source(pair: Pair) -> JobService:
    return JobService(pair.source)


@pytest.fixture
def target(pair: Pair) -> JobService:
    return JobService(pair.target)


@pytest.fixture
def memory(clock: ManualClock) -> tuple[JobService, JobService]:
    """Two queues in memory, for what no storage does otherwise."""
    one, other = (JobService(MemoryStorage(f"{name} {id(clock)}", clock=clock)) for name in ("one", "other"))
    return one, other


# -- what arrives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [2, 1_000])
def test_all_there_is_arrives_as_it_was(
    pair: Pair, clock: ManualClock, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "JOBS", at_once)
    source, target = pair.services()
    fill(source, clock, jobs=9)
    before = world(source)
    assert len(before.seen.jobs) == 17
    assert any(log.dropped for log in before.logs.values())
    assert source.move_to(target) == MoveProgress(moved=17)
    assert world(target) == before
    assert is_bare(source)
    pair.check()


def test_the_jobs_go_on_where_they_are(source: JobService, target: JobService, clock: ManualClock) -> None:
    fill(source, clock, jobs=5)
    source.move_to(target)
    clock.advance(60)
    target.resume("odd")
    assert [job.text for job in target.reserve("plain", 10)] == ["0", "3", "1", "4", "2"]
    assert sorted(len(job.payload) for job in target.reserve("odd", 10)) == [0, 7, 100_000]
    assert target.lookup("odd", "l") is not None
    clock.advance(86_400 * 2)
    assert target.prune() == 2  # Done and Canceled, the dead letter stays


def test_no_id_is_given_again(source: JobService, target: JobService, clock: ManualClock) -> None:
    fill(source, clock)
    last = source.enqueue("t", keep_canceled=0)
    source.cancel(last)
    source.move_to(target)
    assert target.enqueue("t") > last


def test_a_queue_that_was_moved_has_nothing_to_move(source: JobService, target: JobService, clock: ManualClock) -> None:
    fill(source, clock)
    source.move_to(target)
    after = world(target)
    told: list[MoveProgress] = []
    assert source.move_to(target, progress=told.append) == MoveProgress()
    assert told == [MoveProgress()]
    assert world(target) == after


def test_a_queue_can_be_moved_on_and_back(source: JobService, target: JobService, clock: ManualClock) -> None:
    fill(source, clock, jobs=3)
    before = world(source)
    source.move_to(target)
    target.move_to(source)
    assert world(source) == before
    assert is_bare(target)


def test_topics_that_are_paused_go_without_jobs(source: JobService, target: JobService) -> None:
    source.pause("paused")
    source.enqueue("open")
    assert source.move_to(target).moved == 1
    assert (target.topics(), target.stats("paused").paused, target.stats("open").paused) == (
        ["open", "paused"],
        True,
        False,
    )
    assert target.move_to(source).moved == 1
    assert source.stats("paused").paused


def test_totals_go_along_and_go_on(source: JobService, target: JobService, clock: ManualClock) -> None:
    source.enqueue_many([NewJob("t") for _ in range(8)])
    clock.advance(5)
    settle_differently(source, ["t"])
    before = source.stats("t")
    source.move_to(target)
    assert target.stats("t") == before
    clock.advance(5)
    target.enqueue("t")
    after = target.stats("t")
    assert (after.enqueued, after.reserved, after.retried, after.dead) == (9, 8, 2, 2)
    assert (after.first_enqueued_at, after.last_enqueued_at) == (before.first_enqueued_at, clock.now())
    assert after.mean_wait == before.mean_wait == 5


def test_limits_of_the_other_refuse_no_job_that_is_there(pair: Pair, source: JobService) -> None:
    source.enqueue_many([NewJob("t", payload=b"x" * 100) for _ in range(20)])
    source.move_to(JobService(pair.target, limits=Limits(payload=10, depth=1, batch=2, batch_bytes=10, done=0)))
    assert JobService(pair.target).stats("t").now[Status.READY] == 20


def test_schedules_go_along(source: JobService, target: JobService, clock: ManualClock) -> None:
    tasks = Tasks("t")
    tasks.every(60)(tasks.task(name="tick")(lambda: None))
    drain(Worker(source, "elsewhere", tasks=tasks))
    before = Schedules(source).list()
    assert source.move_to(target).moved == 1
    assert (Schedules(target).list(), Schedules(source).list()) == (before, [])
    clock.advance(60)
    drain(Worker(target, "elsewhere", tasks=tasks))
    assert [job.name for job in target.reserve("t", 5)] == ["tick"]


def test_a_schedule_that_a_worker_installs_on_either_side_meanwhile_ticks_once(
    source: JobService, target: JobService, clock: ManualClock
) -> None:
    tasks = Tasks("t")
    tasks.every(60)(tasks.task(name="tick")(lambda: None))
    drain(Worker(source, "elsewhere", tasks=tasks))
    begun: list[JobService] = []

    def begin_again(at: MoveProgress) -> None:
        for svc, moved in ((target, 0), (source, 1)):
            if at.moved == moved and svc not in begun:
                begun.append(svc)
                drain(Worker(svc, "elsewhere", tasks=tasks))

    source.move_to(target, progress=begin_again)
    for tick in range(1, 4):
        clock.advance(60)
        drain(Worker(target, "elsewhere", tasks=tasks))
        assert target.stats("t").enqueued == tick
    assert target.stats("jobq.schedules").now[Status.DELAYED] == 1
    assert len(begun) == 2


def test_batches_end_where_payloads_are_large(
    source: JobService, target: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "SIZE", 1_000_000)
    monkeypatch.setattr(leaving, "CHUNK", 2)
    source.enqueue_many([NewJob("t", payload=bytes([number]) * 400_000) for number in range(12)])
    told: list[MoveProgress] = []
    source.move_to(target, progress=told.append)
    assert [progress.moved for progress in told] == [0, 4, 8, 12, 12]
    assert [target.payload(number + 1)[:1] for number in range(12)] == [bytes([number]) for number in range(12)]


# -- while it runs -----------------------------------------------------------------------------------------------------


def test_nothing_is_reserved_in_either_until_the_end(
    source: JobService, target: JobService, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "JOBS", 3)
    fill(source, clock, jobs=9)
    topics = source.topics()
    moved = []

    def look(at: MoveProgress) -> None:
        if at.left:
            moved.append(at.moved)
            assert source.reserve(topics) == target.reserve(topics) == []

    source.move_to(target, progress=look)
    assert moved == sorted(moved)
    assert len(moved) > 4
    assert len(target.reserve("plain", 20)) == 9


def test_jobs_that_are_enqueued_meanwhile_are_carried_too(
    pair: Pair, source: JobService, target: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "JOBS", 2)
    enqueue_named(source, *"abcdef")

    def more(at: MoveProgress) -> None:
        if at.moved in (2, 6) and source.find("ready", topic=f"new-{at.moved}") == []:
            source.enqueue("t", name="late")
            source.enqueue(f"new-{at.moved}", name="late")

    done = source.move_to(target, progress=more)
    assert done == MoveProgress(moved=10)
    assert (target.topics(), target.stats("t").enqueued) == (["new-2", "new-6", "t"], 8)
    assert not any(target.stats(topic).paused for topic in target.topics())
    assert is_bare(source)
    pair.check()


def test_a_key_that_has_gone_ahead_stays_with_its_job(
    pair: Pair, source: JobService, target: JobService, caplog: pytest.LogCaptureFixture
) -> None:
    first = source.enqueue("t", unique_key="k")
    late: list[int] = []

    def again(at: MoveProgress) -> None:
        if at.moved == 1 and not late:
            late.append(source.enqueue("t", unique_key="k"))

    source.move_to(target, progress=again)
    assert (target.lookup("t", "k"), target.get(late[0]).unique_key) == (first, None)
    assert f"job {late[0]} of topic 't' goes without its unique key 'k'" in caplog.text
    pair.check()


def test_who_enqueues_in_the_other_already_keeps_his_jobs_and_totals(
    pair: Pair, source: JobService, target: JobService
) -> None:
    enqueue_named(source, "old")
    early: list[int] = []

    def switched(at: MoveProgress) -> None:
        if not early:
            early.extend(enqueue_named(target, "new"))

    source.move_to(target, progress=switched)
    assert [job.name for job in target.reserve("t", 9)] == ["old", "new"]
    assert (target.stats("t").enqueued, target.stats("t").reserved) == (2, 2)
    pair.check()


def test_what_holders_enqueue_in_the_source_has_no_id_of_a_job_that_is_new_in_the_other(
    pair: Pair, source: JobService, target: JobService, clock: ManualClock
) -> None:
    job = given(source)
    late: list[int] = []

    def go_on(at: MoveProgress) -> None:
        if at.reserved and not late:
            late.extend(enqueue_named(target, "new"))
            job.done(then=[NewJob("then")])

    assert source.move_to(target, progress=go_on).moved == 2
    assert target.get(late[0]).name == "new"
    assert len(target.reserve("then", 9)) == 1
    pair.check()


def test_jobs_of_both_with_the_same_id_end_the_move_until_one_is_gone(
    pair: Pair, source: JobService, target: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arriving, "AHEAD", 0)
    enqueue_named(source, "first")
    both: list[int] = []

    def enqueue_in_both(at: MoveProgress) -> None:
        if at.moved == 1 and not both:
            both.extend(enqueue_named(source, "of the one") + enqueue_named(target, "of the other"))

    with pytest.raises(ConfigError, match=r"enqueued in both storages .* have the same ids: 3\."):
        source.move_to(target, progress=enqueue_in_both)
    assert both == [3, 3]
    target.cancel(3)
    target.delete(3)
    assert source.move_to(target).moved == 1
    assert [job.name for job in target.reserve("t", 9)] == ["first", "of the one"]
    pair.check()


def test_what_progress_raises_ends_it_and_it_can_be_run_again(
    pair: Pair, source: JobService, target: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "JOBS", 2)
    enqueue_named(source, *"abcdef")
    before = world(source)

    def stop(at: MoveProgress) -> None:
        if at.moved == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.move_to(target, progress=stop)
    assert (source.stats("t").now[Status.READY], target.stats("t").now[Status.READY]) == (2, 4)
    assert source.reserve("t") == target.reserve("t") == []
    pair.check()
    assert source.move_to(target) == MoveProgress(moved=2)
    assert world(target) == before


# -- reserved jobs -----------------------------------------------------------------------------------------------------


def begun(source: JobService, target: JobService, clock: ManualClock) -> tuple[Any, list[MoveProgress]]:
    """A move in a thread that waits for Reserved jobs, and what it has told."""
    told: list[MoveProgress] = []
    is_waiting = threading.Event()

    def tell(at: MoveProgress) -> None:
        told.append(at)
        if at.left == at.reserved > 0:
            is_waiting.set()

    pool = ThreadPoolExecutor(1)
    moving = pool.submit(source.move_to, target, progress=tell)
    pool.shutdown(wait=False)
    assert is_waiting.wait(PATIENCE)
    assert clock.sleeping.acquire(timeout=PATIENCE)
    return moving, told


def by_the_way(clock: ManualClock, moving: Any) -> Any:
    """What the move returns, for which time passes."""
    while not moving.done():
        clock.advance(1)
        threading.Event().wait(0.001)
    return moving.result()


ENDS: dict[str, tuple[Callable[[Job, ManualClock], object], Status]] = {
    "done": (lambda job, _: job.done({"n": 1}), Status.DONE),
    "rejected": (lambda job, _: job.reject("bad"), Status.CANCELED),
    "released": (lambda job, _: job.release(), Status.READY),
    "retried": (lambda job, _: job.retry(600), Status.DELAYED),
    "over": (lambda _, clock: clock.advance(20), Status.READY),
}


@pytest.mark.parametrize("end", ENDS)
def test_reserved_jobs_are_waited_for(
    pair: Pair, source: JobService, target: JobService, clock: ManualClock, end: str
) -> None:
    job = given(source, lease=20, payload="held")
    other = source.enqueue("t")
    moving, told = begun(source, target, clock)
    assert told[-1] == MoveProgress(moved=1, left=1, reserved=1)
    assert (target.status(other), source.status(job.id)) == ("ready", "reserved")
    ENDS[end][0](job, clock)
    assert by_the_way(clock, moving) == MoveProgress(moved=2)
    info = target.get(job.id)
    assert (info.status, info.attempt, target.payload(job.id)) == (ENDS[end][1], 1, b"held")
    assert (info.retry_count, target.stats("t").expired) == {"retried": (1, 0), "over": (1, 1)}.get(end, (0, 0))
    assert is_bare(source)
    pair.check()


def test_it_sleeps_while_it_waits_even_if_somebody_resumes_the_topic_of_its_mark(
    source: JobService, target: JobService, clock: ManualClock
) -> None:
    job = given(source)
    looks: list[MoveProgress] = []

    def resume(at: MoveProgress) -> None:
        source.resume(marking.TOPIC)
        looks.append(at)
        assert len(looks) < 20, "it looks again and again"

    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(source.move_to, target, progress=resume)
        moving.add_done_callback(lambda _: clock.sleeping.release())  # lest this waits in vain
        assert clock.sleeping.acquire(timeout=PATIENCE)
        job.done()
        assert moving.result(PATIENCE).moved == 1


def test_a_job_that_is_done_ends_the_wait_at_once(source: JobService, target: JobService, clock: ManualClock) -> None:
    job = given(source)
    moving, _ = begun(source, target, clock)
    job.done()
    assert moving.result(PATIENCE) == MoveProgress(moved=1)
    assert target.status(job.id) == "done"


def test_a_service_that_is_closed_ends_the_wait(source: JobService, target: JobService, clock: ManualClock) -> None:
    given(source)
    moving, _ = begun(source, target, clock)
    source.close()
    with pytest.raises(ServiceClosed):
        moving.result(PATIENCE)
    assert target.topics() == ["jobq.moves"]


def test_jobs_that_are_taken_arrive_ready(
    pair: Pair, source: JobService, target: JobService, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "JOBS", 2)
    held = [given(source, log_status_change=True, name=f"{number}") for number in range(5)]
    clock.advance(10)
    assert source.move_to(target, take=True) == MoveProgress(moved=5)
    for job in held:
        with pytest.raises(LeaseLost):
            job.done()
        info = target.get(job.id)
        assert (info.status, info.attempt, info.retry_count, info.run_at) == ("ready", 1, 0, clock.now())
        assert target.logs(job.id)[-1].message == "reserved -> ready"
    assert {job.attempt for job in target.reserve("t", 5)} == {2}
    pair.check()


def test_a_lease_that_is_over_costs_a_retry_also_where_jobs_are_taken(
    source: JobService, target: JobService, clock: ManualClock
) -> None:
    over, dead = given(source, lease=5), given(source, lease=5, max_retries=0)
    clock.advance(6)
    source.move_to(target, take=True)
    assert (target.get(over.id).retry_count, target.get(dead.id).cancel_reason) == (1, "exhausted")
    assert (target.stats("t").expired, target.stats("t").dead) == (2, 1)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_storage_that_is_not_empty_is_refused_with_what_it_has(
    source: JobService, target: JobService, clock: ManualClock
) -> None:
    fill(source, clock)
    for topic in "abcdefg":
        target.enqueue(topic)
    message = "is not empty: it has 7 jobs in the topics 'a', 'b', 'c', 'd', 'e' and 2 more. Jobs can be moved to"
    with unchanged(source), unchanged(target), pytest.raises(ConfigError, match=re.escape(message)):
        source.move_to(target)
    assert source.reserve("ready") != []


def test_a_queue_is_not_moved_to_itself(pair: Pair, source: JobService) -> None:
    source.enqueue("t")
    with unchanged(source), pytest.raises(ConfigError, match="a queue is not moved to itself"):
        source.move_to(JobService(pair.source))


def interrupted(source: JobService, target: JobService) -> None:
    """Begin a move, and end it when one of two jobs has gone."""

    def stop(at: MoveProgress) -> None:
        if at.moved:
            raise KeyboardInterrupt

    source.enqueue_many([NewJob("t", name="1"), NewJob("t", name="2")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaving, "JOBS", 1)
        with pytest.raises(KeyboardInterrupt):
            source.move_to(target, progress=stop)


def test_a_move_that_was_begun_goes_nowhere_else(memory: tuple[JobService, JobService], clock: ManualClock) -> None:
    source, target = memory
    interrupted(source, target)
    elsewhere = JobService(MemoryStorage("elsewhere", clock=clock))
    message = f"a move of {source._storage.url} to {target._storage.url} was begun: run that one again until it ends"
    with unchanged(source), pytest.raises(ConfigError, match=re.escape(message)):
        source.move_to(elsewhere)
    assert elsewhere.topics() == []


def test_jobs_of_two_queues_are_not_moved_to_one(memory: tuple[JobService, JobService], clock: ManualClock) -> None:
    source, target = memory
    interrupted(source, target)
    third = JobService(MemoryStorage(clock=clock))
    third.enqueue("t")
    with unchanged(third), pytest.raises(ConfigError, match="jobs of another move are on their way to memory://other"):
        third.move_to(target)
    interrupted(third, fourth := JobService(MemoryStorage(clock=clock)))
    with pytest.raises(ConfigError, match="a move of memory:// to memory:// was begun"):
        third.move_to(target)
    assert third.move_to(fourth).left == 0


def test_jobs_are_not_moved_on_while_others_are_to_come(memory: tuple[JobService, JobService]) -> None:
    source, target = memory
    interrupted(source, target)
    message = "jobs are still being moved to memory://other.* from memory://one.*: run that move again until it ends"
    with pytest.raises(ConfigError, match=message):
        target.move_to(JobService(MemoryStorage()))
    assert source.move_to(target).moved == 1


def test_a_storage_that_lost_what_had_gone_there_is_refused(
    memory: tuple[JobService, JobService], clock: ManualClock
) -> None:
    source, target = memory
    interrupted(source, target)
    url = target._storage.url
    target.close()
    anew = JobService(MemoryStorage(url.removeprefix("memory://"), clock=clock))
    assert anew.topics() == []
    with pytest.raises(ConfigError, match=f"jobs have gone there, but {url} does not know of it"):
        source.move_to(anew)


def test_a_move_is_given_up_by_canceling_its_mark(memory: tuple[JobService, JobService], clock: ManualClock) -> None:
    source, target = memory
    interrupted(source, target)
    elsewhere = JobService(MemoryStorage(clock=clock))
    with pytest.raises(ConfigError, match=rf"cancel job (\d+) of topic '{marking.TOPIC}'") as refusal:
        source.move_to(elsewhere)
    [number] = re.findall(r"cancel job (\d+)", str(refusal.value))
    assert f"in {source.url}, resume its topics, and begin anew" in str(refusal.value)
    source.cancel(int(number))
    source.resume("t")
    assert source.move_to(elsewhere).moved == 1
    assert [job.name for job in elsewhere.reserve("t", 5)] == ["2"]
    assert is_bare(source)


def test_a_mark_that_cannot_be_read_says_so(memory: tuple[JobService, JobService]) -> None:
    source, target = memory
    interrupted(source, target)
    storage = source._storage
    mark = storage.view(marking.leaving)
    assert mark is not None
    for payload in (b"", b"[]", b'{"id": 1}'):
        commit(storage, partial(Draft.replace_payload, job_id=mark.id, payload=payload))
        with pytest.raises(StorageCorrupt, match=f"job {mark.id} of topic 'jobq.moves'.* cannot be read"):
            source.move_to(target)


def test_a_topic_without_counters_ends_it(memory: tuple[JobService, JobService]) -> None:
    source, target = memory
    source.enqueue("t")
    source._storage._store.topics.states.clear()  # type: ignore[attr-defined]
    with pytest.raises(StorageCorrupt, match=re.escape("topic 't' has jobs, but no counters: verify(repair=True)")):
        source.move_to(target)
    source.verify(repair=True)
    assert source.move_to(target).moved == 1


@pytest.mark.parametrize(
    ("other", "arguments", "message"),
    [
        ("memory://", {}, "move_to takes the JobService to move the jobs to, not str"),
        (None, {"take": 1}, "take must be True or False"),
        (None, {"progress": 1}, "progress must be a function or None, not int"),
    ],
)
def test_wrong_arguments_are_refused(
    memory: tuple[JobService, JobService], other: Any, arguments: dict[str, Any], message: str
) -> None:
    source, target = memory
    with unchanged(source), pytest.raises(TypeError, match=message):
        source.move_to(target if other is None else other, **arguments)


def test_the_awaited_face_is_no_service_to_move_to(memory: tuple[JobService, JobService]) -> None:
    source, target = memory
    awaited: Any = AsyncJobService(target)
    with pytest.raises(TypeError, match="not AsyncJobService"):
        source.move_to(awaited)


def test_a_closed_service_is_refused(memory: tuple[JobService, JobService]) -> None:
    source, target = memory
    source.enqueue("t")
    target.close()
    with unchanged(source), pytest.raises(ServiceClosed):
        source.move_to(target)
    assert take(source).id == 1
