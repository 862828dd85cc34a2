"""Real processes on one directory, killed at random: nothing is lost, and nothing is in two places."""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

import jobq
from jobq import JobOptions, JobService, Status
from jobq.repos.lmdb import LmdbStorage
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE

ROOT = Path(__file__).parents[2]
JOBS = 1_500
PRODUCERS = 3
CONSUMERS = 3
KILLS = 12


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.lmdb.actors", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("seed", [1, 2])
def test_consumers_killed_at_random_lose_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    url, log = f"lmdb://{tmp_path}/jobs", tmp_path / "delivered"
    svc = jobq.open(f"{url}?sync=off", defaults=JobOptions(max_retries=None))
    producers = [start("produce", url, JOBS // PRODUCERS) for _ in range(PRODUCERS)]
    consumers = [start("consume", url, log) for _ in range(CONSUMERS)]
    try:
        kill_at = sorted(chance.randrange(JOBS) for _ in range(KILLS))
        deadline = monotonic() + 2 * PATIENCE
        while (done := svc.stats("work").done) < JOBS or kill_at:  # where this looks seldom, the last ones die idle
            assert monotonic() < deadline, f"only {done} of {JOBS} were done"
            while kill_at and done >= kill_at[0]:
                del kill_at[0]
                end([consumers.pop(chance.randrange(CONSUMERS))])
                consumers.append(start("consume", url, log))
            svc.reserve("nothing-is-here", timeout=0.005)
    finally:
        end(consumers + producers)
    assert not kill_at
    assert [process.returncode for process in producers] == [0] * PRODUCERS
    assert {int(line) for line in log.read_text().split()} == set(range(1, JOBS + 1))
    stats = svc.stats("work")
    assert (stats.enqueued, stats.done, stats.now[Status.DONE]) == (JOBS, JOBS, JOBS)
    svc.close()
    storage = LmdbStorage(tmp_path / "jobs", sync="full")  # nobody else has it open: the dead do not count
    check_invariants(storage)
    storage.close()


@pytest.mark.parametrize("sync", ["full", "off"])
def test_a_producer_killed_at_random_leaves_what_it_was_told(tmp_path: Path, sync: str) -> None:
    """What enqueue returned is there after kill -9; ids rise without a gap, so nothing is there by half."""
    url = f"lmdb://{tmp_path}/jobs"
    script = (
        "import jobq, sys\n"
        "svc = jobq.open(sys.argv[1])\n"
        "while True: print(svc.enqueue_many([jobq.NewJob('work', payload=b'x' * 3000)] * 3)[-1], flush=True)\n"
    )
    jobq.open(f"{url}?sync={sync}").close()
    with subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True) as producer:
        assert producer.stdout is not None
        told = [int(producer.stdout.readline()) for _ in range(100)]
        producer.send_signal(signal.SIGKILL)
        told += [int(line) for line in producer.stdout.read().split()]
    storage = LmdbStorage(tmp_path / "jobs")
    with JobService(storage) as svc:
        stats = svc.stats("work")
        assert stats.enqueued in (told[-1], told[-1] + 3)
        assert stats.now[Status.READY] == stats.enqueued
        check_invariants(storage)


def test_a_waiter_takes_what_another_process_enqueues(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/jobs"
    jobq.open(f"{url}?sync=off").close()
    script = (
        "import jobq, sys\n"
        "svc = jobq.open(sys.argv[1])\n"
        "print('waiting', flush=True)\n"
        "[job] = svc.reserve('mail', timeout=30)\n"
        "print(job.text, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True) as waiter:
        assert waiter.stdout is not None
        assert waiter.stdout.readline() == "waiting\n"
        with jobq.open(url) as svc:
            svc.enqueue("mail", payload="hello")
            assert waiter.communicate(timeout=PATIENCE)[0] == "hello\n"


def test_a_service_is_opened_anew_in_a_spawned_process_not_pickled(tmp_path: Path) -> None:
    with jobq.open(f"lmdb://{tmp_path}/jobs") as svc:
        svc.enqueue("mail")
        [job] = svc.reserve("mail")
        with pytest.raises(TypeError, match="open the same URL in the child"):
            pickle.dumps(svc)
        with pytest.raises(TypeError, match="reserve it in the process that works on it"):
            pickle.dumps(job)
