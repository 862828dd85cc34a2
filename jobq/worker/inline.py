"""An executor for tests: it runs a handler as it gets it, in the thread that calls."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from jobq.aio.job import AsyncJob
from jobq.aio.pool import Pool
from jobq.worker.calling import Answer, answer, failure
from jobq.worker.executor import Post
from jobq.worker.run import Ending, Run


class Inline:
    """Runs one handler at a time, to its end, whatever its time limit is."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def begin(self) -> None:
        """See Executor."""

    def submit(self, run: Run) -> None:
        """See Executor."""
        self._post.begins(run)
        said = _await(run) if run.handler.is_async else _call(run)
        run.claim()
        self._post.ended(Ending(run, said.outcome, was_returned=said.was_returned))

    def withdraw(self) -> list[Run]:
        """See Executor: nothing waits here."""
        return []

    def cancel(self, run: Run) -> bool:
        """See Executor."""
        return False

    def stop(self, run: Run) -> bool:
        """See Executor."""
        return False

    def give_up(self, run: Run) -> None:
        """See Executor: nothing runs while this could be called."""

    def close(self) -> None:
        """See Executor."""


def _call(run: Run) -> Answer:
    try:
        return answer(run.handler.function, run.handler.function(run.job))
    except KeyboardInterrupt:  # it is for the test
        raise
    except BaseException as error:
        return failure(error)


def _await(run: Run) -> Answer:
    with ThreadPoolExecutor(1) as thread:  # for in this one an event loop may run: that of the test
        return thread.submit(_run, run).result()


def _run(run: Run) -> Answer:
    try:
        return answer(run.handler.function, asyncio.run(run.handler.function(AsyncJob(run.job, Pool()))))
    except BaseException as error:
        return failure(error)
