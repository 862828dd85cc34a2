"""Making schedules, and looking at them, pausing and removing them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import jobq
from jobq import ConfigError, InvalidStatus, JobNotFound, JobService, Status
from jobq.tasks import ScheduleInfo, Schedules, Tasks, schedules
from jobq.tasks.state import TOPIC, State, decoded
from jobq.testing import drain
from tests.clocks import ManualClock
from tests.schedules.scenes import MINUTE, clerk_of, enqueued, info_of, served, tasks_of

Change = Callable[[Schedules], None]

PAUSE_AND_RESUME: list[Change] = [lambda one: one.pause("tick"), lambda one: one.resume("tick")]


# -- making


def test_a_function_becomes_a_task_and_a_task_stays_one() -> None:
    tasks = Tasks("t")

    @tasks.every(MINUTE)
    def report(what: str = "all") -> str:
        return what

    @tasks.task(name="other", max_retries=1)
    def other() -> None: ...

    assert tasks.every(5)(other) is other
    assert tasks.every(7, name="again", kwargs={"what": "some"})(report) is report
    assert [task.name for task in tasks] == [
        f"{__name__}.test_a_function_becomes_a_task_and_a_task_stays_one.<locals>.report",
        "other",
    ]
    assert report("this") == "this"


def of_one(what: str) -> None: ...


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"spec": "* * * *"}, ValueError, "cron text"),
        ({"spec": None}, TypeError, "spec must be cron text, such as .*, or seconds .* not NoneType"),
        ({"spec": of_one}, TypeError, "spec must be cron text, such as .*, or seconds .* not function"),
        ({"missed": "none"}, ValueError, "missed must be one of 'skip', 'last', 'all'"),
        ({"grace": -1}, ValueError, "grace must be 0 or more"),
        ({"name": ""}, ValueError, "name of a schedule must not be empty"),
        ({"name": "x" * 256}, ValueError, "at most 255 bytes"),
        ({"name": 5}, TypeError, "name must be a str"),
        ({"name": "taken"}, ValueError, "there is a schedule named 'taken' already"),
        ({"args": ()}, TypeError, "missing a required argument: 'what'"),
        ({"args": ("a", "b")}, TypeError, "too many positional arguments"),
        ({"args": "a"}, TypeError, r"args must be a sequence of arguments, such as \('a',\)"),
        ({"args": 5}, TypeError, r"args must be a sequence of arguments, such as \(5,\)"),
        ({"args": (), "kwargs": {"whom": 1}}, TypeError, "what"),
        ({"args": (), "kwargs": ["a"]}, TypeError, r"kwargs must be a dict of arguments by their names, not \['a'\]"),
        ({"args": (), "kwargs": {1: "a"}}, TypeError, "kwargs must be a dict of arguments by their names"),
        ({"args": ({1},)}, TypeError, "JSON"),
        ({"tick_as": "whom"}, TypeError, "unexpected keyword argument 'whom'"),
        ({"tick_as": 5}, TypeError, "tick_as must be the name of a parameter, not 5"),
        ({"args": (), "kwargs": {"what": "a"}, "tick_as": "what"}, ValueError, "leave it out of kwargs"),
        ({"overlap": 1}, TypeError, "overlap must be True or False"),
    ],
)
def test_what_can_be_no_schedule_is_refused_and_changes_nothing(
    how: dict[str, Any], error: type[Exception], message: str
) -> None:
    tasks = Tasks("t")
    tasks.every(5, name="taken")(tasks.task(name="a")(lambda: None))
    how = {"spec": MINUTE, "args": ("a",), **how}
    spec = how.pop("spec")
    with pytest.raises(error, match=message):
        tasks.every(spec, **how)(of_one)
    assert [task.name for task in tasks] == ["a"]


def test_every_without_its_parentheses_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="not function"):
        Tasks("t").every(of_one)  # type: ignore[arg-type]


def test_tasks_that_are_bound_to_no_queue_have_no_schedules_to_look_at() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.bind\(svc\)"):
        _ = tasks_of(5).schedules


# -- looking


def test_schedules_are_listed_by_name(svc: JobService, clock: ManualClock) -> None:
    tasks = Tasks("t")
    tasks.every("0 6 * * *", name="b", timezone="America/New_York")(tasks.task(name="report")(lambda: None))
    tasks.every(90, name="a")(tasks.task(name="beat")(lambda: None))
    tasks.bind(svc)
    assert tasks.schedules.list() == Schedules(svc).list() == []
    drain(clerk_of(svc, tasks))
    a = ScheduleInfo("a", "beat", 90, "UTC", clock.after(90), None, paused=False, is_known=True)
    b = ScheduleInfo("b", "report", "0 6 * * *", "America/New_York", clock.after(11 * 3600), None, False, True)
    assert tasks.schedules.list() == [a, b]
    clock.advance(100)
    drain(clerk_of(svc, tasks))
    now = Schedules(svc).list()[0]
    assert (now.next_at, now.last_at, now.is_known) == (clock.after(80), clock.after(-10), None)
    svc.reserve(TOPIC)
    assert len(Schedules(svc).list()) == 2


def test_schedules_take_a_service_of_either_kind_and_nothing_else(svc: JobService) -> None:
    async def look() -> None:
        async with await jobq.open_async("memory://") as asvc:
            tasks = tasks_of(5)
            tasks.bind(asvc)
            drain(clerk_of(asvc.sync, tasks))
            assert [info.name for info in Schedules(asvc).list()] == [info_of(tasks).name] == ["tick"]

    asyncio.run(look())
    assert repr(Schedules(svc)) == f"<Schedules of {svc!r}>"
    with pytest.raises(TypeError, match="Schedules takes a JobService or an AsyncJobService, not str"):
        Schedules("memory://")  # type: ignore[arg-type]


# -- pausing and removing


def test_a_paused_schedule_lets_its_ticks_pass(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE, missed="all")
    served(svc, tasks)
    tasks.schedules.pause("tick")
    tasks.schedules.pause("tick")
    for _ in range(3):
        clock.advance(MINUTE)
        assert served(svc, tasks) == []
    info = info_of(tasks)
    assert (info.paused, info.next_at, info.last_at) == (True, clock.after(MINUTE), None)
    clock.advance(10)
    tasks.schedules.resume("tick")
    tasks.schedules.resume("tick")
    clock.advance(50)
    assert served(svc, tasks) == [clock.now()]
    assert not info_of(tasks).paused


def test_ticks_while_it_is_paused_and_no_worker_runs_pass_as_well(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE, missed="all")
    served(svc, tasks)
    tasks.schedules.pause("tick")
    clock.advance(10 * MINUTE + 1)
    tasks.schedules.resume("tick")
    assert served(svc, tasks) == []
    clock.advance(59)
    assert served(svc, tasks) == [clock.now()]


def test_a_resumed_schedule_that_was_not_paused_keeps_what_is_due(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    clock.advance(MINUTE)
    tasks.schedules.resume("tick")
    assert served(svc, tasks) == [clock.now()]


def test_a_removed_schedule_is_gone_until_a_worker_begins_with_it(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    tasks.schedules.remove("tick")
    assert (tasks.schedules.list(), svc.topics()) == ([], [])
    clock.advance(MINUTE)
    other = Tasks("t")
    other.every(5, name="other")(other.task(name="other")(lambda: None))
    assert served(svc, other) == []
    assert served(svc, tasks) == []
    clock.advance(MINUTE)
    assert served(svc, tasks) == [clock.now()]


def test_a_schedule_that_is_removed_at_its_tick_adds_nothing(svc: JobService, clock: ManualClock) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    clock.advance(MINUTE)
    [held] = svc.reserve(TOPIC)
    tasks.schedules.remove("tick")
    assert held.canceled()
    assert served(svc, tasks_of(MINUTE, name="other")) == []


@pytest.mark.parametrize("change", [*PAUSE_AND_RESUME, lambda one: one.remove("tick")])
def test_one_that_is_not_there_is_told_with_those_that_are(svc: JobService, change: Change) -> None:
    with pytest.raises(JobNotFound, match="there is no schedule 'tick' in this queue, but: none"):
        change(Schedules(svc))
    served(svc, tasks_of(MINUTE, name="report"))
    with pytest.raises(JobNotFound, match="but: 'report'"):
        change(Schedules(svc))


@pytest.mark.parametrize("change", PAUSE_AND_RESUME)
def test_one_that_a_worker_holds_is_tried_again_for_a_while(
    svc: JobService, clock: ManualClock, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    clock.advance(MINUTE)
    [held] = svc.reserve(TOPIC)
    monkeypatch.setattr(schedules, "TRIES", 2)
    monkeypatch.setattr(schedules, "PAUSE", 0)
    with pytest.raises(InvalidStatus, match="a worker holds the schedule 'tick'") as refused:
        change(tasks.schedules)
    assert (refused.value.status, refused.value.ids) == (Status.RESERVED, [held.id])

    def let_go(payload: bytes) -> State:
        if not held.settled:
            held.release()
        return decoded(payload)

    monkeypatch.setattr(schedules, "decoded", let_go)
    change(tasks.schedules)


def test_pausing_does_not_bring_back_a_tick_that_was_seen_to_meanwhile(
    svc: JobService, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    clock.advance(MINUTE)
    found: list[Any] = []
    meanwhiles = [lambda: found.extend(served(svc, tasks))]

    def meanwhile(payload: bytes) -> State:
        state = decoded(payload)
        while meanwhiles:
            meanwhiles.pop()()
        return state

    monkeypatch.setattr(schedules, "decoded", meanwhile)
    tasks.schedules.pause("tick")
    tasks.schedules.resume("tick")
    assert found == [clock.now()]
    assert served(svc, tasks) == []
    assert info_of(tasks).last_at == clock.now()
    assert svc.stats("t").enqueued == 1
    assert svc.verify() == []
    assert enqueued(svc) == []


def test_a_schedule_that_is_removed_as_a_worker_begins_stays_removed(
    svc: JobService, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tasks_of(MINUTE)
    served(svc, tasks)
    payload = JobService.payload

    def too_late(self: JobService, id: int) -> bytes:
        if tasks.schedules._id("tick") == id:
            self.cancel(id)
        return payload(self, id)

    monkeypatch.setattr(JobService, "payload", too_late)
    assert served(svc, tasks) == []
    monkeypatch.undo()
    assert tasks.schedules.list() == []
