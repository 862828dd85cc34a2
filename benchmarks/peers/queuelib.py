"""queuelib: files, or a table in SQLite. Nothing is acknowledged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Survives, Verbs, library


def open_files(folder: Path) -> Verbs:
    """FifoDiskQueue, which writes down where it is as it is closed."""
    queue: Any = library("queuelib").FifoDiskQueue(folder / "queue")
    return Verbs(queue.push, queue.pop, None, queue.close)


def open_sqlite(folder: Path) -> Verbs:
    """FifoSQLiteQueue."""
    queue: Any = library("queuelib.queue").FifoSQLiteQueue(folder / "queue.db")
    return Verbs(queue.push, queue.pop, None, queue.close)


PEERS = [
    Peer("queuelib files", "queuelib", Survives.CLOSING, open=open_files, note="after kill -9 it begins empty"),
    Peer("queuelib sqlite", "queuelib", Survives.POWER_LOSS, open=open_sqlite),
]
