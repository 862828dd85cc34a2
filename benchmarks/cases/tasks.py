"""Tasks that do nothing, enqueued one a call and run by the worker that a queue brings."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.peer import Peer


def rates(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Tasks a second: enqueued, and run by a worker for which all of them wait."""
    assert peer.run_tasks is not None
    times = peer.run_tasks(folder, jobs)
    return {"run": jobs / times.run, "enqueue": jobs / times.enqueue}
