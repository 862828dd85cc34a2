"""The queue for asyncio: the verbs of JobService, awaited, none of which blocks the event loop."""

from jobq.aio.job import AsyncJob
from jobq.aio.opening import open_async
from jobq.aio.service import AsyncJobService

__all__ = ["AsyncJob", "AsyncJobService", "open_async"]
