"""The queues of the standard library. What they acknowledge is only counted: a job that was taken is gone."""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Survives, Verbs


def open_fifo(folder: Path) -> Verbs:
    """queue.Queue."""
    fifo: queue.Queue[Any] = queue.Queue()
    return _verbs(fifo, fifo.put)


def open_priorities(folder: Path) -> Verbs:
    """queue.PriorityQueue, its items numbered so that equals stay in order."""
    heap: queue.PriorityQueue[Any] = queue.PriorityQueue()
    numbers = count()

    def put(payload: bytes) -> None:
        heap.put((0, next(numbers), payload))

    return _verbs(heap, put)


def _verbs(opened: queue.Queue[Any], put: Callable[[Any], None]) -> Verbs:
    def done(job: object) -> None:
        opened.task_done()

    return Verbs(put, partial(opened.get, block=False), done, opened.join)


PEERS = [
    Peer("queue.Queue", None, Survives.NOTHING, open=open_fifo),
    Peer("queue.PriorityQueue", None, Survives.NOTHING, priority=True, open=open_priorities),
]
