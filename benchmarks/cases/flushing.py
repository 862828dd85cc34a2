"""What the disk allows: a page written over and flushed by fdatasync."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.peers.peer import Peer
from benchmarks.stopwatch import seconds_of

PAGE = 4_096


def rates(peer: Peer, folder: Path, flushes: int, payload: int) -> dict[str, float]:
    """Flushes a second."""
    file = os.open(folder / "page", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(file, b"\0" * PAGE, 0)
        os.fsync(file)

        def flush() -> None:
            for _ in range(flushes):
                os.pwrite(file, b"x" * PAGE, 0)
                os.fdatasync(file)

        return {"flushes": flushes / seconds_of(flush)}
    finally:
        os.close(file)
