"""Running coroutines on each event loop, and looking at a queue from beside it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest

from jobq import AsyncJobService, JobService, Status
from jobq.aio.pool import THREADS
from jobq.repos import MemoryStorage, Storage
from tests.clocks import PATIENCE, ManualClock

T = TypeVar("T")

Run = Callable[[Coroutine[Any, Any, T]], T]

LOOPS = ["asyncio", *(["uvloop"] if find_spec("uvloop") else [])]


def run_on(loop: str, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    factory: Any = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(asyncio.wait_for(coroutine, PATIENCE))


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs a coroutine on each event loop that is installed."""
    return lambda coroutine: run_on(request.param, coroutine)


@pytest.fixture(params=["memory", "lmdb"])
def svc(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[JobService]:
    """A service in memory, where verbs are over at once, and on LMDB, where they are not."""
    storage: Storage
    if request.param == "memory":
        storage = MemoryStorage(clock=clock)
    else:
        from jobq.repos.lmdb import LmdbStorage

        storage = LmdbStorage(tmp_path / "jobs", sync="off", clock=clock)
    with JobService(storage) as svc:
        yield svc


@pytest.fixture
def asvc(svc: JobService) -> AsyncJobService:
    return AsyncJobService(svc)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds that another thread is about to do."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        await asyncio.sleep(0.001)


async def quiet(asvc: AsyncJobService) -> None:
    """Wait until its threads have done all that they were told before, and what came of that."""
    wait = asyncio.ensure_future(asvc.reserve("quiet", timeout=None))
    await eventually(lambda: any(wish.topics == ("quiet",) for wish in asvc._crew().jobs._open()))
    await asvc.enqueue("quiet")
    [job] = await wait  # so the waiting thread has begun anew, and all that it granted before has arrived
    await job.done()
    for _ in range(2):  # the second time for what is done because the first ones ended
        barrier = threading.Barrier(THREADS)
        await asyncio.gather(*(asvc._crew().pool.run(barrier.wait) for _ in range(THREADS)))


async def nothing_is_reserved(asvc: AsyncJobService) -> None:
    """See that no job of the topic "t" is Reserved, once all is quiet."""
    await quiet(asvc)
    assert asvc.sync.stats("t").now[Status.RESERVED] == 0


async def pass_time(clock: ManualClock, seconds: float, call: asyncio.Future[Any]) -> None:
    """Let time pass until a call is done: so much, and more if another thread had looked at the clock before."""
    clock.advance(seconds)
    while not call.done():
        await asyncio.sleep(0.002)
        clock.advance(1)


def threads(besides: Collection[threading.Thread] = ()) -> list[str]:
    """The names of the threads that there are."""
    return [thread.name for thread in threading.enumerate() if thread not in besides]
