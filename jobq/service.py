"""JobService: the verbs of the queue over a storage.

Each verb checks its arguments, runs one transaction, and turns records into what users hold. What the verbs do is in
`jobq.verbs`, when a transition is allowed in `jobq.lifecycle`, what an argument may be in `jobq.inputs`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from functools import partial
from typing import Any, NoReturn, Protocol, Self, TypeVar, Unpack

from jobq import inputs, preparing
from jobq.abandoned import Abandoned
from jobq.draft import Draft, commit
from jobq.errors import LeaseLost, ServiceClosed
from jobq.job import Job, lost_message
from jobq.model.options import JobOptions, Limits, OptionOverrides
from jobq.model.records import Now, Record
from jobq.model.requests import UNSET, MoreHeaders, NewJob, OnDuplicate, PayloadLike, Request
from jobq.model.status import FINISHED_ORDERINGS, ORDERINGS_OF, CancelReason, Ordering, Status, StatusLike
from jobq.model.times import Seconds, duration, instant, moment
from jobq.model.views import (
    Compaction,
    Difference,
    Exchange,
    JobInfo,
    JobLog,
    MoveProgress,
    StorageInfo,
    TopicStats,
    wall_deadline,
)
from jobq.outcomes import Done, Outcome, Reject, Release, Retry
from jobq.paths import absolute_path
from jobq.ports import Clock, Express, NotPlain, Storage, Taken, UnitOfWork
from jobq.settlements import Meaning, meaning
from jobq.sweeping import Sweeper
from jobq.taking import Taking
from jobq.verbs import administering, consuming, looking, producing, settling
from jobq.verbs.consuming import Haul
from jobq.verbs.settling import Settlement
from jobq.waiting import EndListener, Listener, fill_up, wait_for_haul, wait_until_finished

T = TypeVar("T")

_NOTHING = nullcontext()
_DONE = Done()
CHUNK = 1_000
"""Jobs a transaction of `prune` and `clear`."""


class Crew(Protocol):
    """Threads that reserve jobs from a service for others, and give back what these no longer want."""

    def at_rest(self) -> AbstractContextManager[object]:
        """Wait until they hold no job, and have them take none for as long as this lasts."""
        ...


class JobService:
    """A queue: jobs in topics, over one storage. Threads may share it; a process opens its own.

    storage: where the jobs are; the service closes it. defaults, topic_defaults: the options of jobs that bring none,
    for all topics and by topic. limits: what the service accepts. headers: called with each NewJob as it is about to be
    enqueued, in the context of whoever enqueues it; what it returns is added to the job's headers, which go first. If
    it raises, nothing is enqueued, and a ConfigError says so.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        defaults: JobOptions | None = None,
        topic_defaults: Mapping[str, JobOptions] | None = None,
        limits: Limits | None = None,
        headers: MoreHeaders | None = None,
    ) -> None:
        if not hasattr(storage, "transact"):
            raise TypeError(f"JobService takes a storage, not {type(storage).__name__}: for a URL use jobq.open(url)")
        self._defaults = preparing.Defaults(defaults, topic_defaults, headers)
        self._limits = inputs.limits(limits)
        self._storage = storage
        self._express: Express | None = getattr(storage, "express", None)
        self._abandoned = Abandoned(storage, self._limits)
        self._sweeper = Sweeper(storage, self._limits)
        self._crews: dict[int, Crew] = {}  # by process, as threads do not come along into a fork
        self._closed = False

    def __repr__(self) -> str:
        return f"<JobService of {self._storage.url}{', closed' if self._closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a JobService cannot be pickled: open the same URL in the child")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the service and its storage; threads that wait in any of its verbs get ServiceClosed."""
        with ExitStack() as stack:
            try:
                if crew := self._crews.get(os.getpid()):
                    stack.enter_context(crew.at_rest())
            finally:
                self._closed = True
                self._storage.close()

    # -- producing

    def enqueue(
        self,
        topic: str,
        priority: int = 0,
        payload: PayloadLike = b"",
        *,
        json: Any = UNSET,
        name: str = "",
        delay: Seconds | None = None,
        run_at: datetime | None = None,
        unique_key: str | None = None,
        on_duplicate: OnDuplicate = "raise",
        headers: Mapping[str, str] | None = None,
        options: JobOptions | None = None,
        **overrides: Unpack[OptionOverrides],
    ) -> int:
        """Enqueue a job and return its id.

        topic: 1 to 128 of `A-Za-z0-9._:-`; "" is "default". priority: -32768 to 32767, the lower the sooner.
        payload: bytes-like or str (UTF-8); or `json`: any JSON value. name: which handler is meant, 255 bytes at most.
        delay: seconds before it is Ready; or `run_at`: an aware datetime. unique_key: held in the topic while the job
        is unfinished; if it is held already, on_duplicate "raise" raises, "keep" returns the holder's id, "replace"
        gives a waiting holder this payload, priority, name, time, options and headers. headers: names and texts that
        travel with the job, 4,000 bytes as JSON at most. options: instead of the service's, with `overrides` changing
        single fields.
        Raises DuplicateJob, PayloadTooLarge, TopicFull, StorageFull; InvalidTopic, ValueError, TypeError.
        """
        job = NewJob(
            topic,
            priority,
            payload,
            json=json,
            name=name,
            delay=delay,
            run_at=run_at,
            unique_key=unique_key,
            on_duplicate=on_duplicate,
            headers=headers,
            options=options,
            **overrides,
        )
        request = preparing.request(job, self._defaults, self._limits)
        if self._express is not None and self._limits.depth is None and _is_plain(request):
            self._begin()
            try:
                return self._express.add(request)
            except NotPlain:
                pass
        return self._commit(lambda draft: producing.enqueue(draft, [request], self._limits))[0]

    def enqueue_many(self, jobs: Iterable[NewJob]) -> list[int]:
        """Enqueue all jobs or none, in one commit, and return their ids in order. Unique keys resolve in order.

        Raises what `enqueue` raises; ValueError for more than `Limits.batch` jobs.
        """
        requests = preparing.requests(jobs, self._defaults, self._limits)
        return self._commit(lambda draft: producing.enqueue(draft, requests, self._limits)) if requests else []

    # -- consuming

    def reserve(
        self,
        topics: str | Iterable[str],
        n: int = 1,
        timeout: Seconds | None = 0.0,
        *,
        lease: Seconds | None = None,
        linger: Seconds = 0.0,
    ) -> list[Job]:
        """Reserve up to n Ready jobs, the most urgent first; returns as soon as there is one, or [] at the timeout.

        topics: one or several, served in the order given. n: 1 to `Limits.batch`. timeout: seconds to wait for a
        first job; None waits for ever. lease: seconds to hold the jobs, by default what each job's options say.
        linger: seconds to wait for more, once there is a first job and until there are n; at most half of a lease.
        """
        taking, patience, longest = self._taking(inputs.topics(topics), n, timeout, lease, linger)
        try:
            first = taking.attempt()
            if longest or not first.taken:
                self._wait(taking, first, patience, longest)
            return self._jobs(taking)
        except BaseException:
            self._give_back(taking)
            raise

    def jobs(
        self,
        topics: str | Iterable[str],
        *,
        n: int = 1,
        timeout: Seconds | None = None,
        lease: Seconds | None = None,
    ) -> Generator[Job, None, None]:
        """Yield reserved jobs one by one, n a reservation; ends once nothing came for `timeout` seconds (None: never).

        The leases of the n run from their reservation. Leaving the loop releases what was reserved and not yet yielded.
        """
        names = inputs.topics(topics)
        inputs.whole(n, "n", least=1, most=self._limits.batch)
        inputs.timeout(timeout)
        inputs.lease(lease)
        return self._yield_jobs(partial(self.reserve, names, n, timeout, lease=lease))

    def done(self, jobs: Job | Iterable[Job], result: Any = None) -> None:
        """The jobs' work is done; `result` is a JSON value to keep.

        Raises LeaseLost with those whose reservation is over, after the others were committed.
        """
        self._settle(jobs, _DONE if result is None else Done(result))

    def retry(
        self,
        jobs: Job | Iterable[Job],
        delay: Seconds | None = None,
        *,
        run_at: datetime | None = None,
        error: str | BaseException | None = None,
    ) -> None:
        """Try the jobs again after `delay` seconds or at `run_at`, by default after each one's backoff.

        A job without retries left becomes a dead letter (EXHAUSTED). error: why, kept as its last error; an exception
        is kept with its traceback. Raises LeaseLost as `done` does.
        """
        self._settle(jobs, Retry(delay, run_at=run_at, error=error))

    def release(self, jobs: Job | Iterable[Job], delay: Seconds = 0, *, run_at: datetime | None = None) -> None:
        """Give the jobs back for `delay` seconds or until `run_at`, without counting a retry.

        Raises LeaseLost as `done` does.
        """
        self._settle(jobs, Release(delay, run_at=run_at))

    def reject(
        self,
        jobs: Job | Iterable[Job],
        error: str | BaseException | None = None,
        *,
        reason: CancelReason = CancelReason.REJECTED,
    ) -> None:
        """Make the jobs dead letters at once, whatever retries are left. Raises LeaseLost as `done` does."""
        self._settle(jobs, Reject(error, reason=reason))

    def extend(self, jobs: Job | Iterable[Job], seconds: Seconds | None = None, *, at_least: bool = False) -> None:
        """Hold the jobs for `seconds` (above 0) from now, by default for the lease each was reserved with.

        at_least: leave leases that last longer as they are.
        Raises LeaseLost as `done` does.
        """
        lease = inputs.lease(seconds, "seconds")
        handles = self._handles(jobs)
        holds = [(job.id, job.attempt, job._lease if lease is None else lease) for job in handles]
        inputs.flag(at_least, "at_least")
        lost, renewed, now = self._commit(lambda draft: (*settling.extend(draft, holds, at_least=at_least), draft.now))
        deadlines = {(record.id, record.attempt): wall_deadline(record, now) for record in renewed}
        for job in handles:
            job._deadline = deadlines.get((job.id, job.attempt), job._deadline)
        self._raise_lost([handles[position] for position in lost])

    def exchange(
        self,
        outcomes: Iterable[tuple[Job, Outcome]] = (),
        *,
        enqueue: NewJob | Iterable[NewJob] = (),
        topics: str | Iterable[str] = (),
        n: int = 1,
        timeout: Seconds | None = 0.0,
        lease: Seconds | None = None,
        linger: Seconds = 0.0,
    ) -> Exchange[Job]:
        """Settle jobs, enqueue others and reserve the next ones, in one commit and as if in this order.

        outcomes: pairs of a handle and Done, Retry, Release, Reject or Cancel. enqueue: new jobs. topics, n, timeout,
        lease, linger: as in `reserve`; without topics nothing is reserved. If there is nothing to reserve, the rest is
        committed before it waits.
        Returns the jobs reserved, the ids enqueued (first those of the outcomes' `then`), and the handles whose
        reservation was lost. Their outcomes are dropped, which is no error here.
        """
        pairs = self._pairs(outcomes)
        settlements = [self._settlement(job, outcome) for job, outcome in pairs]
        handles = [job for job, _ in pairs]
        requests = preparing.requests(enqueue, self._defaults, self._limits)
        taking, patience, longest = self._taking(inputs.topics_or_none(topics), n, timeout, lease, linger)
        limits = self._limits
        if len(pairs) == 1 and not requests and not taking.topics:
            [(job, outcome)] = pairs
            if self._settle_one(job, outcome, Meaning(*settlements[0][2:])):
                return Exchange([], [], [])

        def everything(draft: Draft) -> tuple[Haul, list[int], list[int]]:
            lost, ids = settling.settle(draft, settlements, limits) if settlements else ([], [])
            if requests:
                ids += producing.enqueue(draft, requests, limits)
            haul = taking.take(draft) if taking.topics else Haul([], draft.now)
            touched = dict.fromkeys((*taking.topics, *(job.topic for job in handles)))
            consuming.retire(draft, list(touched), n + len(settlements), limits)
            return haul, ids, lost

        try:
            with _settling(handles):
                haul, ids, lost = self._commit(everything, lambda outcome: taking.note(outcome[0]))
                gone = self._mark_settled(pairs, lost)
            if taking.topics:
                self._wait(taking, haul, patience, longest)
            return Exchange(self._jobs(taking), ids, gone)
        except BaseException:
            self._give_back(taking)
            raise

    @contextmanager
    def listen(self, topics: str | Iterable[str]) -> Iterator[Listener]:
        """Listen for jobs to reserve, for a client that waits for other things, too, as the Worker does.

        What becomes Ready once this is begun ends the next `wait` of what it yields. Reserve before leaving it: who
        leaves jobs behind has others woken for them.
        """
        names = inputs.topics(topics)
        self._check_open()
        with self._storage.watch(names) as watch:
            yield Listener(self._storage, names, watch, self._sweeper.sweep)

    @contextmanager
    def _listen_for_ends(self, topics: Iterable[str]) -> Iterator[EndListener]:
        """The same for jobs that finish, for a client that waits for many of them."""
        self._check_open()
        with self._storage.watch(inputs.topics(topics), finished=True) as watch:
            yield EndListener(self._storage, watch, self._sweeper.sweep)

    @property
    def url(self) -> str:
        """Where the queue is, for people to read: it has no password, and need not open it."""
        return self._storage.url

    @property
    def limits(self) -> Limits:
        """What the service accepts."""
        return self._limits

    @property
    def clock(self) -> Clock:
        """The clock of this machine by which the queue waits."""
        return self._storage.clock

    # -- looking

    def status(self, id: int) -> Status:
        """The status of a job. Raises JobNotFound."""
        one = inputs.job_id(id)
        return self._view(lambda uow: looking.record(uow, one).status)

    def get(self, id: int) -> JobInfo:
        """All that is known of a job but its payload. Raises JobNotFound."""
        one = inputs.job_id(id)
        return self._view(lambda uow: looking.info(uow, one))

    def payload(self, id: int) -> bytes:
        """The payload of a job. Raises JobNotFound."""
        one = inputs.job_id(id)
        return self._view(lambda uow: looking.payload(uow, one))

    def logs(self, id: int) -> JobLog:
        """The log of a job: the newest 100 lines that `job.log` or `log_status_change` added. Raises JobNotFound."""
        one = inputs.job_id(id)
        return self._view(lambda uow: looking.logs(uow, one))

    def wait_for(self, id: int, timeout: Seconds | None) -> JobInfo:
        """The job once it is finished (Done or Canceled), for which it waits up to `timeout` seconds; None: for ever.

        It looks whenever a job of the topic finishes: one that is reset before that look is missed, and waited for on.
        Raises TimeoutError if it is not finished by then; JobNotFound if it is not there, or is deleted meanwhile, as a
        job with keep_done=0 is when it is done.
        """
        one, patience = inputs.job_id(id), inputs.timeout(timeout)
        self._check_open()
        return wait_until_finished(self._storage, one, patience, self._sweeper.sweep)

    def lookup(self, topic: str, unique_key: str) -> int | None:
        """The id of the unfinished job of a topic that holds a unique key; None if none does."""
        key = (inputs.topic(topic), inputs.key(unique_key))
        return self._view(lambda uow: uow.jobs.by_key([key])[0])

    def find(
        self, status: StatusLike, *, topic: str | None = None, after: JobInfo | None = None, limit: int = 100
    ) -> list[JobInfo]:
        """Up to `limit` jobs of a status, by topic and within it in the order of their places.

        topic: only this one. after: the last JobInfo of the page before. limit: 1 to `Limits.batch`.
        """
        return self._find(ORDERINGS_OF[inputs.status(status)], topic, after, limit)

    def dead_letters(
        self, topic: str | None = None, *, after: JobInfo | None = None, limit: int = 100
    ) -> list[JobInfo]:
        """The Canceled jobs that nobody requested to cancel; `reset` replays them. Arguments as in `find`."""
        return self._find((Ordering.DEAD,), topic, after, limit)

    def topics(self) -> list[str]:
        """The names of the topics that hold a job in any status, or are paused; sorted."""
        return self._view(lambda uow: uow.topics.names())

    def stats(self, topic: str) -> TopicStats:
        """The counters of a topic; all zero for one that is not in use."""
        name = inputs.topic(topic)
        return self._view(lambda uow: looking.stats(uow, name))

    def next_due(self, topics: str | Iterable[str]) -> datetime | None:
        """When a job of these topics can next be reserved, now if one can be already; None if time brings none."""
        names = inputs.topics(topics)

        def soonest(uow: UnitOfWork) -> datetime | None:
            wait = consuming.due_in(uow, names)
            return None if wait is None else moment(uow.now.wall + wait)

        return self._view(soonest)

    def info(self) -> StorageInfo:
        """What the queue is kept in, how many jobs and topics it has, and what else there is to know of that kind.

        Of LMDB the details are those that `LmdbStorage.info` names; of memory there are none.
        """
        self._check_open()
        return self._storage.info()

    # -- administering

    def cancel(self, ids: int | Iterable[int], note: str | None = None) -> None:
        """Cancel unfinished jobs, all or none; who holds one loses its reservation.

        note: why, 2,000 bytes at most. Raises JobNotFound and InvalidStatus with `.ids`.
        """
        targets, why = inputs.job_ids(ids, self._limits), inputs.note(note)

        def verb(draft: Draft) -> None:
            administering.cancel(draft, targets, why)

        self._commit(verb)

    def reset(self, ids: int | Iterable[int]) -> None:
        """Make Done, Canceled or Delayed jobs Ready again, all or none, with all their retries.

        Raises JobNotFound, InvalidStatus, and DuplicateJob where another job holds the unique key now.
        """
        targets = inputs.job_ids(ids, self._limits)
        self._commit(lambda draft: administering.reset(draft, targets))

    def reschedule(self, ids: int | Iterable[int], run_at: datetime) -> None:
        """Give waiting jobs another time, an aware datetime, all or none. Raises JobNotFound and InvalidStatus."""
        targets, at = inputs.job_ids(ids, self._limits), instant(run_at, "run_at")
        self._commit(lambda draft: administering.reschedule(draft, targets, at))

    def delete(self, ids: int | Iterable[int]) -> None:
        """Delete finished jobs, or such as `verify` reports as set aside; all or none.

        Raises JobNotFound and InvalidStatus.
        """
        targets = inputs.job_ids(ids, self._limits)
        self._commit(lambda draft: administering.delete(draft, targets))

    def prune(self, before: datetime | None = None, *, topic: str | None = None) -> int:
        """Delete finished jobs, in short transactions, and return how many; see to leases and delays that are over.

        before: those that finished before this aware datetime, whatever their retention; None: those whose retention
        is over. topic: only of this one.
        """
        instant_before = None if before is None else instant(before, "before")
        names = self.topics() if topic is None else [inputs.topic(topic)]
        for name in names:
            while self._commit(partial(consuming.turn_due, topic=name, bound=CHUNK)):
                pass
        return sum(self._prune(name, ordering, instant_before) for name in names for ordering in FINISHED_ORDERINGS)

    def clear(self, topic: str) -> int:
        """Cancel the jobs that wait in a topic, in short transactions, and return how many."""
        name = inputs.topic(topic)
        now = self.stats(name).now
        left = now[Status.READY] + now[Status.DELAYED]
        cleared = 0
        while left > cleared:
            size = min(CHUNK, left - cleared)
            count = self._commit(partial(administering.clear, topic=name, n=size))
            cleared += count
            if count < size:
                break
        return cleared

    def pause(self, topic: str) -> None:
        """Hand out no more jobs of a topic until it is resumed; enqueueing and settling go on."""
        name = inputs.topic(topic)
        self._commit(lambda draft: draft.uow.topics.pause(name, True))

    def resume(self, topic: str) -> None:
        """Hand out the jobs of a paused topic again."""
        name = inputs.topic(topic)
        self._commit(lambda draft: draft.uow.topics.pause(name, False))

    def verify(self, repair: bool = False) -> list[Difference]:
        """Compare places, unique keys and the counts of topics with the jobs, and say each difference; [] is well.

        It runs in short steps while the queue does, each of about 1,000 jobs, places or keys: 13 µs a job on LMDB. It
        holds up no writer but to count a topic of more than 100,000 jobs, for 0.1 s a million.
        repair: mend what differs, in transactions that look at it again. Jobs are taken to be the truth: places, keys
        and counts are made to follow them, totals stay. A job that cannot be read is set aside, and reported from then
        on until it is deleted; of two unfinished jobs with one unique key that with the lower id keeps it.
        """
        self._check_open()
        mends = inputs.flag(repair, "repair")
        from jobq.verifying import Verifier  # here, as few processes verify

        return Verifier(self._storage, self._defaults.policies(), repair=mends).run()

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the whole queue, as it is at one moment, while it runs; the copy opens as `lmdb:PATH`.

        path: where nothing is, or an empty directory; a leading `~` is the home. Jobs keep their ids, and reservations
        their leases; those are over where the copy is opened after a reboot or on another machine. Wherever it fails,
        nothing of it is left.
        Raises ConfigError if something is at the path, or for a queue in memory; StorageError if another backup of the
        queue runs; StorageFull.
        """
        self._check_open()
        self._storage.backup(absolute_path(path))

    def move_to(
        self,
        other: JobService,
        *,
        take: bool = False,
        progress: Callable[[MoveProgress], object] | None = None,
    ) -> MoveProgress:
        """Move all jobs to another storage: finished ones too, with their ids, states, logs, and the stats of topics.

        other: a service over an empty storage, or one that a move from here was begun to, which goes on then. It may
        be killed or interrupted anywhere, and run again, until it returns: no job is lost or doubled. Meanwhile all
        topics are paused in both; at the end those of the other are resumed that were not paused here. Producers are
        to enqueue in one of the two alone, from then on in the other. Jobs that cannot be read stay.
        take: take Reserved jobs from their holders, who get LeaseLost, instead of waiting until they are settled or
        their leases are over. progress: called after each batch and while it waits; what it raises ends this call.
        Returns how many jobs were moved; a queue that is empty, or was moved already, is left alone.
        Raises ConfigError if the other is not empty, or this is being moved elsewhere; StorageError if another process
        has gone on with this move; StorageFull.
        """
        if not isinstance(other, JobService):
            raise TypeError(f"move_to takes the JobService to move the jobs to, not {type(other).__name__}")
        takes, tell = inputs.flag(take, "take"), inputs.function(progress, "progress")
        self._begin()
        other._begin()
        from jobq.moving import Mover  # here, as few processes move a queue

        return Mover(self._storage, other._storage, take=takes, tell=tell).run()

    def compact(self) -> Compaction:
        """Give the room of deleted jobs back to the disk: the file is written anew, without what is free in it.

        No other process may have the queue open; those that open it meanwhile wait, as do the verbs of other threads.
        The disk must have room for both files. Wherever it fails or is killed, the queue is as it was.
        Raises StorageError if another process has the queue open (to have a small copy while they run, use `backup`);
        StorageFull; ConfigError for a queue in memory, which has no file.
        """
        self._check_open()
        return self._storage.compact()

    # -- pieces

    def _commit(self, verb: Callable[[Draft], T], when_committed: Callable[[T], object] | None = None) -> T:
        self._begin()
        return commit(self._storage, verb, when_committed)

    def _view(self, body: Callable[[UnitOfWork], T]) -> T:
        self._check_open()
        return self._storage.view(body)

    def _swap(self, id: int, payload: bytes, job: NewJob) -> bool:
        """Replace a waiting job, as on_duplicate="replace" does, if it has this payload still; says whether."""
        request = preparing.request(job, self._defaults, self._limits)
        return self._commit(lambda draft: producing.swap(draft, id, payload, request))

    def _begin(self) -> None:
        """What each verb that writes does first."""
        if self._closed:
            self._check_open()
        if self._abandoned.waiting:
            self._abandoned.release()

    def _check_open(self) -> None:
        if self._closed:
            raise ServiceClosed("this JobService was closed: open another one with jobq.open(url)")

    def _handles(self, jobs: Job | Iterable[Job]) -> list[Job]:
        if type(jobs) is Job and jobs._service is self:
            return [jobs]
        what = "this verb takes jobs that reserve() returned"
        handles = [jobs] if isinstance(jobs, Job) else inputs.several(jobs, what)
        for job in handles:
            if not isinstance(job, Job):
                raise TypeError(f"{what}, not {type(job).__name__}")
            if job._service is not self and not self._shares_storage(job._service):
                raise ValueError(f"{job!r} was reserved from another queue than {self!r}: use its own verbs")
        handles = list(dict.fromkeys(handles))
        inputs.check_batch(len(handles), self._limits)
        return handles

    def _shares_storage(self, other: object) -> bool:
        return isinstance(other, JobService) and other._storage.identity == self._storage.identity

    def _settle(self, jobs: Job | Iterable[Job], outcome: Outcome) -> None:
        handles = self._handles(jobs)
        limits = self._limits
        means = meaning(outcome, self._defaults, limits)
        if len(handles) == 1 and self._settle_one(handles[0], outcome, means):
            return
        settlements = [Settlement(job._record.id, job._record.attempt, *means) for job in handles]

        def verb(draft: Draft) -> list[int]:
            lost, _ = settling.settle(draft, settlements, limits)
            consuming.retire(draft, {job._record.topic for job in handles}, len(handles), limits)
            return lost

        if handles:
            with _settling(handles):
                lost = self._mark_settled([(job, outcome) for job in handles], self._commit(verb))
            self._raise_lost(lost)

    def _settle_one(self, job: Job, outcome: Outcome, means: Meaning) -> bool:
        """Settle a job straight, if that is plain; says whether it did."""
        express, record = self._express, job._record
        if express is None or means.then or not _is_plain(record) or record.policy.keep_done == 0:
            return False
        self._begin()
        with _NOTHING if job._settling is None else _noting([job._settling]):
            try:
                express.settle(record, means.change, means.is_retry, self._limits.done)
            except NotPlain:
                return False
            job._outcome = outcome
        return True

    def _take_one(self, topics: Sequence[str], lease: int | None, when_committed: Callable[[Taken], object]) -> bool:
        """Take a job straight, if that is plain and there is one; says whether."""
        if self._express is None:
            return False
        self._begin()
        try:
            self._express.take(topics, lease, self._limits.done, when_committed)
        except NotPlain:
            return False
        return True

    def _mark_settled(self, pairs: Sequence[tuple[Job, Outcome]], lost: Sequence[int]) -> list[Job]:
        gone = dict.fromkeys([pairs[position][0] for position in lost]) if lost else {}
        for job, outcome in pairs:
            if job not in gone:
                job._outcome = outcome
        return list(gone)

    def _yield_jobs(self, reserve: Callable[[], list[Job]]) -> Generator[Job, None, None]:
        pid = os.getpid()
        waiting: list[Job] = []
        try:
            while waiting := reserve():
                waiting.reverse()
                while waiting:
                    yield waiting.pop()
        finally:
            if waiting and os.getpid() == pid:  # a forked child leaves its parent's jobs alone
                # The collector may close a generator in the middle of another verb: the next one gives back then.
                self._abandon(waiting)

    def _log(self, job: Job, message: str) -> None:
        line = inputs.line(message)
        if not self._commit(lambda draft: settling.log(draft, job.id, job.attempt, line)):
            self._raise_lost([job])

    def _abandon(self, jobs: Iterable[Job]) -> None:
        """Release jobs that nobody is going to settle, now or with the next verb; this never fails."""
        self._abandoned.give_back((job.id, job.attempt) for job in jobs)

    def _give_back(self, taking: Taking) -> None:
        self._abandoned.give_back((job.id, job.attempt) for haul in taking.hauls for job, _ in haul.taken)

    def _raise_lost(self, lost: list[Job]) -> None:
        if lost:
            raise LeaseLost(lost_message(lost), jobs=lost)

    def _pairs(self, outcomes: Iterable[tuple[Job, Outcome]]) -> list[tuple[Job, Outcome]]:
        what = "outcomes must be pairs of a job and Done, Retry, Release, Reject or Cancel"
        pairs = inputs.several(outcomes, what)
        for pair in pairs:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], Outcome)):
                raise TypeError(f"{what}, not {type(pair).__name__}")
        if len(self._handles(job for job, _ in pairs)) != len(pairs):
            raise ValueError("outcomes must name each job once")
        return pairs

    def _settlement(self, job: Job, outcome: Outcome) -> Settlement:
        return Settlement(job.id, job.attempt, *meaning(outcome, self._defaults, self._limits))

    def _taking(
        self, topics: Sequence[str], n: int, timeout: Seconds | None, lease: Seconds | None, linger: Seconds
    ) -> tuple[Taking, int | None, int]:
        limits = self._limits
        inputs.whole(n, "n", least=1, most=limits.batch)
        seconds = None if lease is None else inputs.lease(lease)
        taking = Taking(self._commit, self._take_one, topics, n, seconds, limits)
        return taking, inputs.timeout(timeout), duration(linger, "linger")

    def _wait(self, taking: Taking, first: Haul, timeout: int | None, linger: int) -> None:
        if not first.taken:
            wait_for_haul(self._storage, taking, first, timeout, self._sweeper.sweep)
        if linger:
            with suppress(ServiceClosed):  # what was taken cannot be given back any more: the caller has it
                fill_up(self._storage, taking, linger)

    def _jobs(self, taking: Taking) -> list[Job]:
        if len(taking.hauls) == 1:
            [(taken, now, _, _)] = taking.hauls
            return [self._job(record, payload, now, taking.lease) for record, payload in taken]
        # By id, as a job whose lease ran out in spite of all may have been taken a second time.
        jobs: dict[int, Job] = {}
        for haul in taking.hauls:
            for record, payload in haul.taken:
                jobs[record.id] = self._job(record, payload, haul.now, taking.lease)
        return list(jobs.values())

    def _job(self, record: Record, payload: bytes, now: Now, lease: int | None) -> Job:
        return Job(self, record, payload, wall_deadline(record, now), record.policy.lease if lease is None else lease)

    def _find(
        self, orderings: Sequence[Ordering], topic: str | None, after: JobInfo | None, limit: int
    ) -> list[JobInfo]:
        name = None if topic is None else inputs.topic(topic)
        if after is not None and not isinstance(after, JobInfo):
            raise TypeError(f"after must be the last JobInfo of the page before, not {type(after).__name__}")
        inputs.whole(limit, "limit", least=1, most=self._limits.batch)
        cursor = None if after is None else after._place
        return self._view(lambda uow: looking.find(uow, orderings, name, cursor, limit))

    def _prune(self, topic: str, ordering: Ordering, before: int | None) -> int:
        pruned, after = 0, None
        more = True
        while more:
            if before is None:
                count = self._commit(partial(administering.prune_over, topic=topic, ordering=ordering, n=CHUNK))
                more = count == CHUNK
            else:
                verb = partial(administering.prune_before, topic=topic, ordering=ordering, before=before, n=CHUNK)
                count, after = self._commit(partial(verb, after=after))
                more = after is not None
            pruned += count
        return pruned


def _is_plain(job: Request | Record) -> bool:
    """Whether what becomes of a job changes nothing but its record and its place."""
    return not job.unique_key and not job.policy.log_status_change


def _settling(jobs: Sequence[Job]) -> AbstractContextManager[None]:
    """Note in jobs that somebody wants to know it of that this thread settles them, until that is known to be done."""
    noted = [job._settling for job in jobs if job._settling is not None]
    return _noting(noted) if noted else _NOTHING


@contextmanager
def _noting(noted: Sequence[set[int]]) -> Iterator[None]:
    me = threading.get_ident()
    for threads in noted:
        threads.add(me)
    try:
        yield
    finally:
        for threads in noted:
            threads.discard(me)
