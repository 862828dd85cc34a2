"""Signals, finalizers and forks in the middle of a verb: nothing hangs, and nothing is left by half."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clocks import PATIENCE

ROOT = Path(__file__).parents[1]

PRELUDE = """
import gc, os, random, signal, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads, since Python 3.12
import jobq
from jobq.testing.invariants import check_invariants

svc = jobq.open(sys.argv[1], limits=jobq.Limits(done=50))
chance = random.Random(7)
"""

ARMED = """
armed = False
interrupts = 0

def interrupt(*_):
    global armed, interrupts
    if armed:
        armed = False
        interrupts += 1
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
"""

CTRL_C = (
    ARMED
    + """
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
while interrupts < 400:
    armed = True
    try:
        while True:
            svc.enqueue("t", unique_key=chance.choice("abc"), on_duplicate="keep")
            jobs = svc.reserve("t", 2, lease=0.01)
            outcomes = [(job, chance.choice([jobq.Done(), jobq.Retry(0), jobq.Release()])) for job in jobs]
            svc.exchange(outcomes, enqueue=jobq.NewJob("t"), topics="t", n=2)
            svc.stats("t")
            svc.reserve("nothing", timeout=0.001)
            svc.clear("t") if chance.random() < 0.05 else None
    except KeyboardInterrupt:
        pass
    finally:
        armed = False
    if interrupts % 40 == 0:
        check_invariants(svc._storage)
signal.setitimer(signal.ITIMER_REAL, 0)
check_invariants(svc._storage)
svc.enqueue("last")
svc.close()
print("closed")
"""
)

RESERVE = (
    ARMED
    + """
# Ctrl-C at any moment of a reserve: what the caller does not get is given back, however many threads share commits.
# Only as the list is handed over there is a step between two that nothing can guard: a few in a thousand.
stop = threading.Event()

def work():
    while not stop.is_set():
        svc.enqueue("u")
        svc.done(svc.reserve("u", 3))

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0017)
while interrupts < 150:
    jobs = []
    try:
        while True:
            jobs = []
            armed = True
            svc.enqueue("t")
            jobs = svc.reserve("t", 2, linger=0.001 * (interrupts % 2))
            armed = False
            svc.done(jobs)
    except KeyboardInterrupt:
        svc.done(jobs)
signal.setitimer(signal.ITIMER_REAL, 0)
stop.set()
for thread in threads:
    thread.join(30)
    assert not thread.is_alive()
svc.enqueue("t")  # the next verb gives back what could not be given back at once
assert svc.stats("t").now["reserved"] <= 6, svc.stats("t")
assert svc.stats("t").retried == svc.stats("t").expired == 0
check_invariants(svc._storage)
svc.close()
print("closed")
"""
)

CLOSE_IN_A_HANDLER = """
ended = []

def stop(*_):
    svc.close()
    ended.append(True)

signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    while True:
        svc.enqueue("t")
        svc.stats("t")
except jobq.ServiceClosed:
    print("closed" if ended else "closed too early")
"""

ENQUEUE_IN_A_HANDLER = """
seen = {"ok": 0, "refused": 0}

def tell(*_):
    try:
        svc.enqueue("from-handler")
        seen["ok"] += 1
    except jobq.StorageError as refusal:
        assert "within another one of the same thread" in str(refusal), refusal
        seen["refused"] += 1

signal.signal(signal.SIGALRM, tell)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
count = 0
while seen["refused"] < 10 or seen["ok"] < 10:
    svc.enqueue("t")
    count += 1
    svc.stats("t")
signal.setitimer(signal.ITIMER_REAL, 0)
assert svc.stats("t").enqueued == count
assert svc.stats("from-handler").enqueued == seen["ok"]
check_invariants(svc._storage)
svc.close()
print("closed")
"""

VERBS_WITHIN_VERBS = """
# As another thread commits all the time, a handler calls verbs in the middle of views and verbs of the main thread.
stop = threading.Event()

def work():
    while not stop.is_set():
        svc.enqueue("busy")

writer = threading.Thread(target=work)
writer.start()
seen = {"ok": 0, "refused": 0}

def tell(*_):
    signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        svc.enqueue("from-handler")
        svc.stats("busy")
        seen["ok"] += 1
    except jobq.StorageError as refusal:
        assert "within another one of the same thread" in str(refusal), refusal
        seen["refused"] += 1
    signal.setitimer(signal.ITIMER_REAL, 0.001)

signal.signal(signal.SIGALRM, tell)
signal.setitimer(signal.ITIMER_REAL, 0.001)
while seen["refused"] < 10 or seen["ok"] < 10:
    svc.stats("busy")
    svc.find("ready", topic="busy", limit=5)
    svc.enqueue("t")
signal.setitimer(signal.ITIMER_REAL, 0)
stop.set()
writer.join(30)
check_invariants(svc._storage)
svc.close()
print("closed")
"""

INTERRUPTED_CLOSE = """
# Ctrl-C as close waits for a view of another thread: closing again goes on, and the directory can be opened anew.
begun, go_on = threading.Event(), threading.Event()

def slow(uow):
    begun.set()
    go_on.wait(30)

svc.enqueue("t")
viewer = threading.Thread(target=svc._storage.view, args=(slow,))
viewer.start()
begun.wait(30)
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
threading.Timer(0.3, go_on.set).start()
try:
    svc.close()
    go_on.wait(30)  # as a storage in memory does not wait for views
except KeyboardInterrupt:
    pass
go_on.set()
viewer.join(30)
svc.close()
for _ in range(2):
    with jobq.open(sys.argv[1]) as again:
        assert again.topics() == ([] if "memory://" in sys.argv[1] else ["t"])
print("closed")
"""

COLLECTED_GENERATORS = """
class Consumer:
    def __init__(self):
        self.jobs = svc.jobs("t", n=5, timeout=0)
        self.me = self  # a cycle, so that only the collector ends the generator

svc.enqueue_many([jobq.NewJob("t") for _ in range(400)])
gc.set_threshold(5, 2, 2)
for _ in range(300):
    next(Consumer().jobs).release()
gc.collect()
svc.enqueue("t")
assert svc.stats("t").now["reserved"] == 0, svc.stats("t").now
check_invariants(svc._storage)
svc.close()
print("closed")
"""

FORK_IN_A_BLOCK = """
svc.enqueue_many([jobq.NewJob("t") for _ in range(3)])
for job in svc.jobs("t", n=3, timeout=0):
    with job:
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
assert (svc.stats("t").done, svc.stats("t").reserved) == (3, 3)
svc.close()
print("closed")
"""

CLOSE_IN_A_CHILD = """
def hold():
    inner = vars(svc._storage)
    bell = inner["_store"].bell if "_store" in inner else inner["_environment"].wakes._bell
    with bell._lock:
        held.set()
        release.wait()

held, release = threading.Event(), threading.Event()
threading.Thread(target=hold, daemon=True).start()
held.wait()
pid = os.fork()
if pid == 0:
    svc.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
release.set()
svc.close()
print("closed")
"""


SCRIPTS = {
    "ctrl-c": CTRL_C,
    "reserve": RESERVE,
    "close-in-handler": CLOSE_IN_A_HANDLER,
    "enqueue-in-handler": ENQUEUE_IN_A_HANDLER,
    "verbs-within-verbs": VERBS_WITHIN_VERBS,
    "interrupted-close": INTERRUPTED_CLOSE,
    "collector": COLLECTED_GENERATORS,
    "fork-in-block": FORK_IN_A_BLOCK,
    "close-in-child": CLOSE_IN_A_CHILD,
}


@pytest.mark.parametrize("kind", ["memory", "lmdb", "volatile"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_interruption(tmp_path: Path, kind: str, name: str) -> None:
    url = "memory://" if kind == "memory" else f"lmdb://{tmp_path}/jobs?sync=off"
    url += "&topics=memory" * (kind == "volatile")
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + SCRIPTS[name], url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert (done.stdout, done.returncode, done.stderr) == ("closed\n", 0, "")


def test_a_named_queue_in_memory_begins_anew_in_a_forked_child() -> None:
    script = (
        "import os, jobq\n"
        "svc = jobq.open('memory://n')\n"
        "svc.enqueue('t')\n"
        "pid = os.fork()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "print('child' if pid == 0 else 'parent', jobq.open('memory://n').topics(), flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert sorted(done.stdout.splitlines()) == ["child []", "parent ['t']"]
