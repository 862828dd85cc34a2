"""Workers that begin install their schedules, change those that are there, and leave alone what they do not know."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from jobq import CancelReason, JobService, Status, StorageError, Worker
from jobq.tasks import Tasks
from jobq.tasks.state import TOPIC
from jobq.testing import drain
from tests.clocks import ManualClock
from tests.conftest import OpenStorage
from tests.schedules.scenes import MINUTE, clerk_of, enqueued, enqueued_in_time, info_of, minutes, served, tasks_of
from tests.worker.scenes import Recorder, Watched, failing, pass_time, running, wait_for_sleep

Log = pytest.LogCaptureFixture


def test_what_changed_in_the_code_is_installed_and_the_past_is_kept(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    clock.advance(MINUTE)
    assert served(svc, tasks) == minutes(1)
    before = info_of(tasks)
    tasks = tasks_of("*/5 * * * *", timezone="Europe/Paris")
    assert served(svc, tasks) == []
    after = info_of(tasks)
    assert (after.spec, after.timezone, after.last_at) == ("*/5 * * * *", "Europe/Paris", before.last_at)
    assert after.next_at == minutes(5)[0]
    tasks.schedules.pause("tick")
    assert served(svc, tasks_of("*/2 * * * *")) == []
    assert info_of(tasks).paused
    assert info_of(tasks).spec == "*/2 * * * *"
    tasks.schedules.resume("tick")
    clock.advance(MINUTE + 30)
    assert served(svc, tasks_of("0 0 1 1 *")) == []
    assert served(svc, tasks_of(MINUTE)) == minutes(2)
    assert svc.stats(TOPIC).enqueued == 1


def test_who_installed_last_says_when_it_ticks(svc: JobService, clock: ManualClock) -> None:
    old, new = clerk_of(svc, tasks_of(MINUTE)), clerk_of(svc, tasks_of(10 * MINUTE))
    with running(old):
        wait_for_sleep(clock)
        drain(new)
        for n in range(10):
            assert svc.stats("t").enqueued == 0, n
            pass_time(clock, MINUTE)
        assert enqueued_in_time(svc) == minutes(10)


def test_what_is_held_as_a_worker_begins_is_changed_when_it_comes_by(svc: JobService, clock: ManualClock) -> None:
    served(svc, tasks_of(10 * MINUTE))
    clock.advance(10 * MINUTE)
    [held] = svc.reserve(TOPIC, lease=60)
    tasks = tasks_of(MINUTE)
    worker = clerk_of(svc, tasks, lease=1000)
    with running(worker):
        wait_for_sleep(clock)
        assert info_of(tasks).spec == 600
        pass_time(clock, 60)
        assert enqueued_in_time(svc) == minutes(11)
        assert info_of(tasks).spec == 60
        pass_time(clock, MINUTE)
        assert enqueued_in_time(svc) == minutes(12)
        drain(clerk_of(svc, tasks_of(10 * MINUTE)))
        for _ in range(8):
            pass_time(clock, MINUTE)
        assert enqueued_in_time(svc) == minutes(20)
        assert info_of(tasks).spec == 600
    assert held.canceled()


def test_a_storage_that_fails_while_schedules_are_installed_is_waited_out(
    open_storage: OpenStorage, clock: ManualClock, seen: Recorder
) -> None:
    watched = Watched(open_storage())
    svc = JobService(watched)
    watched.fail = failing(1, 3)
    with running(clerk_of(svc, tasks_of(MINUTE), observer=seen)):
        seen.wait_for("worker_error", StorageError)
        pass_time(clock, 1)
        seen.wait_for("worker_error", StorageError, times=2)
        pass_time(clock, 1)
        seen.wait_for("topic_empty", "elsewhere")
        pass_time(clock, MINUTE)
        seen.wait_for("enqueued", "tick")
    assert enqueued(svc) == minutes(1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"task": None}, "TypeError: 'task' is None"),
        ({"grace": "60"}, "TypeError: 'grace' is '60'"),
        ({"seen": "now"}, "TypeError: 'seen' is 'now'"),
        ({"next": None}, "TypeError: 'next' is None"),
        ({"next": 10**30}, "OverflowError"),
        ({"last": "never"}, "TypeError: 'last' is 'never'"),
        ({"paused": 1}, "TypeError: 'paused' is 1"),
        ({"missed": "none"}, "ValueError: 'missed' is 'none'"),
        (None, "KeyError: 'task'"),
    ],
)
def test_a_schedule_that_cannot_be_read_begins_anew(
    svc: JobService, clock: ManualClock, caplog: Log, change: dict[str, Any] | None, problem: str
) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    id = svc.lookup(TOPIC, "tick")
    assert id is not None
    payload = {} if change is None else json.loads(svc.payload(id)) | change
    svc.enqueue(TOPIC, json=payload, unique_key="tick", name="tick", on_duplicate="replace")
    assert tasks.schedules.list() == []
    with pytest.raises(ValueError, match="this job is no schedule"):
        tasks.schedules.pause("tick")
    assert served(svc, tasks) == []
    assert f"schedule 'tick' begins anew, as it cannot be read: this job is no schedule: {problem}" in caplog.text
    clock.advance(MINUTE)
    assert served(svc, tasks) == minutes(1)


def test_what_is_no_schedule_is_retried_and_does_no_harm(svc: JobService, clock: ManualClock, seen: Recorder) -> None:
    id = svc.enqueue(TOPIC, payload=b"what?", name="odd", max_retries=1)
    tasks = tasks_of(MINUTE)
    drain(clerk_of(svc, tasks, observer=seen))
    assert svc.get(id).status is Status.DELAYED
    assert seen.all("worker_error", ValueError)[0][2].startswith("this job is no schedule")
    clock.advance(30)
    drain(clerk_of(svc, tasks, observer=seen))
    assert svc.get(id).cancel_reason is CancelReason.EXHAUSTED
    assert len(seen.all("worker_error", ValueError)) == 2
    assert [info.name for info in tasks.schedules.list()] == ["tick"]


def test_one_that_no_code_has_is_given_back_and_told_once(
    svc: JobService, clock: ManualClock, seen: Recorder, caplog: Log
) -> None:
    served(svc, tasks_of(MINUTE, name="vanished"))
    clock.advance(MINUTE)
    caplog.clear()
    other = Worker(svc, "t", tasks=tasks_of(10 * MINUTE), observer=seen)
    with running(other):
        for n, pause in enumerate([0.1, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60], 1):
            wait_for_sleep(clock)
            assert svc.stats(TOPIC).reserved == n
            assert svc.next_due(TOPIC) == clock.after(pause)
            pass_time(clock, pause)
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert told == [
        "schedule 'vanished' is not in the code of this worker: if it is in no other, remove it with "
        "tasks.schedules.remove('vanished')"
    ]
    assert enqueued(svc) == []
    known = tasks_of(10 * MINUTE)
    known.bind(svc)
    assert [(info.name, info.is_known) for info in known.schedules.list()] == [("tick", True), ("vanished", False)]
    assert served(svc, tasks_of(MINUTE, name="vanished")) == minutes(4)


def test_a_worker_that_begins_does_not_wait_for_others_that_gave_its_schedule_back(
    svc: JobService, clock: ManualClock
) -> None:
    tasks = tasks_of(10 * MINUTE, name="theirs")
    served(svc, tasks)
    clock.advance(11 * MINUTE)
    drain(clerk_of(svc, tasks_of(60 * MINUTE, name="ours")))
    assert svc.next_due(TOPIC) == clock.after(60)
    assert served(svc, tasks) == minutes(10)


def test_a_worker_without_schedules_tells_of_those_that_it_finds(svc: JobService, caplog: Log) -> None:
    served(svc, tasks_of(MINUTE))
    tasks = Tasks("t")
    tasks.task(name="other")(print)
    drain(Worker(svc, "t", tasks=tasks))
    assert "schedule 'tick' is not in the code of this worker" in caplog.text
    assert [job.name for job in svc.reserve(TOPIC)] == []
