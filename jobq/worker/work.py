"""One run of a worker: what runs its handlers and what coordinates them, from the beginning to the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jobq.service import JobService
from jobq.worker.coordinator import Coordinator
from jobq.worker.executor import Executor
from jobq.worker.executors import Executors
from jobq.worker.hand import Hand
from jobq.worker.handlers import Around, Handler
from jobq.worker.moments import Moments
from jobq.worker.pace import Pace
from jobq.worker.setup import Setup
from jobq.worker.stage import Stage

if TYPE_CHECKING:
    from jobq.worker.worker import Worker


class Work:
    """The work of a worker, as it is set up now. worker: of whom observers are told. stage: what other threads see."""

    def __init__(
        self,
        worker: Worker,
        svc: JobService,
        setup: Setup,
        moments: Moments,
        around: Around | None,
        stage: Stage,
    ) -> None:
        self._worker = worker
        self._svc = svc
        self._setup = setup
        self._moments = moments
        self._around = around
        self._stage = stage

    def run(self, *, burst: bool) -> None:
        """Run jobs until told to stop; see Worker.run."""
        setup, stage = self._setup, self._stage
        executors = Executors(
            setup.executor,
            setup.concurrency,
            stage.handlers,
            setup.max_jobs,
            stage.inbox,
            self._around,
            self._svc._defaults.headers,
        )
        # Executors do not know of each other; and what waits for a child that is replaced would wait for too long.
        has_one_pace = not stage.handlers.are_mixed() and setup.max_jobs is None
        pace = Pace(setup.concurrency if has_one_pace else 0)
        coordinator = self._coordinator(executors.of, pace, burst=burst)
        with self._running(coordinator, executors.close):
            executors.begin()
            coordinator.run()

    def run_dry(self, most: int) -> int:
        """Run jobs in the calling thread; see jobq.testing.drain."""
        from jobq.worker.inline import Inline

        inline = Inline(self._stage.inbox)
        coordinator = self._coordinator(lambda handler: inline, Pace(0), concurrency=1)
        with self._running(coordinator, inline.close):
            return coordinator.run_dry(most)

    @contextmanager
    def _running(self, coordinator: Coordinator, close: Callable[[], None]) -> Iterator[None]:
        failure: BaseException | None = None
        self._stage.thread = threading.get_ident()
        self._moments.worker_started(self._worker)
        try:
            yield
        except BaseException as problem:
            failure = problem
            with suppress(Exception):  # the leases will end; and it is the first error that is raised
                coordinator.let_go()
            raise
        finally:
            try:
                close()
            finally:  # a third signal may break in
                self._moments.worker_stopped(self._worker, failure)

    def _coordinator(
        self,
        executor_of: Callable[[Handler], Executor],
        pace: Pace,
        *,
        concurrency: int | None = None,
        burst: bool = True,
    ) -> Coordinator:
        stage, setup = self._stage, self._setup
        stage.hand = Hand(stage.handlers, executor_of, stage.inbox, self._moments, self._svc.clock, pace, stage.clerk)
        return Coordinator(
            self._svc,
            setup.topics,
            stage.hand,
            stage.inbox,
            self._moments,
            pace,
            stage.clerk,
            concurrency=concurrency or setup.concurrency,
            lease=setup.lease,
            grace=setup.grace,
            burst=burst,
        )
