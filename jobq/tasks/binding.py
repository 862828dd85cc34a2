"""The queue to which tasks are enqueued, which is known later than the tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from jobq.errors import ConfigError
from jobq.model.requests import NewJob
from jobq.service import JobService

if TYPE_CHECKING:
    from jobq.aio import AsyncJobService


class Queue(Protocol):
    """Where jobs of tasks are enqueued."""

    @property
    def service(self) -> JobService:
        """The service of the queue."""
        ...

    def enqueue(self, job: NewJob) -> int:
        """Enqueue a job and return its id."""
        ...

    async def enqueue_async(self, job: NewJob) -> int:
        """The same, without blocking the event loop."""
        ...


class ServiceQueue:
    """A queue by its service: a JobService, or an AsyncJobService."""

    def __init__(self, svc: JobService | AsyncJobService) -> None:
        sync: Any = svc if isinstance(svc, JobService) else getattr(svc, "sync", None)
        if not isinstance(sync, JobService):
            raise TypeError(
                f"tasks are bound to a JobService or an AsyncJobService, not {type(svc).__name__}: "
                "tasks.bind(jobq.open(url))"
            )
        self._service: JobService = sync
        self._asynchronous: AsyncJobService | None = None if isinstance(svc, JobService) else svc

    @property
    def service(self) -> JobService:
        """See Queue."""
        return self._service

    def enqueue(self, job: NewJob) -> int:
        """See Queue."""
        return self._service.enqueue_many([job])[0]

    async def enqueue_async(self, job: NewJob) -> int:
        """See Queue."""
        if self._asynchronous is None:
            from jobq.aio import AsyncJobService  # imports asyncio, which not every program needs

            self._asynchronous = AsyncJobService(self._service)
        return (await self._asynchronous.enqueue_many([job]))[0]


class Binding:
    """Which queue the tasks of one Tasks are enqueued to. queue: None until they are bound."""

    def __init__(self) -> None:
        self.queue: Queue | None = None

    @property
    def service(self) -> JobService | None:
        """The service of the queue; None if there is none, or it was closed."""
        return None if self.queue is None or self.queue.service._closed else self.queue.service

    def adopt(self, svc: JobService) -> None:
        """Enqueue to this service from now on, if there is none, or it was closed."""
        if self.service is None:
            self.queue = ServiceQueue(svc)

    def get(self, what: str) -> Queue:
        """The queue. Raises ConfigError if there is none yet; `what` is what was to be enqueued."""
        if self.queue is None:
            raise ConfigError(f"{what} is not bound to a queue: {_remedy()}")
        return self.queue


def _remedy() -> str:
    import multiprocessing  # which few programs need

    if multiprocessing.parent_process() is not None:
        return (
            "in a child process its module has to call tasks.bind(svc) as it is imported; "
            "or raise jobq.Done(then=[task.new_job(…)]), which needs no queue there"
        )
    return "call tasks.bind(svc) first, once the program has opened one, or give its tasks to a Worker"
