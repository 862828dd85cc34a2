"""The cases, by name: of each who is measured, and with how many jobs, so that it takes some seconds at the most."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import (
    backlog,
    commits,
    due,
    flushing,
    importing,
    lifecycle,
    memory,
    processes,
    tasks,
    threads,
    waking,
)
from benchmarks.cases.case import Case
from benchmarks.peers import PEERS
from benchmarks.peers.peer import Peer, Survives

PAYLOADS = (100, 10_240)
MEMORY, OFF, FULL, FLUSH = "jobq memory", "jobq lmdb off", "jobq lmdb full", "bare py-lmdb full"


def _those(has: Callable[[Peer], object]) -> list[str]:
    return [peer.name for peer in PEERS.values() if has(peer)]


def _lifecycles(peer: Peer, payload: int) -> int:
    return 1_000 if peer.survives is Survives.POWER_LOSS else _batches(peer, payload)


def _batches(peer: Peer, payload: int) -> int:
    return 20_000 if payload == PAYLOADS[0] else 5_000


def _tasks(peer: Peer, payload: int) -> int:
    return 10_000 if peer.package == "jobq" and peer.survives is not Survives.POWER_LOSS else 2_000


def _number(jobs: int) -> Callable[[Peer, int], int]:
    return lambda peer, payload: jobs


CASES: dict[str, Case] = {
    "one": Case(lifecycle.one_a_call, _those(lambda peer: peer.open), _lifecycles, PAYLOADS),
    "hundred": Case(
        lifecycle.hundred_a_call,
        _those(lambda peer: peer.open_batches),
        _batches,
        PAYLOADS,
    ),
    "process": Case(processes.of_one, _those(lambda peer: peer.open and peer.processes), _lifecycles),
    "processes": Case(processes.of_four, _those(lambda peer: peer.open and peer.processes), _lifecycles),
    "tasks": Case(
        tasks.rates,
        _those(lambda peer: peer.run_tasks),
        _tasks,
    ),
    "thread": Case(threads.of_one, [FULL], _number(2_000)),
    "threads": Case(threads.of_sixteen, [FULL], _number(8_000)),
    "worker": Case(commits.through_worker, [FULL], _number(1_000)),
    "flush": Case(flushing.rates, [FLUSH], _number(2_000)),
    "memory": Case(memory.bytes_a_job, [MEMORY], _number(100_000)),
    "waking": Case(waking.same_process, [MEMORY, OFF], _number(1_000)),
    "waking across": Case(waking.other_process, [OFF], _number(1_000)),
    "delayed": Case(waking.delayed, [MEMORY, OFF], _number(300)),
    "idle": Case(waking.idle, [OFF], _number(10)),
    "import": Case(importing.over_bare_python, [MEMORY], _number(20)),
    "due": Case(due.at_one_moment, [MEMORY, OFF], _number(1_000_000)),
    "backlog": Case(backlog.verbs_of_ready, [OFF], _number(10_000_000)),
}
