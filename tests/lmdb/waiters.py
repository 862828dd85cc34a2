"""A process that waits for jobs by a clock that stands still: only another process's call can wake it.

`python -m tests.lmdb.waiters DIRECTORY` reads commands (`reserve TOPIC`, `wait_for ID`, `advance SECONDS`,
`fork 0`), each for a thread of its own, and writes `asleep` whenever a wait begins, and what each command brought.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from time import sleep

import jobq
from jobq.repos.lmdb import LmdbStorage
from jobq.testing import ManualClock
from tests.clocks import PATIENCE


def say(*words: object) -> None:
    """Write a line, at once, as several threads do."""
    os.write(1, " ".join(map(str, (*words, "\n"))).encode())


def main(directory: str) -> None:
    """Obey until the input ends."""
    clock = ManualClock(patience=2 * PATIENCE)
    svc = jobq.JobService(LmdbStorage(directory, clock=clock))

    def report_sleep() -> None:
        while True:
            clock.sleeping.acquire()
            say("asleep")

    verbs: dict[str, Callable[[str], None]] = {
        "reserve": lambda topic: say("job", svc.reserve(topic, timeout=None)[0].name),
        "wait_for": lambda job_id: say("finished", svc.wait_for(int(job_id), None).status),
        "advance": lambda seconds: clock.advance(float(seconds)),
    }

    def fork(_: str) -> None:
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads, since Python 3.12
        if os.fork() == 0:
            os.closerange(0, 2)  # nobody waits for its output
            sleep(PATIENCE)
            os._exit(0)
        say("forked")

    verbs["fork"] = fork
    threading.Thread(target=report_sleep, daemon=True).start()
    say("ready")
    for line in sys.stdin:
        verb, argument = line.split()
        threading.Thread(target=verbs[verb], args=(argument,), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
