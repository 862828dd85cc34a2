"""Every verb against every storage and a plain model: after each step all of them tell the same of all jobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobq import (
    Cancel,
    Done,
    Job,
    JobInfo,
    JobOptions,
    JobService,
    Limits,
    NewJob,
    Reject,
    Release,
    Retry,
    ServiceClosed,
    Status,
)
from jobq.testing.invariants import check_invariants, dump
from tests.clocks import ManualClock
from tests.model import Model
from tests.model_draws import (
    KEYS,
    Drawn,
    DrawnOutcome,
    batches,
    leases,
    lingers,
    messages,
    names,
    new_jobs,
    outcomes,
    picks,
    run_ats,
    several_names,
    several_picks,
)
from tests.model_values import ModelHandle, moment
from tests.model_world import Held, LmdbHome, MemoryHome, attempt, plain

TOPICS = ["a", "b:1", "default"]
EVERY_KEY = [(topic, key) for topic in TOPICS for key in KEYS]
TOPIC_DEFAULTS = {"b:1": JobOptions(lease=5, max_retries=1, min_backoff=2.3, keep_done=3, keep_dead=60)}
REMEMBERED = 8
"""Handles kept to use again, most of them stale by then."""


class QueueMachine(RuleBasedStateMachine):
    """The model is target -1, the services are the others."""

    @initialize(
        depth=st.sampled_from([None, None, 5]),
        done=st.sampled_from([100_000, 100_000, 2, 0]),
        lease=st.sampled_from([300, 4]),
        keep_done=st.sampled_from([3600, 0, 5]),
        tells=st.booleans(),
        has_past=st.booleans(),
    )
    def begin(self, depth: int | None, done: int, lease: int, keep_done: int, tells: bool, has_past: bool) -> None:
        self.clock = ManualClock()
        defaults = JobOptions(
            lease=lease,
            max_retries=2,
            min_backoff=1,
            max_backoff=3,
            keep_done=keep_done,
            keep_canceled=20,
            log_status_change=tells,
        )
        self.arguments: dict[str, Any] = {
            "defaults": defaults,
            "topic_defaults": TOPIC_DEFAULTS,
            "limits": Limits(depth=depth, done=done),
        }
        self.model = Model(self.clock, **self.arguments)
        self.durable = [LmdbHome(self.clock, "lmdb"), LmdbHome(self.clock, "memory", "memory", "lmdb")]
        self.homes: list[MemoryHome | LmdbHome] = [*self.durable, *self.others()]
        self.held: list[Held] = []
        self.steps = 0
        self.open()
        if has_past:
            self.live_through_a_past()

    def others(self) -> list[MemoryHome]:
        """The storages whose jobs end with the process."""
        return [MemoryHome(self.clock)]

    def live_through_a_past(self) -> None:
        """Begin with jobs in several statuses, one of them with a unique key that another took after it."""
        for fields in ({"unique_key": KEYS[0], "keep_done": None}, {}, {"delay": 5}, {"max_retries": None}):
            self.both("enqueue", "a", **fields)
        self.reserve(["a"], 2, None)
        self.settle([0], (Done, {}), None)
        self.settle([0], (Retry, {"error": "boom", "delay": 0}), None)
        self.both("enqueue", "a", priority=1, unique_key=KEYS[0])

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

    def build(self, chosen: Drawn) -> Drawn:
        """Arguments with the instants that `in_` stands for."""
        built = {name: value for name, value in chosen.items() if name != "in_"}
        return built | {"run_at": self.clock.after(chosen["in_"])} if "in_" in chosen else built

    def news(self, batch: list[Drawn]) -> list[NewJob]:
        return [NewJob(**self.build(one)) for one in batch]

    def outcome(self, drawn: DrawnOutcome) -> Any:
        kind, chosen = drawn
        return kind(**self.build(chosen | ({"then": self.news(chosen["then"])} if "then" in chosen else {})))

    def some_held(self, picks: list[int]) -> list[Held]:
        """Some handles, each once; more often those whose reservation stands."""
        current = [held for held in self.held if self.model.is_held(held.model)]
        held = [*current, *current, *reversed(self.held)]
        return list({id(one): one for one in (held[pick % len(held)] for pick in picks)}.values())

    def some_ids(self, picks: int | list[int], *statuses: Status) -> Any:
        """One id or several, of jobs that are, were, or never were; more often of jobs in these statuses."""
        if not isinstance(picks, int):
            return [self.some_ids(pick, *statuses) for pick in picks]
        fitting = [job.id for job in self.model.jobs_by_id.values() if job.status in statuses]
        ids = [*fitting * 3, *range(self.model.next_id + 1), -1, 10**30]
        return ids[picks % len(ids)]

    # -- producing

    @rule(new=new_jobs)
    def enqueue(self, new: Drawn) -> None:
        built = self.build(new)
        self.both("enqueue", **built)

    @rule(batch=batches)
    def enqueue_many(self, batch: list[Drawn]) -> None:
        self.both("enqueue_many", self.news(batch))

    # -- consuming

    @rule(topics=several_names, n=st.integers(1, 3), lease=leases, linger=lingers)
    def reserve(self, topics: list[str], n: int, lease: Any, linger: float = 0) -> None:
        """Without waiting: it lingers only where that ends at once, as the model's batch is empty or full."""
        sizes: list[int] = []

        def reserve(svc: Any, target: int) -> list[Any]:
            how = {"linger": linger} if target >= 0 and sizes[0] in (0, n) else {}
            jobs: list[Any] = svc.reserve(topics, n, lease=lease, **how)
            sizes.append(len(jobs))
            return jobs

        self.hold(*self.alike(reserve))

    @rule(topics=several_names, n=st.integers(1, 3), seconds=st.sampled_from([1, 5, 70, 400]))
    def wait_and_reserve(self, topics: list[str], n: int, seconds: float) -> None:
        """Leases end, delayed jobs come due, retention is over."""
        self.clock.advance(seconds)
        self.reserve(topics, n, None)

    @rule(topics=several_names, n=st.integers(1, 3), lease=leases, most=st.integers(0, 4))
    def iterate(self, topics: list[str], n: int, lease: Any, most: int) -> None:
        def first(svc: Any, target: int) -> list[Any]:
            how = {} if target < 0 else {"timeout": 0}
            jobs = svc.jobs(topics, n=n, lease=lease, **how)
            taken = list(islice(jobs, most))
            jobs.close()
            return taken

        self.hold(*self.alike(first))

    @precondition(lambda self: self.held)
    @rule(picks=several_picks, drawn=outcomes, seconds=leases)
    def settle(self, picks: list[int], drawn: DrawnOutcome, seconds: Any) -> None:
        kind, chosen = drawn
        verb = {Done: "done", Retry: "retry", Release: "release", Reject: "reject", Cancel: "extend"}[kind]
        if kind is Cancel:  # no verb of its own for handles: extend takes its turn
            chosen = {"seconds": seconds}
        how = self.build({name: value for name, value in chosen.items() if name != "then"})
        held = self.some_held(picks)
        self.alike(lambda svc, target: getattr(svc, verb)([one.of(target) for one in held], **how))

    @precondition(lambda self: self.held)
    @rule(pick=picks, drawn=outcomes)
    def settle_one_by_its_handle(self, pick: int, drawn: DrawnOutcome) -> None:
        [held] = self.some_held([pick])
        verb = drawn[0].__name__.lower()
        how = self.build(drawn[1] | ({"then": self.news(drawn[1]["then"])} if "then" in drawn[1] else {}))
        if held.jobs[0]._service is self.services[0]:
            self.alike(lambda _, target: getattr(held.of(target), verb)(**how))
            return
        for job in held.jobs:
            with pytest.raises(ServiceClosed):
                getattr(job, verb)(**how)

    @precondition(lambda self: self.held)
    @rule(pick=picks, message=messages, times=st.sampled_from([1, 1, 2, 101]))
    def log(self, pick: int, message: str, times: int) -> None:
        [held] = self.some_held([pick])
        if held.jobs[0]._service is self.services[0]:
            self.alike(lambda _, target: [held.of(target).log(message) for _ in range(times)])

    @precondition(lambda self: self.held)
    @rule(pick=picks, drawn=outcomes, is_interrupt=st.booleans())
    def leave_with(self, pick: int, drawn: DrawnOutcome, is_interrupt: bool) -> None:
        """Leave `with job:` by an outcome, or by what releases the job and goes on up."""
        [held] = self.some_held([pick])
        if held.jobs[0]._service is not self.services[0]:
            return
        kind, chosen = drawn
        # Without `then`: if that is refused, the job is retried with an error whose traceback the model cannot know.
        outcome = self.outcome((kind, {name: value for name, value in chosen.items() if name != "then"}))

        def leave(_: Any, target: int) -> None:
            if target < 0:
                held.model.leave(Release() if is_interrupt else outcome)
                return
            with suppress(KeyboardInterrupt), held.jobs[target]:
                raise KeyboardInterrupt if is_interrupt else outcome

        self.alike(leave)

    @rule(
        settled=st.lists(st.tuples(picks, outcomes), max_size=3),
        batch=batches,
        topics=st.lists(names, max_size=2),
        n=st.integers(1, 3),
        lease=leases,
        linger=lingers,
    )
    def exchange(
        self, settled: list[Any], batch: list[Drawn], topics: list[str], n: int, lease: Any, linger: float
    ) -> None:
        held = self.some_held([pick for pick, _ in settled]) if self.held else []
        drawn = [self.outcome(outcome) for _, outcome in settled]
        how = {"enqueue": self.news(batch), "topics": tuple(topics), "n": n, "lease": lease}
        sizes: list[int] = []

        def exchange(svc: Any, target: int) -> Any:
            pairs = [(one.of(target), outcome) for one, outcome in zip(held, drawn, strict=False)]
            lingers_not = target < 0 or (sizes and sizes[0] not in (0, n))
            result = svc.exchange(pairs, **how, **({} if target < 0 else {"linger": 0 if lingers_not else linger}))
            sizes.append(len(result.jobs))
            return result

        expected, results = self.alike(exchange)
        if expected is not None:
            self.hold(expected.jobs, [result.jobs for result in results])

    # -- administering

    @rule(picks=picks | several_picks, verb=st.sampled_from(["cancel", "reset", "reset", "delete"]))
    def administer(self, picks: int | list[int], verb: str) -> None:
        statuses = (Status.READY, Status.RESERVED) if verb == "cancel" else (Status.DONE, Status.CANCELED)
        self.both(verb, self.some_ids(picks, *statuses))

    @rule(picks=picks | several_picks, seconds=run_ats, note=st.sampled_from([None, "", "no more"]))
    def reschedule_or_cancel(self, picks: int | list[int], seconds: float, note: str | None) -> None:
        ids = self.some_ids(picks, Status.READY, Status.DELAYED)
        if note is None:
            self.both("reschedule", ids, self.clock.after(seconds))
        else:
            self.both("cancel", ids, note)

    @rule(topic=names, verb=st.sampled_from(["pause", "resume", "resume", "clear"]))
    def administer_a_topic(self, topic: str, verb: str) -> None:
        self.both(verb, topic)

    @rule(pick=picks, topic=st.none() | names)
    def prune(self, pick: int, topic: str | None) -> None:
        ends = [moment(job.finished_at) for job in self.model.jobs_by_id.values() if job.finished_at]
        times = [*ends, *ends, None, self.clock.now()]
        self.both("prune", times[pick % len(times)], topic=topic)

    # -- looking

    @rule(pick=picks)
    def look_at_one(self, pick: int) -> None:
        for verb in ("get", "status", "payload", "logs"):
            self.both(verb, self.some_ids(pick))

    @rule(pick=picks)
    def wait_for(self, pick: int) -> None:
        self.both("wait_for", self.some_ids(pick, Status.DONE, Status.CANCELED), 0)

    @precondition(lambda self: self.steps % 6 == 5)
    @rule()
    def backup(self) -> None:
        """A backup holds what its source does, whichever keeps its places in memory."""
        for home, service, storage in zip(self.durable, self.services, self.storages, strict=False):
            assert home.dump_of_backup(service) == dump(storage)

    @rule(repair=st.booleans())
    def verify(self, repair: bool) -> None:
        """Nothing ever differs, so there is nothing to repair."""
        for service in self.services:
            assert service.verify(repair) == []

    # -- time, and other openings

    @rule(seconds=st.sampled_from([0.000_001, 0.5, 1, 3, 10, 60, 4_000]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([0, 0, 0, -5_000, -30, -1, 0.000_001, 30]))
    def reopen_or_set_the_wall_clock(self, seconds: float) -> None:
        self.clock.step_wall(seconds)
        if not seconds:
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
        self.alike(lambda svc, _: [svc.logs(job_id) for job_id in list(self.model.jobs_by_id)])
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

    def all_are_alike_however_many(self) -> None:
        for status in Status:
            self.alike(lambda svc, at, one=status: svc.find(one, **{} if at < 0 else {"limit": 1_000}))  # type: ignore[misc]
        self.both("stats", "a")
        for storage in self.storages:
            check_invariants(storage)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=max(45, settings().max_examples))


class RebootedMachine(QueueMachine):
    """A machine that is booted now and then: leases from before are over. Queues in memory do not live through that."""

    def others(self) -> list[MemoryHome]:
        return []

    @rule(seconds=st.sampled_from([0, 1, 5_000]))
    def reboot(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for service in self.services:
            service.close()
        for home in self.durable:
            home.reboot()
        self.clock.reboot()
        self.model.generation += 1
        self.open()


TestRebootedQueue = RebootedMachine.TestCase
TestRebootedQueue.settings = settings(max_examples=max(10, settings().max_examples // 4))


@pytest.mark.parametrize("done", [100_000, 20])
def test_more_jobs_than_one_call_sees_to(done: int) -> None:
    """Leases, delays and retention by the hundred: what is left for the next call is the same everywhere."""
    queue = QueueMachine()
    queue.begin(depth=None, done=done, lease=300, keep_done=5, tells=False, has_past=False)
    queue.both("enqueue_many", [NewJob("a", lease=1, max_retries=n % 3 // 2, keep_dead=2) for n in range(230)])
    queue.both("enqueue_many", [NewJob("a", delay=n % 5, priority=n % 3, keep_done=3) for n in range(150)])
    for n in (200, 1, 1, 120, 3):
        queue.alike(lambda svc, _, n=n: svc.reserve(["a"], n))  # type: ignore[misc]
        queue.clock.advance(1)
        queue.all_are_alike_however_many()
    for _ in range(3):
        queue.held.clear()
        queue.reserve(["a"], 60, None)
        queue.settle(list(range(REMEMBERED)), (Done, {}), None)
        queue.all_are_alike_however_many()
        queue.clock.advance(3)
    for _ in range(12):
        queue.reserve(["a"], 1, None)
        queue.all_are_alike_however_many()
    queue.teardown()
