"""A worker with child processes whose ends someone else is told: `python -m tests.worker.unseen SIG_IGN|reaper`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import jobq
from jobq import Worker
from tests.worker import deeds
from tests.worker.processes import children_of


def reap() -> None:
    """Take the end of every child, as the first process of a container does."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.001)


def main(how: str) -> None:
    if how == "SIG_IGN":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    else:
        threading.Thread(target=reap, name="reaper", daemon=True).start()
    svc = jobq.open("memory://")
    worker = Worker(svc, "t", executor="process", max_jobs=1)
    worker.handler(deeds.exits)
    worker.handler(deeds.pid)
    files = []
    for n in range(2):
        dead = svc.enqueue("t", name="exits", max_retries=0)
        pids = [svc.enqueue("t", name="pid") for _ in range(2 + n)]
        worker.run(burst=True)
        files.append(len(os.listdir("/proc/self/fd")))
    error = svc.get(dead).last_error or ""
    print("dead", error.startswith("ChildProcessError: the process of the handler died: it"))
    print("done", svc.stats("t").done)
    print("distinct", len({svc.get(id).result for id in pids}))
    print("threads", [thread.name for thread in threading.enumerate() if thread.name.startswith("jobq-")])
    print("children", children_of(os.getpid()))
    print("files", files[0] == files[1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
