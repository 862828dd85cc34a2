"""Slots that are child processes, each with a thread of the parent that speaks to it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from jobq.errors import JobqError, LeaseLost
from jobq.job import Job, lost_message
from jobq.outcomes import Outcome, Release, Retry
from jobq.worker.child import Program
from jobq.worker.executor import Post
from jobq.worker.messages import Question, Reply, Report, Task
from jobq.worker.offspring import Offspring
from jobq.worker.run import Ending, Run
from jobq.worker.threads import Threads

RESTART = 5
"""Seconds for which a job is given back if no child process can be begun for it."""


def children(n: int, program: Program, max_jobs: int | None, post: Post) -> Threads:
    """An executor of n child processes, each replaced after max_jobs jobs, and when it dies."""
    return Threads(n, lambda: ChildSlot(lambda: Child(program), max_jobs, post), post, is_eager=True)


class ChildSlot:
    """One child after the other."""

    def __init__(self, begin: Callable[[], Child], max_jobs: int | None, post: Post) -> None:
        self._begin = begin
        self._max_jobs = max_jobs
        self._post = post
        self._child: Child | None = None
        self._is_proven = False
        self._is_shut = False
        self._lock = threading.Lock()

    def prepare(self) -> bool:
        """See Slot: begin a child if there is none, or a dead one. No job has to pay for one that died while idle.

        Raises ConfigError if not even the first child can import the handlers.
        """
        if self._child is not None and (not self._child.is_alive() or self._child.jobs == self._max_jobs):
            self.close()  # here, as its last run is reported by now: its end may take a while
        if self._child is None:
            self._replace()
        return self._child is not None

    def run(self, run: Run) -> Ending | None:
        """See Slot."""
        return None if self._child is None else self._child.work(run)

    def excuse(self, run: Run) -> Ending:
        """See Slot."""
        return Ending(run, None if self._is_shut else Release(RESTART))

    def stop(self, run: Run) -> bool:
        """See Slot: the child is killed; or it is not even asked, if it has not begun yet."""
        child = self._child
        if child is not None:
            child.kill_in(run)
        return True

    def shut(self) -> None:
        """See Slot: what is idle ends when it is closed, by its own thread."""
        with self._lock:
            self._is_shut = True
            if self._child is not None:
                self._child.kill_unless_idle()

    def close(self) -> None:
        """See Slot."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _replace(self) -> None:
        try:
            with self._lock:
                if self._is_shut:
                    return
                self._child = self._begin()
            self._child.await_ready()
            self._is_proven = True
        except Exception as problem:
            self.close()
            if self._is_shut:
                return
            if not self._is_proven and not isinstance(problem, OSError):  # that is the system's, and passes
                raise
            self._post.troubled(problem)


class Child:
    """A child process that runs handlers. jobs: how many it has run."""

    def __init__(self, program: Program) -> None:
        self._process = Offspring(program)
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._is_idle = False
        self._is_broken = False
        self.jobs = 0

    def await_ready(self) -> None:
        """Wait until it has imported the handlers. Raises ConfigError if it cannot."""
        self._process.await_ready()
        with self._lock:
            self._is_idle = True

    def is_alive(self) -> bool:
        """Whether it can be given a job."""
        return not self._is_broken and self._process.is_alive()

    def work(self, run: Run) -> Ending | None:
        """Have a handler run, and answer what it asks. None if the child was dead before it began."""
        with self._lock:
            if run.stopped_at:
                return Ending(run, None)
            self._run = run
            self._is_idle = False
        self.jobs += 1
        try:
            return self._converse(run)
        finally:
            with self._lock:
                self._run = None
                self._is_idle = True

    def kill_in(self, run: Run) -> None:
        """Kill it if it runs this. If it does not yet, it never will, as the run was told to stop."""
        with self._lock:
            if self._run is run:
                self._kill()

    def kill_unless_idle(self) -> None:
        """Kill it if it is not ready for jobs, or has one."""
        with self._lock:
            if not self._is_idle:
                self._kill()

    def end(self) -> None:
        """Let it end, and make sure that it does."""
        if self._is_broken:
            self._process.kill()
        self._process.end()

    def _explain(self, problem: Exception) -> Exception | str:
        if isinstance(problem, EOFError | OSError):
            return f"ChildProcessError: the process of the handler died: {self._process.obituary()}"
        return problem

    def _kill(self) -> None:
        self._is_broken = True  # the signal may take a moment to arrive
        self._process.kill()

    def _converse(self, run: Run) -> Ending | None:
        job = run.job
        try:
            self._process.begin(Task(run.handler.name, job._record, job.payload, job._deadline, job._lease))
        except (EOFError, OSError):
            self._is_broken = True
            return Ending(run, None) if run.stopped_at else None
        try:
            while not isinstance(said := self._process.receive(), Report):
                self._process.reply(_reply(job, said))
        except Exception as problem:
            self._is_broken = True
            return Ending(run, None if run.stopped_at else Retry(error=self._explain(problem)))
        return Ending(run, said.outcome, was_returned=said.was_returned, dropped=said.dropped)


def _reply(job: Job, question: Question) -> Reply:
    try:
        if question.outcome is not None:
            return Reply(_settle(job, question.outcome))
        return Reply(getattr(job, question.verb)(*question.arguments), job._deadline)
    except Exception as problem:
        details = {name: value for name, value in vars(problem).items() if name != "jobs"}
        is_ours = isinstance(problem, JobqError)
        return Reply(error=type(problem).__name__, message=str(problem), details=details if is_ours else {})


def _settle(job: Job, outcome: Outcome) -> list[int]:
    exchange = job._service.exchange([(job, outcome)])
    if exchange.lost:
        raise LeaseLost(lost_message([job]), jobs=[job])
    job._followers = exchange.ids
    return exchange.ids
