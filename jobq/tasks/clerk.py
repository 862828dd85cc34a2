"""Who sees to the schedules of a worker: it installs them, and says what becomes of one that is due."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from jobq.errors import JobNotFound
from jobq.job import Job, log_fields
from jobq.model.times import SECOND
from jobq.outcomes import Cancel, Outcome, Release, Retry
from jobq.service import JobService
from jobq.tasks.schedule import Schedule
from jobq.tasks.schedules import stored
from jobq.tasks.state import TOPIC, changed, decoded, first, turn
from jobq.tasks.ticks import MOST

log = logging.getLogger("jobq.worker")


class Clerk:
    """Serves schedules, by name, for one run of a worker. One that is due is Reserved while this looks at it.

    So nobody else does, and what it says is committed only if that stands: a tick is enqueued once.
    """

    def __init__(self, svc: JobService, schedules: Mapping[str, Schedule]) -> None:
        self._svc = svc
        self._schedules = schedules
        self._told: set[str] = set()
        self._outdated: set[str] = set()
        self._tries: dict[str, tuple[int, int]] = {}
        self.topics: tuple[str, ...] = (TOPIC,) if schedules else ()

    def begin(self) -> None:
        """Install the schedules that are not there yet, or are there with other settings. Raises JobqError."""
        for name, schedule in self._schedules.items():
            self._install(name, schedule)
        for name in stored(self._svc):
            if name not in self._schedules:
                self._tell_unknown(name)

    def outcome(self, job: Job) -> Outcome:
        """What becomes of a schedule that is due, and with it the jobs of its ticks."""
        try:
            return self._outcome(job)
        except Exception as problem:
            return Retry(error=problem)

    def _outcome(self, job: Job) -> Outcome:
        state, now = decoded(job.payload), self._svc.clock.wall()
        if job.unique_key != job.name:
            # It was moved here when there was one of this name already, as of a worker that had begun here. To go on,
            # it would replace that one, and be due again itself at once.
            log.warning("schedule %r is there twice: the one that came by a move goes", job.name, extra=log_fields(job))
            return Cancel()
        schedule = self._schedules.get(job.name)
        if schedule is None:
            self._tell_unknown(job.name, job)
            return Release(min(max(0.1, (now - state.next) / SECOND), 60))  # another program may know it
        if state.settings == schedule.settings:
            self._outdated.discard(job.name)
        elif job.name in self._outdated:
            state = changed(state, schedule.settings, now)
        ticks, state = turn(state, now, self._most(job.name, state.seen))
        return Release(then=[*map(schedule.job_of, ticks), state.job(job.name, "replace")])

    def _most(self, name: str, seen: int) -> int:
        """How many ticks to see to at once.

        Fewer each time that nothing came of it, as with a topic that has no room for so many; then more again.
        """
        before, most = self._tries.get(name, (-1, MOST))
        most = max(1, most // 2) if seen == before else min(2 * most, MOST)
        self._tries[name] = (seen, most)
        return most

    def _install(self, name: str, schedule: Schedule) -> None:
        now = self._svc.clock.wall()
        fresh = first(schedule.settings, now)
        id = self._svc.lookup(TOPIC, name)
        if id is None:
            id = self._svc.enqueue_many([fresh.job(name, "keep")])[0]
        try:
            payload = self._svc.payload(id)
        except JobNotFound:  # it was removed just now
            return
        try:
            before = decoded(payload)
            after = changed(before, schedule.settings, now)
        except ValueError as problem:
            log.warning("schedule %r begins anew, as it cannot be read: %s", name, problem)
            before, after = None, fresh
        is_put_off = after.next <= now  # as others gave it back that do not know it, or could not see to it
        if after == before and not is_put_off:
            return
        if not self._svc._swap(id, payload, after.job(name, "replace")) and after != before:
            self._outdated.add(name)  # somebody holds it: it is changed when it comes here

    def _tell_unknown(self, name: str, job: Job | None = None) -> None:
        if name not in self._told:
            self._told.add(name)
            extra = log_fields(job) if job is not None else None
            log.warning(
                "schedule %r is not in the code of this worker: if it is in no other, remove it with "
                "tasks.schedules.remove(%r)",
                *(name, name),
                extra=extra,
            )
