"""The queue as plain Python, written from its documentation and not from its code: a dict of jobs, sorted on demand.

`Model` has the verbs of JobService. It uses public names of jobq only, and none of its rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from jobq import (
    CancelReason,
    Done,
    DuplicateJob,
    Exchange,
    InvalidStatus,
    JobNotFound,
    LeaseLost,
    NewJob,
    Reject,
    Release,
    Retry,
    Status,
)
from tests.model_rules import Rules
from tests.model_values import (
    FINISHED,
    SECOND,
    WAITING,
    ModelHandle,
    ModelJob,
    ModelTopic,
    Outcome,
    instant,
    moment,
    named,
    nanos,
)


class Model(Rules):
    """The verbs of JobService over a dict."""

    # -- producing

    def enqueue(self, topic: str, **fields: Any) -> int:
        return self.enqueue_many([NewJob(topic, **fields)])[0]

    def enqueue_many(self, jobs: Sequence[NewJob]) -> list[int]:
        with self._transaction():
            return self._enqueue(jobs)

    # -- consuming

    def reserve(self, topics: Iterable[str], n: int = 1, *, lease: Any = None) -> list[ModelHandle]:
        names = list(dict.fromkeys(map(named, topics)))
        taken: list[ModelHandle] = []
        is_open = True
        while is_open and not taken:
            with self._transaction():
                self._retire(names, n)
                taken, is_open = self._reserve(names, n, lease)
        return taken

    def jobs(self, topics: Iterable[str], *, n: int = 1, lease: Any = None) -> Iterator[ModelHandle]:
        waiting: list[ModelHandle] = []
        try:
            while waiting := self.reserve(topics, n, lease=lease):
                while waiting:
                    yield waiting.pop(0)
        finally:
            if waiting:
                self.exchange([(handle, Release()) for handle in waiting])

    # -- settling

    def done(self, jobs: Any, result: Any = None) -> None:
        self._settle_all(jobs, Done(result))

    def retry(self, jobs: Any, delay: Any = None, *, run_at: datetime | None = None, error: Any = None) -> None:
        self._settle_all(jobs, Retry(delay, run_at=run_at, error=error))

    def release(self, jobs: Any, delay: Any = 0, *, run_at: Any = None) -> None:
        self._settle_all(jobs, Release(delay, run_at=run_at))

    def reject(self, jobs: Any, error: Any = None, *, reason: CancelReason = CancelReason.REJECTED) -> None:
        self._settle_all(jobs, Reject(error, reason=reason))

    def extend(self, jobs: Any, seconds: Any = None) -> None:
        lost = []
        with self._transaction():
            for handle in _handles(jobs):
                job = self._held(handle)
                if job is None:
                    lost.append(handle)
                    continue
                hold = handle.lease if seconds is None else nanos(seconds)
                job.generation, job.deadline = self.generation, self.clock.steady() + hold
                handle.deadline = moment(self.clock.wall() + hold)
        if lost:
            raise LeaseLost("", jobs=lost)

    def log(self, handle: ModelHandle, message: str) -> None:
        with self._transaction():
            job = self._held(handle)
            if job is None:
                raise LeaseLost("", jobs=[handle])
            self._say(job, message[:2_000])

    def exchange(
        self,
        outcomes: Sequence[tuple[ModelHandle, Outcome]] = (),
        *,
        enqueue: Sequence[NewJob] = (),
        topics: Iterable[str] = (),
        n: int = 1,
        lease: Any = None,
    ) -> Exchange[ModelHandle]:
        names = list(dict.fromkeys(map(named, topics)))
        with self._transaction():
            lost, ids = self._settle(outcomes)
            ids += self._enqueue(enqueue)
            taken, is_open = self._reserve(names, n, lease)
            self._retire([*names, *(handle.topic for handle, _ in outcomes)], n + len(outcomes))
        for handle, _ in outcomes:
            handle.settled = handle.settled or handle not in lost
        if is_open:
            taken = self.reserve(names, n, lease=lease)
        return Exchange(taken, ids, lost)

    def _settle_all(self, jobs: Any, outcome: Outcome) -> None:
        handles = _handles(jobs)
        with self._transaction():
            lost, _ = self._settle([(handle, outcome) for handle in handles])
            self._retire([handle.topic for handle in handles], len(handles))
        for handle in handles:
            handle.settled = handle.settled or handle not in lost
        if lost:
            raise LeaseLost("", jobs=lost)

    # -- administering

    def _chosen(self, ids: Any, *statuses: Status) -> list[ModelJob]:
        chosen = list(dict.fromkeys([ids] if isinstance(ids, int) else ids))
        if missing := [one for one in chosen if one not in self.jobs_by_id]:
            raise JobNotFound("", ids=missing)
        jobs = [self.jobs_by_id[one] for one in chosen]
        if wrong := [job for job in jobs if job.status not in statuses]:
            raise InvalidStatus("", status=wrong[0].status, ids=[job.id for job in wrong])
        return jobs

    def cancel(self, ids: Any, note: str | None = None) -> None:
        with self._transaction():
            for job in self._chosen(ids, *WAITING, Status.RESERVED):
                self._cancel(job, note)

    def reset(self, ids: Any) -> None:
        with self._transaction():
            for job in self._chosen(ids, *FINISHED, Status.DELAYED):
                holder = self.lookup(job.topic, job.unique_key) if job.unique_key else None
                if holder not in (None, job.id):
                    raise DuplicateJob("", job_id=holder or 0, ids=[job.id])
                job.retry_count, job.reset_count = 0, job.reset_count + 1
                job.cancel_reason = job.note = job.result = None
                self._wait(job, self.clock.wall(), f"reset {job.reset_count}")

    def reschedule(self, ids: Any, run_at: datetime) -> None:
        with self._transaction():
            for job in self._chosen(ids, *WAITING):
                self._wait(job, instant(run_at))

    def delete(self, ids: Any) -> None:
        with self._transaction():
            for job in self._chosen(ids, *FINISHED):
                del self.jobs_by_id[job.id]

    def prune(self, before: datetime | None = None, *, topic: str | None = None) -> int:
        with self._transaction():
            for name in list(self.history) if topic is None else [named(topic)]:
                self._turn_due(name, 2 * len(self.jobs_by_id))
            gone = [
                job.id
                for job in self.jobs_by_id.values()
                if job.finished_at is not None
                and (topic is None or named(topic) == job.topic)
                and (job.rank()[0] <= self.clock.wall() if before is None else job.finished_at < instant(before))
            ]
            for one in gone:
                del self.jobs_by_id[one]
        return len(gone)

    def clear(self, topic: str) -> int:
        with self._transaction():
            jobs = [job for status in WAITING for job in self._now(named(topic), status)]
            for job in jobs:
                self._cancel(job, "cleared")
        return len(jobs)

    def pause(self, topic: str) -> None:
        with self._transaction():
            self._topic(named(topic)).paused = True

    def resume(self, topic: str) -> None:
        with self._transaction():
            self._topic(named(topic)).paused = False

    # -- looking

    def get(self, job_id: int) -> dict[str, Any]:
        if job_id not in self.jobs_by_id:
            raise JobNotFound("", ids=[job_id])
        job = self.jobs_by_id[job_id]
        seen = {name: value for name, value in vars(job).items() if name not in ("payload", "log", "generation")}
        for name in ("created_at", "run_at", "reserved_at", "finished_at"):
            seen[name] = moment(seen[name])
        if job.deadline is not None:
            seen["deadline"] = moment(self.clock.wall() + self.lease_left(job))
        return seen

    def status(self, job_id: int) -> Status:
        return Status(self.get(job_id)["status"])

    def payload(self, job_id: int) -> bytes:
        self.get(job_id)
        return self.jobs_by_id[job_id].payload

    def wait_for(self, job_id: int, timeout: Any) -> dict[str, Any]:
        seen = self.get(job_id)
        if seen["status"] not in FINISHED:
            raise TimeoutError
        return seen

    def logs(self, job_id: int) -> dict[str, Any]:
        self.get(job_id)
        lines = [(moment(at), message) for at, message in self.jobs_by_id[job_id].log]
        return {"lines": lines[-100:], "dropped": max(0, len(lines) - 100)}

    def find(self, status: Status, *, topic: str | None = None) -> list[dict[str, Any]]:
        jobs = [job for job in self.jobs_by_id.values() if job.status is status]
        mine = [job for job in jobs if topic is None or named(topic) == job.topic]
        return [self.get(job.id) for job in sorted(mine, key=lambda job: (job.topic, job.rank()))]

    def dead_letters(self, topic: str | None = None) -> list[dict[str, Any]]:
        found = self.find(Status.CANCELED, topic=topic)
        return [seen for seen in found if seen["cancel_reason"] is not CancelReason.REQUESTED]

    def topics(self) -> list[str]:
        return sorted(self.history)

    def stats(self, topic: str) -> dict[str, Any]:
        past = self.history.get(topic, ModelTopic())
        now = Counter(job.status for job in self.jobs_by_id.values() if job.topic == topic)
        ready = [job.run_at for job in self._now(topic, "ready")]
        totals = ("enqueued", "reserved", "done", "retried", "expired", "canceled", "dead")
        return {
            "topic": topic,
            "now": {status: now[status] for status in Status},
            **{name: past.totals[name] for name in totals},
            "first_enqueued_at": moment(past.first_enqueued_at),
            "last_enqueued_at": moment(past.last_enqueued_at),
            "first_reserved_at": moment(past.first_reserved_at),
            "last_reserved_at": moment(past.last_reserved_at),
            "oldest_ready_age": max(0, self.clock.wall() - min(ready)) / SECOND if ready else None,
            "mean_wait": past.wait / past.totals["reserved"] / SECOND if past.totals["reserved"] else None,
            "mean_run": past.run / past.totals["done"] / SECOND if past.totals["done"] else None,
            "total_wait": past.wait / SECOND,
            "total_run": past.run / SECOND,
            "paused": past.paused,
        }

    def next_due(self, topics: Iterable[str]) -> datetime | None:
        wall = self.clock.wall()
        times = []
        for job in self.jobs_by_id.values():
            if job.topic in topics and not self.history[job.topic].paused and job.status not in FINISHED:
                over_at = wall + self.lease_left(job)
                times.append({"ready": wall, "delayed": job.run_at, "reserved": over_at}[job.status])
        return moment(max(wall, min(times))) if times else None


def _handles(jobs: ModelHandle | Iterable[ModelHandle]) -> list[ModelHandle]:
    return [jobs] if isinstance(jobs, ModelHandle) else list(dict.fromkeys(jobs))
