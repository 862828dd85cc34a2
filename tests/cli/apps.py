"""Programs of users, as `jobq worker` finds them in a folder."""

from __future__ import annotations

from pathlib import Path

SHOP = """
import asyncio, os, sys, time
import jobq

tasks = jobq.Tasks("mail")
others = jobq.Tasks("web")
empty = jobq.Tasks("none")
both = [tasks, others]
number = 5


@tasks.task(name="send")
def send(to):
    return [to, os.getpid()]


@tasks.task(name="later", topic="slow")
async def later(to):
    await asyncio.sleep(0)
    return to


@tasks.task(name="hold")
def hold(path):
    print("begun", flush=True)
    while not os.path.exists(path):
        time.sleep(0.005)  # between two looks: nothing tells of a new file


@tasks.task(name="fail")
def fail():
    raise ValueError("two\\nlines, \\x1b[31mred")


@others.task(name="visit")
def visit():
    return "seen"
"""

WORKS = """
import os, threading
import jobq

svc = jobq.open(os.environ.get("OWN_URL"))
worker = jobq.Worker(svc, "mail", concurrency=1)
pair = threading.Barrier(2, timeout=30)


@worker.handler
def meet(job):
    pair.wait()


@worker.handler
def close(job):
    svc.close()


@worker.handler
def quick(job):
    return os.getpid()
"""

WRONG = {
    "needs_more.py": "import json\nimport nothing_like_it\n",
    "fails.py": "def f():\n    return 1 / 0\n\nf()\n",
    "slips.py": "def f(:\n",
    "leaves.py": "import sys\nsys.exit(3)\n",
    "pack/__init__.py": "",
    "pack/jobs.py": "import jobq\ntasks = jobq.Tasks()\n",
}


def write_apps(folder: Path) -> None:
    """Write them into a folder."""
    (folder / "pack").mkdir()
    for name, text in {"shop.py": SHOP, "works.py": WORKS, **WRONG}.items():
        (folder / name).write_text(text)
