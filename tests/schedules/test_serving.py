"""Schedules that workers serve: each tick is enqueued once, the missed ones as the schedule says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any

import pytest

from jobq import ConfigError, Job, JobqError, JobService, Limits, Release, Worker
from jobq.model.times import instant, moment
from jobq.tasks import JsonCodec, Tasks
from jobq.tasks.state import TOPIC
from jobq.tasks.ticks import rule_of
from jobq.testing import drain
from jobq.testing.invariants import check_invariants
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.schedules.scenes import MINUTE, clerk_of, enqueued, enqueued_in_time, info_of, minutes, served, tasks_of
from tests.worker.scenes import Recorder, pass_time, running, wait

Log = pytest.LogCaptureFixture


def ticks(spec: str, timezone: str, begin: datetime, end: datetime) -> list[datetime]:
    rule = rule_of(spec, timezone)
    until = instant(end, "end")
    return [moment(tick) for tick in takewhile(lambda tick: tick <= until, rule.after(instant(begin, "begin")))]


# -- ticks


def test_a_schedule_enqueues_its_task_at_each_tick(svc: JobService, clock: ManualClock) -> None:
    said: list[str] = []
    tasks = tasks_of("0 9 * * *", timezone="Europe/Paris", does=said.append)
    worker = Worker(svc, "t", tasks=tasks)
    for _ in range(3):
        drain(worker)
        clock.advance(24 * 3600)
    assert said == ["2026-01-01T09:00:00+01:00", "2026-01-02T09:00:00+01:00"]
    check_invariants(svc._storage)


def test_two_years_of_a_calendar(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of("30 2 L * *", timezone="Europe/Paris")
    begin, end = clock.now(), clock.now() + timedelta(days=731)
    found = served(svc, tasks)
    while (due := svc.next_due(TOPIC)) is not None and due <= end:
        clock.advance(due - clock.now())
        found += served(svc, tasks)
    assert found == ticks("30 2 L * *", "Europe/Paris", begin, end)
    assert len(found) == 24
    assert found[2] == datetime(2026, 3, 31, 0, 30, tzinfo=UTC)
    assert svc.verify() == []


@pytest.mark.parametrize("change", [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)])
def test_a_short_schedule_through_a_change_of_the_clocks(svc: JobService, clock: ManualClock, change: datetime) -> None:
    clock.advance(change - timedelta(hours=2, minutes=1) - clock.now())
    begin, end = clock.now(), change + timedelta(hours=2)
    tasks = tasks_of("*/5 * * * *", timezone="Europe/Paris")
    worker = clerk_of(svc, tasks)
    for _ in range(50):
        drain(worker)
        due = svc.next_due(TOPIC)
        assert due is not None
        if due > end:
            break
        clock.advance(due - clock.now())
    found = enqueued(svc)
    assert found == ticks("*/5 * * * *", "Europe/Paris", begin, end)
    assert {after - before for before, after in pairwise(found)} == {timedelta(minutes=5)}
    assert svc.verify() == []


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({"missed": "last"}, minutes(10)),
        ({"missed": "all"}, minutes(*range(1, 11))),
        ({"missed": "skip"}, minutes(10)),
        ({"missed": "skip", "grace": 29}, []),
        ({"missed": "skip", "grace": 30}, minutes(10)),
        ({"missed": "skip", "grace": 151}, minutes(8, 9, 10)),
    ],
)
def test_missed_ticks(svc: JobService, clock: ManualClock, how: dict[str, Any], found: list[datetime]) -> None:
    tasks = tasks_of(MINUTE, **how)
    assert served(svc, tasks) == []
    clock.advance(10 * MINUTE + 30)
    assert served(svc, tasks) == found
    assert served(svc, tasks) == []
    clock.advance(30)
    assert served(svc, tasks) == minutes(11)
    assert info_of(tasks).last_at == minutes(11)[0]
    assert info_of(tasks).next_at == minutes(12)[0]


def test_many_missed_ticks_are_enqueued_by_the_hundred(svc: JobService, clock: ManualClock, seen: Recorder) -> None:
    tasks = tasks_of(MINUTE, missed="all")
    served(svc, tasks)
    clock.advance(250 * MINUTE)
    drain(clerk_of(svc, tasks, observer=seen))
    assert [len(ids) for *_, ids in seen.all("enqueued", "tick")] == [100, 100, 50]
    assert enqueued(svc) == minutes(*range(1, 251))


def test_what_runs_schedules_is_not_seen_among_the_jobs_of_a_worker(
    svc: JobService, clock: ManualClock, seen: Recorder
) -> None:
    worker = Worker(svc, "t", tasks=tasks_of(MINUTE), observer=seen)
    assert drain(worker) == 0
    clock.advance(MINUTE)
    assert drain(worker) == 1
    [job] = svc.find("done", topic="t")
    assert seen.of_jobs() == [("enqueued", "tick", [job.id]), ("started", "tick"), ("completed", "tick", None)]


def test_ticks_between_microseconds_are_not_looked_for_too_early(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(1 / 3)
    served(svc, tasks)
    for _ in range(6):
        due = svc.next_due(TOPIC)
        assert due is not None
        clock.advance(due - clock.now())
        assert len(served(svc, tasks)) == 1


def test_a_schedule_that_is_late_stays_with_its_ticks(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    clock.advance(3 * MINUTE + 59)
    assert served(svc, tasks) == minutes(3)
    clock.advance(1)
    assert served(svc, tasks) == minutes(4)


def test_ticks_of_a_clock_that_was_set_back_are_not_enqueued_again(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    clock.advance(10 * MINUTE)
    assert served(svc, tasks) == minutes(10)
    clock.step_wall(-5 * MINUTE)
    for n in range(4):
        clock.advance(MINUTE)
        assert served(svc, tasks) == [], n
    clock.advance(2 * MINUTE)
    assert served(svc, tasks) == minutes(11)


def test_a_clock_that_was_far_ahead_holds_up_no_schedule_beyond_the_start_of_a_worker(
    svc: JobService, clock: ManualClock
) -> None:
    clock.step_wall(365 * 24 * 3600)
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    clock.step_wall(-365 * 24 * 3600)
    assert served(svc, tasks) == []
    clock.advance(MINUTE)
    assert served(svc, tasks) == minutes(1)


# -- what is enqueued


def test_arguments_go_to_the_task(svc: JobService, clock: ManualClock) -> None:
    tasks = Tasks("t")
    said: list[Any] = []

    @tasks.every(MINUTE, args=("sales",), kwargs={"copies": 2})
    @tasks.task(name="report", priority=-3, max_retries=1)
    def report(what: str, *, copies: int = 1, by: str = "mail") -> None:
        said.append((what, copies, by))

    @tasks.every(MINUTE, name="quietly")
    def quiet(job: Job, text: str = "none") -> None:
        said.append((job.name.rpartition(".")[2], text))

    @tasks.every(MINUTE, name="softly", tick_as="at")
    async def soft(at: str) -> None:
        await asyncio.sleep(0)
        said.append(at)

    worker = Worker(svc, "t", tasks=tasks)
    drain(worker)
    clock.advance(MINUTE)
    drain(clerk_of(svc, tasks))
    [info] = [info for info in svc.find("ready", topic="t") if info.name == "report"]
    assert (info.priority, info.options.max_retries, info.unique_key) == (-3, 1, None)
    drain(worker)
    assert said[0] == ("sales", 2, "mail")
    assert sorted(map(str, said[1:])) == sorted(["('quiet', 'none')", "2026-01-01T00:01:00+00:00"])
    assert report is tasks.get("report")


def test_without_overlap_nothing_is_enqueued_while_a_job_is_unfinished(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE, overlap=False)
    drain(clerk_of(svc, tasks))
    clock.advance(MINUTE)
    drain(clerk_of(svc, tasks))
    [job] = svc.reserve("t")
    assert svc.get(job.id).unique_key == "tick"
    clock.advance(MINUTE)
    drain(clerk_of(svc, tasks))
    assert svc.stats("t").enqueued == 1
    job.done()
    clock.advance(MINUTE)
    assert served(svc, tasks) == minutes(3)


def test_a_topic_that_is_full_delays_a_tick_and_loses_none(
    open_service: OpenService, clock: ManualClock, seen: Recorder, caplog: Log
) -> None:
    svc = open_service(limits=Limits(depth=2))
    tasks = tasks_of(MINUTE, missed="all")
    drain(clerk_of(svc, tasks))
    full = [svc.enqueue("t", priority=-1) for _ in range(2)]
    clock.advance(MINUTE)
    for pause in (1, 2, 4):
        drain(clerk_of(svc, tasks, observer=seen))
        clock.advance(pause)
    assert "TopicFull" in seen.all("worker_error", JobqError)[2][2]
    assert seen.of_jobs() == []
    svc.cancel(full)
    assert served(svc, tasks) == minutes(1)
    [job] = svc.find("delayed", topic=TOPIC)
    assert (job.retry_count, job.run_at) == (0, minutes(2)[0])
    assert svc.verify() == []


def test_fewer_ticks_are_tried_if_nothing_came_of_more_and_then_more_again(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE, missed="all")
    served(svc, tasks)
    clock.advance(1000 * MINUTE)
    clerk = tasks.clerk_for(svc, ())
    tried: list[int] = []
    for is_refused in (True, True, True, False, False, False, False, False, False):
        [job] = svc.reserve(TOPIC)
        outcome = clerk.outcome(job)
        assert isinstance(outcome, Release)
        tried.append(len([job for job in outcome.then if job.topic == "t"]))  # type: ignore[union-attr]
        svc.exchange([(job, Release() if is_refused else outcome)])
    assert tried == [100, 50, 25, 12, 24, 48, 96, 100, 100]


@pytest.mark.parametrize("limits", [Limits(depth=7), Limits(batch=7)])
def test_more_missed_ticks_than_fit_at_once_are_enqueued_bit_by_bit(
    open_service: OpenService, clock: ManualClock, limits: Limits
) -> None:
    svc = open_service(limits=limits)
    tasks = tasks_of(MINUTE, missed="all")
    worker = clerk_of(svc, tasks)
    drain(worker)
    clock.advance(30 * MINUTE)
    found: list[datetime] = []
    with running(worker):
        for _ in range(100):
            if len(found) >= 30:
                break
            pass_time(clock, 1)
            jobs = svc.reserve("t", 7)
            svc.done(jobs)
            found += [datetime.fromisoformat(job.json()["kwargs"]["tick"]) for job in jobs]
    assert found[:30] == minutes(*range(1, 31))


# -- several workers


@pytest.mark.parametrize("n", [2, 4])
def test_several_workers_enqueue_each_tick_once(
    open_service: OpenService, clock: ManualClock, seen: Recorder, n: int
) -> None:
    services = [open_service() for _ in range(n)]
    workers = [clerk_of(svc, tasks_of(MINUTE, missed="all"), observer=seen) for svc in services]
    svc = services[0]
    found: list[datetime] = []
    try:
        for worker in workers:
            worker.start()
        seen.wait_for("topic_empty", "elsewhere", times=n)
        for _ in range(30):
            pass_time(clock, MINUTE)
            found += enqueued_in_time(svc)
    finally:
        for worker in workers:
            worker.stop()
    assert found == minutes(*range(1, 31))
    assert svc.stats("t").enqueued == 30
    assert svc.stats(TOPIC).enqueued == 1
    assert svc.verify() == []
    check_invariants(svc._storage)


class Hesitant(JsonCodec):
    """Waits before it writes the arguments of a tick, as a worker does that was paused there."""

    def __init__(self) -> None:
        self.waits, self.go_on = threading.Event(), threading.Event()

    def dumps(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        if kwargs["tick"] > "2000":  # not as the schedule is checked
            self.waits.set()
            wait(self.go_on)
        return super().dumps(args, kwargs)


def test_a_worker_paused_across_a_tick_that_another_finished_adds_nothing(
    open_service: OpenService, clock: ManualClock, seen: Recorder, caplog: Log
) -> None:
    svc, other = open_service(), open_service()
    codec = Hesitant()
    with running(clerk_of(svc, tasks_of(MINUTE, codec=codec), lease=30, observer=seen)):
        seen.wait_for("topic_empty", "elsewhere")
        pass_time(clock, MINUTE)
        wait(codec.waits)
        clock.advance(30)
        assert served(other, tasks_of(MINUTE)) == minutes(1)
        clock.advance(30)
        assert served(other, tasks_of(MINUTE)) == minutes(2)
        codec.go_on.set()
        pass_time(clock, MINUTE)
        seen.wait_for("enqueued", "tick")
        assert enqueued(svc) == minutes(3)
    assert "'tick' of topic 'jobq.schedules', attempt 1, was canceled, or its lease is over" in caplog.text
    assert [what for what, *_ in seen.of_jobs()] == ["enqueued"]
    assert svc.stats("t").enqueued == 3
    assert other.verify() == []


def test_a_schedule_whose_holder_is_gone_ticks_once_its_lease_is_over(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    clock.advance(MINUTE)
    [held] = svc.reserve(TOPIC, lease=30)
    clock.advance(29)
    assert served(svc, tasks) == []
    clock.advance(1)
    assert served(svc, tasks) == minutes(1)
    gone = svc.exchange([(held, Release(then=tasks_of(MINUTE).get("tick").new_job("late")))])  # type: ignore[union-attr]
    assert (gone.lost, enqueued(svc)) == ([held], [])
    clock.advance(30)
    assert served(svc, tasks) == minutes(2)


def test_a_worker_without_a_free_slot_still_serves_its_schedules(
    svc: JobService, clock: ManualClock, seen: Recorder
) -> None:
    go = threading.Event()
    worker = Worker(svc, "long", tasks=tasks_of(MINUTE, missed="skip"), observer=seen)
    worker.handler("long")(lambda job: wait(go))
    svc.enqueue("long", name="long")
    with running(worker):
        seen.wait_for("started", "long")
        for n in range(1, 4):
            pass_time(clock, MINUTE)
            seen.wait_for("enqueued", "tick", times=n)
        assert enqueued(svc) == minutes(1, 2, 3)
        go.set()
        seen.wait_for("completed", "long")


# -- several Tasks


def test_several_tasks_have_their_schedules_in_one_worker(svc: JobService, clock: ManualClock) -> None:
    one, two, none = tasks_of(MINUTE), Tasks("t"), Tasks("t")
    two.every(MINUTE, name="two", tick_as="tick")(two.task(name="other")(lambda tick: None))
    worker = Worker(svc, "elsewhere", tasks=[none, one, two])
    drain(worker)
    clock.advance(MINUTE)
    drain(worker)
    assert enqueued(svc) == minutes(1, 1)
    two.every(5, name="tick")(two.task(name="a third")(lambda: None))
    with pytest.raises(ConfigError, match="there are two schedules named 'tick'"):
        drain(worker)
