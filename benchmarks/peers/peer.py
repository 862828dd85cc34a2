"""What the benchmark knows of a queue: what it gives to its users, and its verbs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

BATCH = 100
"""Jobs a call, where a queue takes several at once."""


class Survives(IntEnum):
    """What an enqueued job does, each including those before."""

    NOTHING = 0
    CLOSING = 1
    KILL = 2
    POWER_LOSS = 3

    def __str__(self) -> str:
        return ("nothing", "an orderly end", "kill -9", "power loss")[self]


class Verbs(NamedTuple):
    """An open queue.

    enqueue: takes a payload, or in batches a list of `BATCH` payloads. take: gives a job, or up to `BATCH` of them, and
    what is false if there is none. acknowledge: takes what `take` gave; None where taking is the end of a job.
    """

    enqueue: Callable[[Any], object]
    take: Callable[[], Any]
    acknowledge: Callable[[Any], object] | None
    close: Callable[[], object]


class TaskTimes(NamedTuple):
    """Seconds to enqueue some tasks, one a call, and from the beginning of the first to the end of the last."""

    enqueue: float
    run: float


@dataclass(frozen=True)
class Peer:
    """A queue in one configuration.

    package: its distribution, None for the standard library's. survives: what an enqueued job does. acknowledges: a job
    is kept until its consumer says that it is done. lease: a job whose consumer died comes back by itself. many
    processes may use it at once. url: that of a queue of jobq, with {} for the folder. open, open_batches: the queue in
    an empty folder. run_tasks: enqueue some tasks that do nothing, and have its own worker run them.
    """

    name: str
    package: str | None
    survives: Survives
    acknowledges: bool = False
    priority: bool = False
    delay: bool = False
    lease: bool = False
    processes: bool = False
    note: str = ""
    url: str = ""
    open: Callable[[Path], Verbs] | None = None
    open_batches: Callable[[Path], Verbs] | None = None
    run_tasks: Callable[[Path, int], TaskTimes] | None = None


def library(name: str) -> Any:
    """A module of a peer, imported when it is first needed, as most are not installed where this is only checked."""
    return importlib.import_module(name)
