"""Slots that are child processes, each with a thread of the parent that speaks to it."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess

from jobq.errors import ConfigError, LeaseLost
from jobq.job import Job, lost_message
from jobq.outcomes import Outcome, Release, Retry
from jobq.worker import child
from jobq.worker.child import Question, Ready, References, Reply, Report, Task
from jobq.worker.executor import Post
from jobq.worker.handlers import Handlers, reference
from jobq.worker.run import Ending, Run
from jobq.worker.threads import Threads

RESTART = 5
"""Seconds for which a job is given back if no child process can be begun for it."""
FAREWELL = 2.0
"""Seconds that an idle child has to end."""


def children(n: int, handlers: Handlers, max_jobs: int | None, post: Post) -> Threads:
    """An executor of n child processes, each replaced after max_jobs jobs, and when it dies."""
    references: References = {handler.name: (*reference(handler.function), handler.is_async) for handler in handlers}
    return Threads(n, lambda: ChildSlot(references, max_jobs, post), post, is_eager=True)


class ChildSlot:
    """One child after the other."""

    def __init__(self, references: References, max_jobs: int | None, post: Post) -> None:
        self._references = references
        self._max_jobs = max_jobs
        self._post = post
        self._child: Child | None = None
        self._is_proven = False

    def prepare(self) -> None:
        """See Slot. Raises ConfigError if not even the first child can begin."""
        if self._child is not None:
            return
        try:
            self._child = Child(self._references)
        except Exception as problem:
            if not self._is_proven:
                raise
            self._post.troubled(problem)
        self._is_proven = True

    def run(self, run: Run) -> Ending:
        """See Slot."""
        if self._child is not None and not self._child.is_alive():
            self._drop()  # it died while it was idle, for which no job has to pay
        self.prepare()
        if self._child is None:
            return Ending(run, Release(RESTART))
        ending = self._child.work(run)
        if not self._child.is_alive() or self._child.jobs == self._max_jobs:
            self._drop()
        return ending

    def stop(self, run: Run) -> bool:
        """See Slot: the child is killed."""
        child = self._child
        return child is not None and child.kill_in(run)

    def close(self) -> None:
        """See Slot."""
        self._drop()

    def _drop(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class Child:
    """A child process. jobs: how many it has run."""

    def __init__(self, references: References) -> None:
        context = get_context("spawn")  # a fork would inherit locks, threads and the storage's files
        self._pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=child.main, args=(theirs, references), name="jobq-child")
        self._lock = threading.Lock()
        self._run: Run | None = None
        self.jobs = 0
        with theirs:
            self._process.start()
        self._await_ready()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive()

    def work(self, run: Run) -> Ending:
        """Have a handler run, and answer what it asks."""
        self.jobs += 1
        with self._lock:
            self._run = run
        try:
            return self._converse(run)
        except (EOFError, OSError):
            return Ending(run, None if run.stopped_at else Retry(error=self._obituary()))
        finally:
            with self._lock:
                self._run = None

    def kill_in(self, run: Run) -> bool:
        """Kill it if it runs this."""
        with self._lock:
            if self._run is run:
                self._process.kill()
            return self._run is run

    def end(self) -> None:
        """Let it end, and make sure that it does."""
        self._pipe.close()
        self._process.join(FAREWELL)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def _await_ready(self) -> None:
        try:
            ready: Ready = self._pipe.recv()
            problem = ready.problem
        except (EOFError, OSError):
            problem = f"{self._obituary()}. If it is this program's own script that it could not import: "
            problem += "worker.run() belongs under `if __name__ == '__main__':`"
        if problem:
            self.end()
            raise ConfigError(f"a child process of the worker could not begin: {problem}")

    def _converse(self, run: Run) -> Ending:
        job = run.job
        self._pipe.send(Task(run.handler.name, job._record, job.payload, job.deadline, job._lease))
        while True:
            said: Question | Report = self._pipe.recv()
            if isinstance(said, Report):
                return Ending(run, said.outcome, was_returned=said.was_returned, dropped=said.dropped)
            self._pipe.send(_reply(job, said))

    def _obituary(self) -> str:
        self._process.join(FAREWELL)
        code = self._process.exitcode
        how = "it still runs, but hears nothing" if code is None else f"it exited with status {code}"
        if code is not None and code < 0:
            with suppress(ValueError):
                how = f"it was killed by {signal.Signals(-code).name}"
        return f"ChildProcessError: the process of the handler died: {how}"


def _reply(job: Job, question: Question) -> Reply:
    try:
        if question.outcome is not None:
            return Reply(_settle(job, question.outcome))
        return Reply(getattr(job, question.verb)(*question.arguments), job.deadline)
    except Exception as problem:
        return Reply(error=type(problem).__name__, message=str(problem))


def _settle(job: Job, outcome: Outcome) -> list[int]:
    exchange = job._service.exchange([(job, outcome)])
    if exchange.lost:
        raise LeaseLost(lost_message([job]), jobs=[job])
    return exchange.ids
