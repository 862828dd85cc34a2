"""Handlers that threads and child processes run alike, and some that only a child process survives."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import jobq
from jobq import AsyncJob, Job, NewJob
from tests.clocks import PATIENCE


class OddError(Exception):
    """Can neither be pickled nor be made again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"odd {one} {two}")
        self.lock = threading.Lock()


def own(text: str) -> str:
    """A text of a class that nobody else can know."""

    class Own(StrEnum):
        TEXT = text

    return Own.TEXT


def attempted(verb: Callable[[], object]) -> str:
    """What the verb raises."""
    try:
        verb()
    except Exception as problem:
        return type(problem).__name__
    return "nothing"


def wait_for_file(path: str) -> None:
    """Return once it is there."""
    end = time.monotonic() + PATIENCE
    while not os.path.exists(path):
        assert time.monotonic() < end, "nobody made the file"
        time.sleep(0.005)  # nothing tells of a new file: it is looked for, and others need the processor


# -- what is returned and raised


def returns_value(job: Job) -> dict[str, Any]:
    return {"a": [1, 2, None], "payload": job.text}


def returns_nothing(job: Job) -> None: ...


def returns_set(job: Job) -> set[int]:
    return {1}


def returns_own_class(job: Job) -> tuple[str, str]:
    return own("red"), own("red")


def raises_done(job: Job) -> NoReturn:
    raise jobq.Done("so", then=(NewJob("other", name=name) for name in "ab"))


def raises_bad_done(job: Job) -> NoReturn:
    raise jobq.Done(object())


def raises_retry(job: Job) -> NoReturn:
    raise jobq.Retry(500) from ValueError("later")


def raises_release(job: Job) -> NoReturn:
    raise jobq.Release(500)


def raises_reject(job: Job) -> NoReturn:
    raise jobq.Reject("never")


def raises_cancel(job: Job) -> NoReturn:
    raise jobq.Cancel("not needed")


def raises_error(job: Job) -> NoReturn:
    raise ValueError("wrong")


def raises_odd_error(job: Job) -> NoReturn:
    raise OddError(1, 2)


def raises_system_exit(job: Job) -> NoReturn:
    raise SystemExit(3)


def raises_interrupt(job: Job) -> NoReturn:
    raise KeyboardInterrupt


async def coroutine(job: AsyncJob) -> int:
    await asyncio.sleep(0)
    await job.log("awaited")
    return 7


async def coroutine_raises(job: AsyncJob) -> NoReturn:
    await asyncio.sleep(0)
    raise ValueError("wrong")


# -- verbs of the job


def done_then(job: Job) -> str:
    job.done([1], then=(NewJob("other", payload=memoryview(b"xyz"), name=name) for name in "ab"))
    return "too late"


def done_then_json(job: Job) -> None:
    job.done(then=NewJob("other", json={"colour": own("red")}))


def done_badly(job: Job) -> list[str]:
    return [
        attempted(lambda: job.done({1})),
        attempted(lambda: job.done(then=NewJob("other", json=threading.Lock()))),
        attempted(lambda: job.done(then=NewJob("other", payload=b"x" * 2_000_000))),
        attempted(lambda: job.done(then=NewJob("no topic!"))),
        attempted(lambda: job.done(then=[3])),  # type: ignore[list-item]
        attempted(lambda: job.extend(-1)),
        attempted(lambda: job.log(3)),  # type: ignore[arg-type]
    ]


def done_with_duplicate(job: Job) -> int:
    try:
        job.done(then=NewJob("other", unique_key="held"))
    except jobq.DuplicateJob as problem:
        return problem.job_id
    return 0


def retries(job: Job) -> None:
    job.retry(500, error="so far")


def releases(job: Job) -> None:
    job.release(500)


def releases_then(job: Job) -> int:
    return len(job.release(run_at=datetime.now(UTC) + timedelta(days=36_500), then=(NewJob("other") for _ in "ab")))


def raises_release_then(job: Job) -> NoReturn:
    raise jobq.Release(500, then=(NewJob("other", payload=memoryview(b"xyz"), name=name) for name in "cd"))


def rejects(job: Job) -> None:
    job.reject(ValueError("hopeless"))


def cancels(job: Job) -> None:
    job.cancel("by itself")


def rejects_in_block(job: Job) -> str:
    with job:
        raise jobq.Reject("in a block")
    return "too late"


def fails_in_block(job: Job) -> None:
    with job:
        raise OddError(3, 4)


def extends(job: Job) -> bool:
    before = job.deadline
    job.extend(500)
    return (job.deadline - before).total_seconds() > 100


def asks(job: Job) -> list[Any]:
    info = job.info()
    said = [info.id == job.id, info.status, info.attempt, info.name, info.deadline is not None, job.canceled()]
    return [*said, job.topic, job.priority, job.retries_left, job.options.max_backoff, job.settled, job.json()]


def logs_at_once(job: Job) -> int:
    threads = [threading.Thread(target=job.log, args=[f"line {number}"]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 8


def is_canceled(job: Job) -> None:
    """Its job is canceled as it begins; what it sees of that goes to the file that the payload names."""
    end = time.monotonic() + PATIENCE
    while not job.canceled():
        assert time.monotonic() < end
    verbs: list[Callable[[], object]] = [
        job.done,
        job.retry,
        job.release,
        job.reject,
        job.cancel,
        job.extend,
        lambda: job.log("line"),
    ]
    Path(job.text).write_text(" ".join([*map(attempted, verbs), str(job.settled)]))


def leaves_thread(job: Job) -> None:
    """A thread of it goes on until it is told that the reservation is over, and says so in the payload's file."""

    def go_on() -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and attempted(lambda: job.log("line")) == "nothing":
            pass
        Path(job.text).write_text(attempted(lambda: job.log("line")))

    threading.Thread(target=go_on, daemon=True).start()


def big(job: Job) -> str:
    return "x" * (len(job.payload) - 2)  # as JSON it has two quotes


def too_big(job: Job) -> str:
    return "x" * 2_000_000


# -- processes of a handler


def ends_program(job: Job) -> int:
    with subprocess.Popen(["sleep", str(PATIENCE)]) as program:
        program.terminate()
        return program.wait()


def ends_fork(job: Job) -> list[int]:
    codes = []
    for number in (signal.SIGTERM, signal.SIGINT):
        ready, its_ready = os.pipe()
        if (pid := _forked()) == 0:
            try:
                os.write(its_ready, b"x")
                time.sleep(PATIENCE)  # until the signal comes; not for ever, should it do nothing
            except KeyboardInterrupt:
                os._exit(5)
            os._exit(1)
        os.read(ready, 1)
        os.close(ready)
        os.close(its_ready)
        os.kill(pid, number)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return codes


def _forked() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads, since Python 3.12
        return os.fork()


# -- what only a process of its own survives


def exits(job: Job) -> NoReturn:
    os._exit(3)


def kills_itself(job: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crashes(job: Job) -> None:
    ctypes.string_at(0)


def dies_after_fork(job: Job) -> None:
    """The fork lives on, with all that it has inherited; its process id is in the log."""
    if (pid := _forked()) == 0:
        time.sleep(2 * PATIENCE)  # until the test kills it: longer than anybody waits for its pipe to be closed
        os._exit(0)
    job.log(str(pid))
    os.kill(os.getpid(), signal.SIGKILL)


def closes_all(job: Job) -> None:
    """As a daemon does; and then it does not end."""
    os.closerange(3, 256)
    time.sleep(PATIENCE)  # until the worker, which takes it for dead, kills it


def never_ends(job: Job) -> None:
    threading.Event().wait(PATIENCE)


def pid(job: Job) -> int:
    return os.getpid()


def lingers(job: Job) -> int:
    """Its process does not end before the file is there that the payload names."""
    atexit.register(wait_for_file, job.text)
    return os.getpid()


def meets(job: Job) -> None:
    """Another job of the same payload, a folder, runs at the same time."""
    Path(job.text, str(job.id)).touch()
    end = time.monotonic() + PATIENCE
    while len(os.listdir(job.text)) < 2:
        assert time.monotonic() < end, "nobody came"
        time.sleep(0.005)  # as in wait_for_file


ALIKE: list[Callable[[Any], Any]] = [
    returns_value, returns_nothing, returns_set, returns_own_class, raises_done, raises_bad_done, raises_retry,
    raises_release, raises_reject, raises_cancel, raises_error, raises_odd_error, raises_system_exit, raises_interrupt,
    coroutine, coroutine_raises, done_then, done_then_json, done_badly, done_with_duplicate, retries, releases,
    releases_then, raises_release_then, rejects,
    cancels, rejects_in_block, fails_in_block, extends, asks, logs_at_once, is_canceled, leaves_thread, big, too_big,
    ends_program, ends_fork,
]  # fmt: skip
FATAL: list[Callable[[Job], Any]] = [exits, kills_itself, crashes, dies_after_fork, closes_all]
