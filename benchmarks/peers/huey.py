"""huey: tasks in SQLite or in memory.

A task is removed as it is taken, so there is nothing to acknowledge: what a worker that is killed had in hand is lost.
Enqueueing is calling the task, and taking is `dequeue`, which is what its consumer calls.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Survives, Verbs, library


def open_sqlite(fsync: bool, folder: Path) -> Verbs:
    """SqliteHuey."""
    return _verbs(library("huey").SqliteHuey(filename=str(folder / "huey.db"), fsync=fsync))


def open_memory(folder: Path) -> Verbs:
    """MemoryHuey."""
    return _verbs(library("huey").MemoryHuey())


def nothing(payload: bytes) -> None:
    """A task."""


def _verbs(huey: Any) -> Verbs:
    return Verbs(huey.task()(nothing), huey.dequeue, None, huey.storage.close)


_NOTE = "what a killed worker had taken is lost"

PEERS = [
    Peer("huey memory", "huey", Survives.NOTHING, priority=True, delay=True, open=open_memory),
    Peer(
        "huey sqlite, fsync off", "huey", Survives.KILL, priority=True, delay=True, processes=True, note=_NOTE,
        open=partial(open_sqlite, False),
    ),
    Peer(
        "huey sqlite, fsync on", "huey", Survives.POWER_LOSS, priority=True, delay=True, processes=True, note=_NOTE,
        open=partial(open_sqlite, True),
    ),
]  # fmt: skip
