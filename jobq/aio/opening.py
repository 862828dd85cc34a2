"""Opening a service for asyncio by URL."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from types import TracebackType
from typing import Any

from jobq import opening
from jobq.aio.pool import Pool
from jobq.aio.service import AsyncJobService
from jobq.model.options import JobOptions, Limits
from jobq.model.requests import MoreHeaders
from jobq.service import JobService


def open_async(
    url: str | None = None,
    *,
    defaults: JobOptions | None = None,
    topic_defaults: Mapping[str, JobOptions] | None = None,
    limits: Limits | None = None,
    headers: MoreHeaders | None = None,
    create: bool = True,
) -> Opening:
    """Open an AsyncJobService over the storage that a URL names; `jobq.open` says what it may be, and what is raised.

    It is to be awaited, `asvc = await jobq.open_async(url)`, or entered, `async with jobq.open_async(url) as asvc:`,
    which closes it at the end.
    """
    settings: dict[str, Any] = {"defaults": defaults, "topic_defaults": topic_defaults, "limits": limits}
    return Opening(partial(opening.open, url, headers=headers, create=create, **settings))


class Opening:
    """A service that is about to be opened: to be awaited, or entered."""

    def __init__(self, work: Callable[[], JobService]) -> None:
        self._work = work
        self._opened: AsyncJobService | None = None

    def __await__(self) -> Generator[Any, None, AsyncJobService]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncJobService:
        self._opened = await self
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def _open(self) -> AsyncJobService:
        return AsyncJobService(await Pool().take(self._work, JobService.close))
