"""The rules of the queue as plain Python over a dict of jobs, sorted on demand. See `tests.model`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

from jobq import (
    CancelReason,
    Done,
    DuplicateJob,
    JobOptions,
    Limits,
    NewJob,
    Reject,
    Release,
    Retry,
    Status,
    TopicFull,
)
from jobq.repos import Clock
from tests.model_values import (
    FINISHED,
    WAITING,
    ModelHandle,
    ModelJob,
    ModelTopic,
    Outcome,
    instant,
    moment,
    named,
    nanos,
    said,
)


class Rules:
    """The jobs and topics, and what becomes of them."""

    def __init__(
        self, clock: Clock, defaults: JobOptions, topic_defaults: dict[str, JobOptions], limits: Limits
    ) -> None:
        self.clock, self.defaults, self.topic_defaults, self.limits = clock, defaults, topic_defaults, limits
        self.jobs_by_id: dict[int, ModelJob] = {}
        self.history: dict[str, ModelTopic] = {}
        self.next_id = 1
        self.generation = 0
        self._before: list[ModelJob] = []

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; `_before` are the jobs as they were. A topic without jobs is forgotten unless paused."""
        jobs = {job.id: copy(job) for job in self.jobs_by_id.values()}
        history = {name: replace(topic, totals=Counter(topic.totals)) for name, topic in self.history.items()}
        next_id = self.next_id
        self._before = list(jobs.values())
        try:
            yield
        except BaseException:
            self.jobs_by_id, self.history, self.next_id = jobs, history, next_id
            raise
        used = {job.topic for job in self.jobs_by_id.values()}
        self.history = {name: topic for name, topic in self.history.items() if topic.paused or name in used}

    def _topic(self, name: str) -> ModelTopic:
        return self.history.setdefault(name, ModelTopic())

    def _sorted(self, jobs: Iterable[ModelJob], topic: str, group: str) -> list[ModelJob]:
        return sorted((job for job in jobs if job.topic == topic and job.group() == group), key=ModelJob.rank)

    def _now(self, topic: str, group: str) -> list[ModelJob]:
        return self._sorted(self.jobs_by_id.values(), topic, group)

    def _enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        ids = []
        grown = set()
        for new in jobs:
            topic = named(new.topic)
            held = self.lookup(topic, new.unique_key) if new.unique_key else None
            if held is None:
                held, self.next_id = self.next_id, self.next_id + 1
                job = ModelJob(held, topic, self.clock.wall(), new.unique_key)
                self.jobs_by_id[held] = self._shaped(job, new)
                self._count_enqueued(topic)
                grown.add(topic)
            elif new.on_duplicate != "keep":
                job = self.jobs_by_id[held]
                if new.on_duplicate == "raise" or job.status is Status.RESERVED:
                    raise DuplicateJob("", job_id=held)
                self._shaped(job, new).retry_count = 0
            ids.append(held)
        for topic in grown:
            if self.limits.depth and sum(len(self._now(topic, status)) for status in WAITING) > self.limits.depth:
                raise TopicFull("")
        return ids

    def _count_enqueued(self, name: str) -> None:
        topic = self._topic(name)
        topic.totals["enqueued"] += 1
        topic.last_enqueued_at = self.clock.wall()
        topic.first_enqueued_at = topic.first_enqueued_at or topic.last_enqueued_at

    def _shaped(self, job: ModelJob, new: NewJob) -> ModelJob:
        base = new.options or self.topic_defaults.get(job.topic, self.defaults)
        job.priority, job.name, job.options = new.priority, new.name, replace(base, **new.overrides)
        job.headers = dict(new.headers or {})
        if repr(new.json) != "UNSET":
            job.payload = json.dumps(new.json, ensure_ascii=False, separators=(",", ":")).encode()
        else:
            job.payload = new.payload.encode() if isinstance(new.payload, str) else bytes(new.payload)
        at = self.clock.wall() + nanos(new.delay or 0)
        self._wait(job, max(at, instant(new.run_at)) if new.run_at else at)
        return job

    def _say(self, job: ModelJob, message: str) -> None:
        job.log = (*job.log, (self.clock.wall(), message))

    def _become(self, job: ModelJob, status: Status, why: str = "") -> None:
        was = job.status.value if job.id in self.jobs_by_id else "new"
        if job.options.log_status_change and status.value != was:
            self._say(job, f"{was} -> {status.value}" + (f" ({why})" if why else ""))
        job.status = status

    def _wait(self, job: ModelJob, run_at: int, why: str = "") -> None:
        now = self.clock.wall()
        self._become(job, Status.DELAYED if run_at > now else Status.READY, why)
        job.run_at = max(run_at, now)
        job.deadline = job.finished_at = None

    def _reserve(self, topics: Sequence[str], n: int, lease: Any) -> tuple[list[ModelHandle], bool]:
        """What was taken; and whether nothing was, but there may be more behind the jobs whose time was over."""
        taken: list[ModelHandle] = []
        turned = 0
        for name in topics:
            if len(taken) < n and not (name in self.history and self.history[name].paused):
                turned += self._turn_due(name, max(n, 100))
                taken += [self._take(job, lease) for job in self._now(name, "ready")[: n - len(taken)]]
        return taken, bool(turned) and not taken

    def _take(self, job: ModelJob, lease: Any) -> ModelHandle:
        wall, steady = self.clock.wall(), self.clock.steady()
        hold = nanos(job.options.lease if lease is None else lease)
        job.attempt += 1
        self._become(job, Status.RESERVED, f"attempt {job.attempt}")
        job.reserved_at, job.generation, job.deadline = wall, self.generation, steady + hold
        topic = self._topic(job.topic)
        topic.totals["reserved"] += 1
        topic.wait += max(0, wall - job.run_at)
        topic.last_reserved_at = wall
        topic.first_reserved_at = topic.first_reserved_at or wall
        return ModelHandle(self, job, hold, moment(wall + hold))

    def _turn_due(self, topic: str, bound: int) -> int:
        over = [j for j in self._sorted(self._before, topic, "reserved") if self.lease_left(j) <= 0]
        over = over[: bound // 2]
        come = [j for j in self._sorted(self._before, topic, "delayed") if j.run_at <= self.clock.wall()]
        come = come[: bound - len(over)]
        for old in over + come:
            job = self.jobs_by_id.get(old.id)
            if job == old:
                self._turn(job)
        return len(over) + len(come)

    def lease_left(self, job: ModelJob) -> int:
        """Nanoseconds; none of a lease from before the steady clock began anew."""
        return (job.deadline or 0) - self.clock.steady() if job.generation == self.generation else 0

    def _turn(self, job: ModelJob) -> None:
        if job.status is Status.DELAYED:
            self._become(job, Status.READY)
            return
        self._topic(job.topic).totals["expired"] += 1
        if self._is_exhausted(job):
            self._die(job, CancelReason.EXHAUSTED, None)
        else:
            job.retry_count += 1
            self._wait(job, self.clock.wall(), f"retry {job.retry_count}")

    def _retire(self, topics: Iterable[str], n: int) -> None:
        for topic in dict.fromkeys(topics):
            room = 2 * n + 8
            for group in ("done", "canceled", "dead"):
                mine = self._sorted(self._before, topic, group)
                count = sum(job.rank()[0] <= self.clock.wall() for job in mine)
                if group == "done":
                    count = max(count, len(self._now(topic, group)) - self.limits.done)
                for job in mine[: min(room, count)]:
                    del self.jobs_by_id[job.id]
                    room -= 1

    def _settle(self, outcomes: Sequence[tuple[ModelHandle, Outcome]]) -> tuple[list[ModelHandle], list[int]]:
        lost = []
        then: list[NewJob] = []
        for handle, outcome in outcomes:
            job = self._held(handle)
            if job is None:
                lost.append(handle)
                continue
            self._apply(job, outcome)
            if isinstance(outcome, Done | Release):
                then += [outcome.then] if isinstance(outcome.then, NewJob) else outcome.then
        return lost, self._enqueue(then)

    def is_held(self, handle: ModelHandle) -> bool:
        return self._held(handle) is not None

    def _held(self, handle: ModelHandle) -> ModelJob | None:
        job = self.jobs_by_id.get(handle.id)
        return job if job and job.status is Status.RESERVED and job.attempt == handle.attempt else None

    def _apply(self, job: ModelJob, outcome: Outcome) -> None:
        wall = self.clock.wall()
        if isinstance(outcome, Done):
            topic = self._topic(job.topic)
            topic.totals["done"] += 1
            topic.run += max(0, wall - (job.reserved_at or 0))
            job.result = outcome.result
            self._finish(job, Status.DONE)
        elif isinstance(outcome, Retry):
            self._retry(job, outcome)
        elif isinstance(outcome, Release):
            self._wait(job, instant(outcome.run_at) if outcome.run_at else wall + nanos(outcome.delay))
        elif isinstance(outcome, Reject):
            self._die(job, outcome.reason, outcome.error)
        else:
            self._cancel(job, outcome.note)

    def _retry(self, job: ModelJob, outcome: Retry) -> None:
        if self._is_exhausted(job):
            self._die(job, CancelReason.EXHAUSTED, outcome.error)
            return
        self._topic(job.topic).totals["retried"] += 1
        backoff = min(nanos(job.options.max_backoff), nanos(job.options.min_backoff) * 2**job.retry_count)
        job.retry_count += 1
        job.last_error = said(outcome.error) or job.last_error
        wait = backoff if outcome.delay is None else nanos(outcome.delay)
        at = instant(outcome.run_at) if outcome.run_at else self.clock.wall() + wait
        self._wait(job, at, f"retry {job.retry_count}")

    def _is_exhausted(self, job: ModelJob) -> bool:
        return job.options.max_retries is not None and job.retry_count >= job.options.max_retries

    def _die(self, job: ModelJob, reason: CancelReason, error: Any) -> None:
        self._topic(job.topic).totals["dead"] += 1
        job.cancel_reason = reason
        job.last_error = said(error) or job.last_error
        self._finish(job, Status.CANCELED)

    def _cancel(self, job: ModelJob, note: str | None) -> None:
        self._topic(job.topic).totals["canceled"] += 1
        job.cancel_reason, job.note = CancelReason.REQUESTED, note or None
        self._finish(job, Status.CANCELED)

    def _finish(self, job: ModelJob, status: Status) -> None:
        self._become(job, status, job.cancel_reason.value if job.cancel_reason else "")
        job.finished_at, job.deadline = self.clock.wall(), None
        if job.keep() == 0:
            del self.jobs_by_id[job.id]

    def lookup(self, topic: str, unique_key: str) -> int | None:
        for job in self.jobs_by_id.values():
            if (job.topic, job.unique_key) == (topic, unique_key) and job.status not in FINISHED:
                return job.id
        return None
