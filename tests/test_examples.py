"""The small examples do what they say, and leave nothing behind. (hash_tree has tests of its own.)"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jobq
from tests.clocks import PATIENCE

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SMALL = ["batch_consumer", "expire_orders", "ready_retry_cancel"]
WITHOUT_LMDB = "import runpy, sys; sys.modules['lmdb'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"


def run(folder: Path, name: str, *how: str) -> list[str]:
    """Run an example in an empty folder, in a Python of its own; the lines it prints, once it left nothing behind."""
    environment = os.environ | {"PYTHONPATH": str(Path(jobq.__file__).parent.parent), "TMPDIR": str(folder)}
    script = str(EXAMPLES / f"{name}.py")
    command = [sys.executable, "-W", "error", *how, script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(folder.iterdir()) == []
    return done.stdout.splitlines()


def test_a_batch_consumer(tmp_path: Path) -> None:
    *batches, totals, dead = run(tmp_path, "batch_consumer")
    sizes = [int(size) for line in batches for size in re.findall(r"^a batch of +(\d+), \d+ views in all$", line)]
    assert len(sizes) == len(batches)
    assert sum(sizes) == 301
    assert 1 < max(sizes) <= 40
    assert sum(int(views) for views in re.findall(r": (\d+)", totals)) == 300
    assert dead.startswith("not counted: b'no JSON', as ")


def test_ready_retry_cancel(tmp_path: Path) -> None:
    lines = run(tmp_path, "ready_retry_cancel")
    assert lines[:4] == [
        "Enqueued:                  3 ready  1 delayed",
        "Canceled and worked on:    2 done  2 canceled",
        "A dead letter, cat@example.og: no such address. Corrected, it is reset.",
        "In the end:                3 done  1 canceled",
    ]
    lives = "\n".join(line.partition("  ")[2].partition("  ")[2] or line for line in lines[5:]).split("\n\n")
    assert [life.splitlines()[0] for life in lives] == [
        "ada@example.org (job 4)",
        "bob@example.org (job 2)",
        "eve@example.org (job 1)",
        "cat@example.og (job 3)",
    ]
    assert [life.count("-> reserved") for life in lives] == [1, 3, 0, 2]
    assert [life.splitlines()[-1] for life in lives] == [
        *["reserved -> done"] * 2,
        "delayed -> canceled (requested)",
        "reserved -> done",
    ]


ORDERS = [
    "order A-1 is placed",
    "order A-2 is placed",
    "order A-3 is placed",
    "order A-2 is paid",
    "order A-3 is placed",
    "order A-1 expires",
    "order A-3 expires",
    "order A-1 cannot be paid any more",
]


def test_expire_orders(tmp_path: Path) -> None:
    *lines, totals = run(tmp_path, "expire_orders")
    told = [re.fullmatch(r" *([0-9.]+) s  (.*?)(, \d+ ms after its time was over)?", line) for line in lines]
    assert [match and match[2] for match in told] == ORDERS
    times = [float(match[1]) for match in told if match]
    assert times == sorted(times)
    assert times[5] >= 0.3
    assert times[6] >= times[4] + 0.29, "placed again, its time to pay began anew"
    assert totals == "3 orders, 1 paid, 2 expired"


def test_expire_orders_without_lmdb_goes_on_in_memory(tmp_path: Path) -> None:
    problem, what_now, *lines, _ = run(tmp_path, "expire_orders", "-c", WITHOUT_LMDB)
    assert problem == "the lmdb storage needs the package lmdb: pip install 'jobq[lmdb]'"
    assert what_now == "So the orders are in memory, and would not outlive this process."
    assert [line.partition("s  ")[2].partition(",")[0] for line in lines] == ORDERS


@pytest.mark.parametrize("name", SMALL)
def test_an_example_is_short_and_says_how_to_run_it(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()
    assert text.count("\n") < 100
    assert f"    python examples/{name}.py\n" in text


def test_no_example_is_left_out() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SMALL, "hash_tree"}
