"""Listening for jobs without reserving any, for asyncio."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from jobq.waiting import Listener


class AsyncListener:
    """See Listener. Each wait has a thread of its own."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    async def wait(self, timeout: float) -> None:
        """See Listener."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="jobq-listener")
        try:
            await asyncio.get_running_loop().run_in_executor(executor, self._listener.wait, timeout)
        except asyncio.CancelledError:
            self._listener.wake()  # or the thread would wait on
            raise
        finally:
            executor.shutdown(wait=False)

    async def ready_topics(self) -> list[str]:
        """See Listener."""
        return await asyncio.to_thread(self._listener.ready_topics)

    def wake(self) -> None:
        """See Listener."""
        self._listener.wake()
