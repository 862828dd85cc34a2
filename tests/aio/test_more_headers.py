"""Awaited verbs run in threads, but in the context of the coroutine that awaits them."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import jobq
from jobq import AsyncJobService, Done, NewJob, Tasks
from tests.aio.conftest import Run

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="none")


def more(job: NewJob) -> dict[str, str]:
    return {"request": REQUEST.get()}


async def in_block(asvc: AsyncJobService) -> None:
    await asvc.enqueue("u")
    [job] = await asvc.reserve("u")
    async with job:
        raise Done(then=NewJob("t"))


async def by_verb(asvc: AsyncJobService) -> None:
    await asvc.enqueue("u")
    [job] = await asvc.reserve("u")
    await job.release(60, then=[NewJob("t")])


async def by_task(asvc: AsyncJobService) -> None:
    tasks = Tasks(topic="t")

    @tasks.task
    def work() -> None: ...

    tasks.bind(asvc)
    await work.enqueue_async()


WAYS: dict[str, Any] = {
    "enqueue": lambda asvc: asvc.enqueue("t"),
    "enqueue_many": lambda asvc: asvc.enqueue_many([NewJob("t")]),
    "exchange": lambda asvc: asvc.exchange(enqueue=NewJob("t")),
    "then": in_block,
    "verb": by_verb,
    "task": by_task,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("url", ["memory://", "lmdb:jobs?sync=off"])
def test_new_jobs_are_asked_for_in_the_context_of_the_coroutine(
    run: Run[None], way: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with jobq.open_async(url, headers=more) as asvc:
            REQUEST.set("r-7")
            await WAYS[way](asvc)
            [job] = await asvc.reserve("t")
            assert job.headers == {"request": "r-7"}
            assert (await job.info()).headers == {"request": "r-7"}

    monkeypatch.chdir(tmp_path)
    run(main())
