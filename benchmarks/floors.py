"""How fast jobq has to be, as checks of what was measured in one run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from benchmarks.results import Results, ratio

MEMORY, OFF, FULL = "jobq memory", "jobq lmdb off", "jobq lmdb full"
WORKERS = ("rq", "saq", "arq", "dramatiq", "celery, solo", "celery, threads")


class Verdict(NamedTuple):
    """What came out of a floor. holds: None if it was not measured."""

    says: str
    wanted: str
    measured: str
    holds: bool | None


class Figure(NamedTuple):
    """A figure of a case for a peer, or for the best of some peers."""

    case: str
    peer: str | Sequence[str]
    name: str = "jobs"

    def values(self, results: Results) -> list[float]:
        """Of each round; those of the peer with the greatest median."""
        peers = [self.peer] if isinstance(self.peer, str) else self.peer
        measured: list[list[float]] = [
            values for peer in peers if (values := results.values(self.case, peer, self.name))
        ]
        return max(measured, key=statistics.median) if measured else []


class Floor(Protocol):
    """A check of the results."""

    def judge(self, results: Results) -> Verdict:
        """Whether they hold it."""
        ...


class AtLeast(NamedTuple):
    """A figure is at least so many times another one."""

    says: str
    figure: Figure
    times: float
    other: Figure

    def judge(self, results: Results) -> Verdict:
        """See Floor."""
        found = ratio(self.figure.values(results), self.other.values(results))
        measured = "not measured" if found is None else f"{found:.2f} ×"
        return Verdict(self.says, f"≥ {self.times:g} ×", measured, None if found is None else found >= self.times)


class Within(NamedTuple):
    """A figure is at most so much, or at least so much; in a unit of which there are `scale` in one."""

    says: str
    figure: Figure
    most: float | None = None
    least: float | None = None
    scale: float = 1
    unit: str = ""

    def judge(self, results: Results) -> Verdict:
        """See Floor."""
        wanted = f"≤ {self._show(self.most)}" if self.most is not None else f"≥ {self._show(self.least or 0)}"
        values = self.figure.values(results)
        if not values:
            return Verdict(self.says, wanted, "not measured", None)
        found = statistics.median(values) * self.scale
        holds = (self.most is None or found <= self.most) and (self.least is None or found >= self.least)
        return Verdict(self.says, wanted, self._show(found), holds)

    def _show(self, value: float) -> str:
        return f"{value:,.3g} {self.unit}".rstrip() if abs(value) < 100 else f"{value:,.0f} {self.unit}".rstrip()


_OFF, _OFF_100 = Figure("one", OFF), Figure("hundred", OFF)
_OFF_SAYS, _OFF_100_SAYS = "LMDB sync=off, one job a call", "LMDB sync=off, 100 a call"
_LMDB_QUEUE, _PERSIST_QUEUE = Figure("one", "lmdb-queue"), Figure("one", "persist-queue")

FLOORS: Sequence[Floor] = (
    AtLeast(f"{_OFF_SAYS}, against huey, fsync off", _OFF, 1.5, Figure("one", "huey sqlite, fsync off")),
    AtLeast(f"{_OFF_SAYS}, against litequeue", _OFF, 4, Figure("one", "litequeue")),
    AtLeast(f"{_OFF_SAYS}, against lmdb-queue", _OFF, 0.6, _LMDB_QUEUE),
    AtLeast(f"{_OFF_SAYS}, as fast as lmdb-queue", _OFF, 1, _LMDB_QUEUE),
    AtLeast(f"{_OFF_100_SAYS}, against bare py-lmdb", _OFF_100, 0.5, Figure("hundred", "bare py-lmdb off")),
    AtLeast(f"{_OFF_100_SAYS}, against lmdb-queue", _OFF_100, 1.5, _LMDB_QUEUE),
    Within("LMDB sync=full, through a Worker: commits a job", Figure("worker", FULL, "commits"), most=2),
    AtLeast("LMDB sync=full, through a Worker, against persist-queue", Figure("worker", FULL), 1, _PERSIST_QUEUE),
    AtLeast("LMDB sync=full, 100 a call, against persist-queue", Figure("hundred", FULL), 20, _PERSIST_QUEUE),
    AtLeast("LMDB sync=full, 16 threads, against one", Figure("threads", FULL), 4, Figure("thread", FULL)),
    AtLeast("memory, one job a call, against MemoryHuey", Figure("one", MEMORY), 1.4, Figure("one", "huey memory")),
    AtLeast("memory, 100 a call, against one a call", Figure("hundred", MEMORY), 2.5, Figure("one", MEMORY)),
    AtLeast("LMDB sync=off, 4 processes, against one", Figure("processes", OFF), 0.8, Figure("process", OFF)),
    Within("… the least served of the 4, as a part of the mean", Figure("processes", OFF, "least"), least=0.25),
    AtLeast(
        "tasks through Worker, 8 threads, LMDB sync=off, against the best worker with a server",
        Figure("tasks", OFF, "run"), 5, Figure("tasks", WORKERS, "run"),
    ),
    Within(
        "10,000,000 ready jobs on LMDB: the slowest verb against 10,000", Figure("backlog", OFF, "worst"),
        most=1.5, unit="×",
    ),
    Within(
        "… memory of a worker without the map", Figure("backlog", OFF, "worker_bytes"),
        most=100, scale=1 / 2**20, unit="MiB",
    ),
    *(
        floor
        for name, peer in (("LMDB", OFF), ("memory", MEMORY))
        for floor in (
            Within(
                f"1,000,000 delayed jobs due at one moment, {name}: the longest reserve",
                Figure("due", peer, "longest"), most=20, scale=1_000, unit="ms",
            ),
            Within(f"… not handed out, {name}", Figure("due", peer, "missing"), most=0),
            Within(f"… calls with a priority out of order, {name}", Figure("due", peer, "misplaced"), most=0),
        )
    ),
    Within("memory: bytes a waiting job, beyond its payload", Figure("memory", MEMORY, "resident"), most=700),
    *(
        Within(
            f"enqueue to a waiting reserve, same process, {name}: median", Figure("waking", peer, "median"),
            most=150, scale=1e6, unit="µs",
        )
        for name, peer in (("memory", MEMORY), ("LMDB sync=off", OFF))
    ),
    Within(
        "… another process, LMDB sync=off: median", Figure("waking across", OFF, "median"),
        most=1, scale=1_000, unit="ms",
    ),
    Within("… p99", Figure("waking across", OFF, "p99"), most=5, scale=1_000, unit="ms"),
    Within("an idle waiter, of a core", Figure("idle", OFF, "share"), most=0.5, scale=100, unit="%"),
    Within(
        "a delayed job, idle machine: p99 after it is due", Figure("delayed", OFF, "p99"),
        most=5, scale=1_000, unit="ms",
    ),
    Within("import jobq, over bare Python", Figure("import", MEMORY, "seconds"), most=30, scale=1_000, unit="ms"),
    Within("… packages of others that it imports", Figure("import", MEMORY, "packages"), most=0),
)  # fmt: skip


def judge(results: Results) -> list[Verdict]:
    """Of every floor."""
    return [floor.judge(results) for floor in FLOORS]
