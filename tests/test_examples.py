"""The small examples do what they say, and leave nothing behind. (hash_tree has tests of its own.)"""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import jobq
from jobq.testing import QueueForTests, drain
from tests.clocks import PATIENCE

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SMALL = [
    "basic_scheduler",
    "batch_consumer",
    "expire_orders",
    "job_handlers",
    "ready_retry_cancel",
    "scheduled_report",
    "task_scheduler",
]
LONGER = ["hash_tree", "web_fetch"]
WITHOUT_LMDB = "import runpy, sys; sys.modules['lmdb'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"


def environment(folder: Path) -> dict[str, str]:
    """For an example whose temporary files are to be in this folder."""
    return os.environ | {"PYTHONPATH": str(Path(jobq.__file__).parent.parent), "TMPDIR": str(folder)}


def run(folder: Path, name: str, *arguments: str, how: tuple[str, ...] = ()) -> list[str]:
    """Run an example in an empty folder, in a Python of its own; the lines it prints, once it left nothing behind."""
    command = [sys.executable, "-W", "error", *how, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=PATIENCE
    )
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
    problem, what_now, *lines, _ = run(tmp_path, "expire_orders", how=("-c", WITHOUT_LMDB))
    assert problem == "the lmdb storage needs the package lmdb: pip install 'jobq[lmdb]'"
    assert what_now == "So the orders are in memory, and would not outlive this process."
    assert [line.partition("s  ")[2].partition(",")[0] for line in lines] == ORDERS


FAILING = [
    "⚠️ Job failed: fail (retries left=3)",
    "🔄 Retrying job in 2s (remaining retries=2)",
    "⚠️ Job failed: fail (retries left=2)",
    "🔄 Retrying job in 2s (remaining retries=1)",
    "⚠️ Job failed: fail (retries left=1)",
    "🔄 Retrying job in 2s (remaining retries=0)",
    "⚠️ Job failed: fail (retries left=0)",
    "❌ Job exhausted retries: fail",
]


def test_a_scheduled_task(tmp_path: Path) -> None:
    assert run(tmp_path, "task_scheduler", "Process payment", "0.1") == [
        "✅ Executed job: Process payment",
        "Job 1 is done at attempt 1",
    ]


def test_a_scheduled_task_that_fails(tmp_path: Path) -> None:
    *lines, last = run(tmp_path, "task_scheduler", "fail", "0", "--retry-delay", "0.1")
    assert [line.replace("in 0.1s", "in 2s") for line in lines] == FAILING
    assert last == "Job 1 is exhausted at attempt 4"


def test_a_scheduled_task_is_retried_every_two_seconds_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    example = runpy.run_path(str(EXAMPLES / "task_scheduler.py"))
    with QueueForTests() as queue:
        worker = example["task_worker"](queue)
        id = queue.enqueue(example["TOPIC"], payload="fail", delay=3, options=example["options"]())
        queue.clock.advance(2.9)
        assert drain(worker) == 0
        queue.clock.advance(0.1)
        assert drain(worker) == 1
        for _ in range(3):
            queue.clock.advance(1.9)
            assert drain(worker) == 0
            queue.clock.advance(0.1)
            assert drain(worker) == 1
        assert queue.get(id).cancel_reason == "exhausted"
    assert capsys.readouterr().out.splitlines() == FAILING


def test_job_handlers(tmp_path: Path) -> None:
    *lines, totals = run(tmp_path, "job_handlers")
    assert sorted(lines) == [
        "complete_me is done at attempt 1, with the result {'simpleJson': 1}",
        "move_to_dlq is a dead letter (rejected): cannot be handled",
        "nobody_knows_me is a dead letter (unhandled): no handler for jobs named 'nobody_knows_me': "
        "this worker knows 'complete_me', 'move_to_dlq', 'retry_me'",
        "retry_me is done at attempt 2, with the result None",
        "retry_me is retried in 1 s: some error",
    ]
    assert totals == "2 done, 2 dead letters"


def test_a_scheduled_report(tmp_path: Path) -> None:
    *often, waits = (lines := run(tmp_path, "scheduled_report"))[:4]
    for line in often:
        assert re.fullmatch(r"So far, \w{3} \d\d \w{3} \d\d:\d\d:\d\d \+0000: 7 sold", line)
    assert waits == "report waits for its tick, '0 9 * * MON-FRI' in Europe/Paris"
    assert lines[4:] == [
        f"Report of the day, {day} 09:00:00 {offset}: 7 sold"
        for day, offset in [
            *[("Thu 26 Mar", "+0100"), ("Fri 27 Mar", "+0100"), ("Mon 30 Mar", "+0200")],
            *[("Tue 31 Mar", "+0200"), ("Wed 01 Apr", "+0200"), ("Thu 02 Apr", "+0200")],
        ]
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_basic_scheduler_works_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "basic_scheduler.py")]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        too_late = threading.Timer(PATIENCE, process.kill)
        too_late.start()
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(number)
        last, errors = process.communicate()
        too_late.cancel()
    assert (process.returncode, last) == (0, "stopped, 2 jobs are done\n")
    assert re.fullmatch(r"(stopping: 1 running jobs have .*\n)?", errors)  # the second one may run still
    assert lines[0] == "Ctrl-C stops the worker\n"
    told = [re.fullmatch(r"job (\d) executed with (.*), (\d+) ms after it was due\n", line) for line in lines[1:]]
    assert [match and (match[1], match[2]) for match in told] == [
        ("2", "{'args': 'can be anything'}"),
        ("1", "{'args': 'can be anything'}"),
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_web_fetch(tmp_path: Path) -> None:
    assert run(tmp_path, "web_fetch") == [
        "211 pages fetched with 222 requests, 10 of them tried again",
        "given up: b'/missing', not found",
    ]


@pytest.mark.parametrize("name", [*SMALL, "web_fetch"])
def test_an_example_is_short_and_says_how_to_run_it(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()
    assert text.count("\n") < 100 or name in LONGER
    assert re.search(rf"^    python examples/{name}\.py( \[.*)?$", text, re.MULTILINE)


def test_no_example_is_left_out() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SMALL, *LONGER}
