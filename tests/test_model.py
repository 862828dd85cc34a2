"""Every verb against every storage and a plain model: after each step all of them tell the same of all jobs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobq import (
    Cancel,
    CancelReason,
    Done,
    Exchange,
    Job,
    JobInfo,
    JobOptions,
    JobqError,
    JobService,
    Limits,
    NewJob,
    Reject,
    Release,
    Retry,
    ServiceClosed,
    Status,
    TopicStats,
)
from jobq.repos import LmdbStorage, MemoryStorage, Storage
from tests.clocks import ManualClock
from tests.invariants import check_invariants
from tests.model import Model, ModelHandle, moment

NAMES = count(1)
TOPICS = ["a", "b:1", "default"]
KEYS = ["k", "ключ"]
EVERY_KEY = [(topic, key) for topic in TOPICS for key in KEYS]
TOPIC_DEFAULTS = {"b:1": JobOptions(lease=5, max_retries=1, min_backoff=2.3, keep_done=3, keep_dead=60)}
SEEN_OF_A_HANDLE = [
    "id",
    "topic",
    "priority",
    "name",
    "payload",
    "attempt",
    "retries_left",
    "deadline",
    "options",
    "settled",
]
REMEMBERED = 8
"""Handles kept to use again, most of them stale by then."""

# -- what is drawn ---------------------------------------------------------------------------------------------------

topics = st.sampled_from(["a", "a", "a", "b:1", "b:1", "default", ""])
several_topics = st.lists(topics, min_size=1, max_size=3)
delays = st.sampled_from([0, 0, 1, 2.3, 10, 100])
leases = st.none() | st.sampled_from([0.001, 1, 2.3, 60])
kept = st.sampled_from([0, 3, 60, None])
run_ats = st.sampled_from([-10, 0, 1, 30])
overrides = st.fixed_dictionaries(
    {},
    optional={
        "lease": st.sampled_from([1, 5, 0.5]),
        "max_retries": st.sampled_from([0, 1, 2, None]),
        "min_backoff": st.sampled_from([0, 1, 2.3]),
        "keep_done": kept,
        "keep_canceled": kept,
        "keep_dead": kept,
    },
)
contents = st.one_of(
    st.sampled_from([b"", b"\x00\xff", bytearray(b"array"), memoryview(b"view"), "größe"]).map(
        lambda one: {"payload": one}
    ),
    st.sampled_from([None, {"n": [1, 2.5]}, "é"]).map(lambda one: {"json": one}),
)
errors = st.sampled_from([None, "boom", ValueError("bad")])
results = st.sampled_from([None, 7, {"rows": [1, None]}, "ß"])
notes = st.sampled_from([None, "", "no more"])


@st.composite
def new_jobs(draw: st.DrawFn) -> dict[str, Any]:
    """Keyword arguments of `enqueue`; `in_` stands for a run_at so many seconds from now."""
    chosen: dict[str, Any] = {"topic": draw(topics), **draw(contents), **draw(overrides)}
    if draw(st.booleans()):
        chosen["priority"] = draw(st.sampled_from([-(2**15), -1, 0, 1, 2**15 - 1]))
        chosen["name"] = draw(st.sampled_from(["", "send", "größe"]))
    timing = draw(st.sampled_from(["now", "now", "delay", "run_at"]))
    if timing == "delay":
        chosen["delay"] = draw(delays)
    elif timing == "run_at":
        chosen["in_"] = draw(run_ats)
    if draw(st.booleans()):
        chosen["unique_key"] = draw(st.sampled_from([KEYS[0], *KEYS]))
        chosen["on_duplicate"] = draw(st.sampled_from(["raise", "keep", "keep", "replace", "replace"]))
    if draw(st.integers(0, 4)) == 0:
        chosen["options"] = JobOptions(lease=2, max_retries=draw(st.sampled_from([0, 3])), min_backoff=1, keep_done=10)
    return chosen


batches = st.lists(new_jobs(), max_size=4)


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[type[Any], dict[str, Any]]:
    """An outcome's class and its keyword arguments."""
    kind = draw(st.sampled_from([Done, Done, Retry, Retry, Release, Reject, Cancel]))
    if kind is Done:
        return Done, {"result": draw(results), "then": draw(batches)}
    if kind is Retry:
        when = draw(st.sampled_from([{}, {"delay": 0}, {"delay": 7}, {"in_": 5}, {"in_": -5}]))
        return Retry, {"error": draw(errors), **when}
    if kind is Release:
        return Release, {"delay": draw(delays)}
    if kind is Reject:
        return Reject, {"error": draw(errors), "reason": draw(st.sampled_from(list(CancelReason)[1:]))}
    return Cancel, {"note": draw(notes)}


# -- the storages ----------------------------------------------------------------------------------------------------


class MemoryHome:
    """A storage in memory that an anchor keeps alive while the service is reopened."""

    def __init__(self, clock: ManualClock) -> None:
        self._name, self._clock = f"model-{next(NAMES)}", clock
        self._anchor = self.open()

    def open(self) -> Storage:
        return MemoryStorage(self._name, clock=self._clock)

    def close(self) -> None:
        self._anchor.close()


class LmdbHome:
    """A directory, truly closed before it is reopened."""

    def __init__(self, clock: ManualClock) -> None:
        self._path, self._clock = Path(tempfile.mkdtemp(prefix="jobq-model-")), clock

    def open(self) -> Storage:
        return LmdbStorage(self._path / "jobs", sync="off", clock=self._clock)

    def close(self) -> None:
        shutil.rmtree(self._path)


class Held(NamedTuple):
    """One reservation: the model's handle and those of the services."""

    model: ModelHandle
    jobs: list[Job]

    def of(self, target: int) -> Any:
        return self.jobs[target] if target >= 0 else self.model


# -- comparing -------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A result as values that can be compared between the model and a service."""
    if isinstance(value, JobInfo | TopicStats):
        return {one.name: getattr(value, one.name) for one in fields(value) if not one.name.startswith("_")}
    if isinstance(value, Job | ModelHandle):
        names = (
            "id",
            "topic",
            "priority",
            "name",
            "payload",
            "attempt",
            "retries_left",
            "deadline",
            "options",
            "settled",
        )
        return {name: getattr(value, name) for name in names}
    if isinstance(value, Exchange):
        return plain(value.jobs), value.ids, plain(value.lost)
    return list(map(plain, value)) if isinstance(value, list) else value


def said(error: JobqError) -> Any:
    """What a program can tell from an error, its message aside."""
    return type(error), {name: plain(value) for name, value in vars(error).items()}


def attempt(call: Callable[[], Any]) -> tuple[Any, Any]:
    """What a call returned, and what can be told of the error that it raised."""
    try:
        return call(), None
    except JobqError as error:
        return None, said(error)


class QueueMachine(RuleBasedStateMachine):
    """The model is target -1, the services are the others."""

    @initialize(
        depth=st.sampled_from([None, None, 5]),
        done=st.sampled_from([100_000, 100_000, 2, 0]),
        lease=st.sampled_from([300, 4]),
        keep_done=st.sampled_from([3600, 0, 5]),
        jobs=st.lists(new_jobs(), max_size=6),
    )
    def begin(self, depth: int | None, done: int, lease: int, keep_done: int, jobs: list[dict[str, Any]]) -> None:
        self.clock = ManualClock()
        defaults = JobOptions(
            lease=lease, max_retries=2, min_backoff=1, max_backoff=3, keep_done=keep_done, keep_canceled=20
        )
        self.arguments: dict[str, Any] = {
            "defaults": defaults,
            "topic_defaults": TOPIC_DEFAULTS,
            "limits": Limits(depth=depth, done=done),
        }
        self.model = Model(self.clock, **self.arguments)
        self.homes: list[MemoryHome | LmdbHome] = [MemoryHome(self.clock), LmdbHome(self.clock)]
        self.held: list[Held] = []
        self.steps = 0
        self.open()
        for new in jobs:
            self.enqueue(new)

    def open(self) -> None:
        self.storages = [home.open() for home in self.homes]
        self.services = [JobService(storage, **self.arguments) for storage in self.storages]

    def teardown(self) -> None:
        for service in getattr(self, "services", []):
            service.close()
        for home in getattr(self, "homes", []):
            home.close()

    def alike(self, call: Callable[[Any, int], Any]) -> tuple[Any, list[Any]]:
        """Make a call on the model and each service; returns what they gave, once found equal."""
        given, refused = attempt(lambda: call(self.model, -1))
        results = []
        for target, service in enumerate(self.services):
            result, error = attempt(lambda service=service, target=target: call(service, target))  # type: ignore[misc]
            assert (plain(result), error) == (plain(given), refused), f"by {service!r}"
            results.append(result)
        return given, results

    def both(self, verb: str, *args: Any, **how: Any) -> tuple[Any, list[Any]]:
        """Make a call by the verb's name."""
        return self.alike(lambda svc, _: getattr(svc, verb)(*args, **how))

    def hold(self, handles: list[ModelHandle], jobs: list[list[Job]]) -> None:
        self.held += [Held(handle, [one[i] for one in jobs]) for i, handle in enumerate(handles)]
        self.held = self.held[-REMEMBERED:]

    def build(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Arguments with the instants that `in_` stands for."""
        built = {name: value for name, value in chosen.items() if name != "in_"}
        return built | {"run_at": self.clock.after(chosen["in_"])} if "in_" in chosen else built

    def news(self, batch: list[dict[str, Any]]) -> list[NewJob]:
        return [NewJob(**self.build(one)) for one in batch]

    def outcome(self, drawn: tuple[type[Any], dict[str, Any]]) -> Any:
        kind, chosen = drawn
        return kind(**self.build(chosen | ({"then": self.news(chosen["then"])} if "then" in chosen else {})))

    def some_held(self, data: st.DataObject, least: int = 1) -> list[Held]:
        """Some handles, more often those whose reservation stands."""
        current = [place for place, held in enumerate(self.held) if self.model.is_held(held.model)]
        places = st.sampled_from([*range(len(self.held)), *current, *current])
        return [self.held[place] for place in data.draw(st.lists(places, min_size=least, max_size=4, unique=True))]

    def some_ids(self, data: st.DataObject, *statuses: Status) -> Any:
        """One id or several, of jobs that are, were, or never were; more often of jobs in these statuses."""
        fitting = [job.id for job in self.model.jobs_by_id.values() if job.status in statuses]
        ids = st.sampled_from([*range(1, self.model.next_id + 1), *(fitting or list(self.model.jobs_by_id)) * 5])
        if data.draw(st.integers(0, 19)) == 19:
            ids = st.sampled_from([0, -1, 2**64, 10**30])
        return data.draw(ids | st.lists(ids, max_size=3))

    # -- producing

    @rule(new=new_jobs())
    def enqueue(self, new: dict[str, Any]) -> None:
        built = self.build(new)
        self.both("enqueue", **built)

    @rule(batch=batches)
    def enqueue_many(self, batch: list[dict[str, Any]]) -> None:
        self.both("enqueue_many", self.news(batch))

    # -- consuming

    @rule(names=several_topics, n=st.integers(1, 3), lease=leases)
    def reserve(self, names: list[str], n: int, lease: Any) -> None:
        self.hold(*self.both("reserve", names, n, lease=lease))

    @rule(names=several_topics, n=st.integers(1, 3), seconds=st.sampled_from([1, 5, 70, 400]))
    def wait_and_reserve(self, names: list[str], n: int, seconds: float) -> None:
        """Leases end, delayed jobs come due, retention is over."""
        self.clock.advance(seconds)
        self.reserve(names, n, None)

    @rule(names=several_topics, n=st.integers(1, 3), lease=leases, most=st.integers(0, 4))
    def iterate(self, names: list[str], n: int, lease: Any, most: int) -> None:
        def first(svc: Any, target: int) -> list[Any]:
            how = {} if target < 0 else {"timeout": 0}
            jobs = svc.jobs(names, n=n, lease=lease, **how)
            taken = list(islice(jobs, most))
            jobs.close()
            return taken

        self.hold(*self.alike(first))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), drawn=outcomes())
    def settle(self, data: st.DataObject, drawn: tuple[type[Any], dict[str, Any]]) -> None:
        kind, chosen = drawn
        verb = {Done: "done", Retry: "retry", Release: "release", Reject: "reject", Cancel: "extend"}[kind]
        if kind is Cancel:  # no verb of its own for handles: extend takes its turn
            chosen = {"seconds": data.draw(leases)}
        how = self.build({name: value for name, value in chosen.items() if name != "then"})
        held = self.some_held(data)
        self.alike(lambda svc, target: getattr(svc, verb)([one.of(target) for one in held], **how))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), drawn=outcomes())
    def settle_one_by_its_handle(self, data: st.DataObject, drawn: tuple[type[Any], dict[str, Any]]) -> None:
        [held] = self.some_held(data)[:1]
        verb = drawn[0].__name__.lower()
        how = self.build(drawn[1] | ({"then": self.news(drawn[1]["then"])} if "then" in drawn[1] else {}))
        if held.jobs[0]._service is self.services[0]:
            self.alike(lambda _, target: getattr(held.of(target), verb)(**how))
            return
        for job in held.jobs:
            with pytest.raises(ServiceClosed):
                getattr(job, verb)(**how)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), seconds=leases)
    def extend_one_by_its_handle(self, data: st.DataObject, seconds: Any) -> None:
        [held] = self.some_held(data)[:1]
        if held.jobs[0]._service is self.services[0]:
            self.alike(lambda _, target: held.of(target).extend(seconds))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), drawn=outcomes(), is_interrupt=st.booleans())
    def leave_with(self, data: st.DataObject, drawn: tuple[type[Any], dict[str, Any]], is_interrupt: bool) -> None:
        """Leave `with job:` by an outcome, or by what releases the job and goes on up."""
        [held] = self.some_held(data)[:1]
        if held.jobs[0]._service is not self.services[0]:
            return
        outcome = self.outcome(drawn)

        def leave(_: Any, target: int) -> None:
            if target < 0:
                held.model.leave(Release() if is_interrupt else outcome)
                return
            with suppress(KeyboardInterrupt), held.jobs[target]:
                raise KeyboardInterrupt if is_interrupt else outcome

        self.alike(leave)

    @rule(data=st.data(), batch=batches, names=st.lists(topics, max_size=2), n=st.integers(1, 3), lease=leases)
    def exchange(self, data: st.DataObject, batch: list[Any], names: list[str], n: int, lease: Any) -> None:
        held = self.some_held(data, least=0) if self.held else []
        drawn = [self.outcome(data.draw(outcomes())) for _ in held]
        how = {"enqueue": self.news(batch), "topics": tuple(names), "n": n, "lease": lease}

        def exchange(svc: Any, target: int) -> Any:
            pairs = [(one.of(target), outcome) for one, outcome in zip(held, drawn, strict=True)]
            return svc.exchange(pairs, **how)

        expected, results = self.alike(exchange)
        if expected is not None:
            self.hold(expected.jobs, [result.jobs for result in results])

    # -- administering

    @rule(data=st.data(), verb=st.sampled_from(["cancel", "reset", "reset", "reschedule", "delete"]))
    def administer(self, data: st.DataObject, verb: str) -> None:
        if verb == "cancel":
            self.both("cancel", self.some_ids(data, Status.READY, Status.RESERVED), data.draw(notes))
        elif verb == "reschedule":
            ids = self.some_ids(data, Status.READY, Status.DELAYED)
            self.both("reschedule", ids, self.clock.after(data.draw(run_ats)))
        else:
            self.both(verb, self.some_ids(data, Status.DONE, Status.CANCELED))

    @rule(topic=topics, verb=st.sampled_from(["pause", "resume", "resume", "clear"]))
    def administer_a_topic(self, topic: str, verb: str) -> None:
        self.both(verb, topic)

    @rule(data=st.data(), topic=st.none() | topics)
    def prune(self, data: st.DataObject, topic: str | None) -> None:
        ends = [job.finished_at for job in self.model.jobs_by_id.values() if job.finished_at]
        before = data.draw(st.sampled_from([None, self.clock.now(), self.clock.after(-1), *map(moment, ends)]))
        self.both("prune", before, topic=topic)

    # -- looking

    @rule(data=st.data())
    def look_at_one(self, data: st.DataObject) -> None:
        ids = self.some_ids(data)
        for one in [ids] if isinstance(ids, int) else ids:
            for verb in ("get", "status", "payload"):
                self.both(verb, one)

    # -- time, and other openings

    @rule(seconds=st.sampled_from([0.000_001, 0.5, 1, 1, 3, 10, 60, 4_000]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-5_000, -30, -1, 0.000_001, 1, 30]))
    def the_wall_clock_is_set(self, seconds: float) -> None:
        self.clock.step_wall(seconds)

    @rule()
    def reopen(self) -> None:
        for service in self.services:
            service.close()
        self.open()

    # -- what holds after each step

    @invariant()
    def all_tell_the_same(self) -> None:
        for status in Status:
            self.both("find", status)
        for verb in ("dead_letters", "topics"):
            self.both(verb)
        self.alike(lambda svc, _: [svc.lookup(*key) for key in EVERY_KEY])
        self.alike(lambda svc, _: [svc.stats(topic) for topic in TOPICS])
        self.alike(lambda svc, _: [svc.next_due(names) for names in (TOPICS[:1], TOPICS)])
        for held in self.held:
            self.alike(lambda _, target, of=held.of: of(target))  # type: ignore[misc]
        self.steps += 1
        self.pages_are_parts_of_the_whole()
        self.payloads_and_places_are_those_of_the_jobs()
        self.a_handle_knows_whether_it_was_taken_away()

    def pages_are_parts_of_the_whole(self) -> None:
        status, topic = list(Status)[self.steps % len(Status)], [None, *TOPICS][self.steps % (len(TOPICS) + 1)]

        def pages(svc: Any, target: int) -> list[Any]:
            if target < 0:
                return list(svc.find(status, topic=topic))
            found: list[JobInfo] = []
            while page := svc.find(status, topic=topic, limit=2, after=found[-1] if found else None):
                assert len(page) <= 2
                found += page
            return found

        self.alike(pages)

    def payloads_and_places_are_those_of_the_jobs(self) -> None:
        expected = {job.id: job.payload for job in self.model.jobs_by_id.values()}
        for storage in self.storages:
            found = storage.view(lambda uow: uow.jobs.payloads(list(expected)))
            assert found == list(expected.values())
            check_invariants(storage, EVERY_KEY)

    def a_handle_knows_whether_it_was_taken_away(self) -> None:
        for held in self.held[-2:]:
            if held.jobs[0]._service is self.services[0]:
                self.alike(lambda _, target, of=held.of: of(target).canceled())  # type: ignore[misc]


TestQueue = QueueMachine.TestCase
