"""SIGTERM and SIGINT, and how programs with a worker end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import jobq
from jobq import Job, JobService, Status, Worker
from jobq.worker.threads import CLOSING
from tests.clocks import PATIENCE
from tests.worker.processes import Program, children_of, command, eventually, have_ended, program

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
EXECUTORS = pytest.mark.parametrize("executor", ["thread", "process"])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"lmdb://{tmp_path}/jobs?sync=off"


@pytest.fixture
def queue(url: str) -> JobService:
    """The program's queue, opened in this process too."""
    return jobq.open(url)


def holding(path: Path, *names: str) -> list[list[str]]:
    """Jobs whose handlers wait for the file."""
    return [[name, str(path)] for name in names]


def expect_children(running: Program, n: int) -> list[int]:
    eventually(lambda: len(children_of(running.pid)) == n)
    return children_of(running.pid)


# -- stopping


@pytest.mark.parametrize(("number", "where"), [(signal.SIGTERM, "lmdb"), (signal.SIGINT, "memory")])
def test_an_idle_worker_ends_at_once(number: signal.Signals, where: str, url: str) -> None:
    with program("memory://" if where == "memory" else url) as running:
        running.expect("topic_empty")
        running.send(number)
        assert running.end() == 0
        assert (running.lines[-1], running.errors) == ("main ends", "")


@BOTH
@EXECUTORS
def test_the_first_signal_waits_for_what_runs_and_reserves_nothing(
    number: signal.Signals, executor: str, url: str, queue: JobService, tmp_path: Path
) -> None:
    """As from a terminal and from a service manager, which signal the whole group."""
    own = holding(tmp_path / "go", "hold", "hold_softly")
    with program(url, own=own, worker={"executor": executor, "concurrency": 2}) as running:
        running.expect("begun")
        running.expect("begun")
        running.send_to_group(number)
        running.expect("log", "stopping")
        late = queue.enqueue("t", name="quick")
        (tmp_path / "go").touch()
        assert running.end() == 0
        assert running.errors == ""
    assert [queue.get(job_id).status for job_id in (1, 2, late)] == [Status.DONE, Status.DONE, Status.READY]
    assert [queue.get(job_id).attempt for job_id in (1, 2, late)] == [1, 1, 0]


@pytest.mark.parametrize("how", ["second signal", "grace"])
@EXECUTORS
def test_what_still_runs_is_given_back_at_the_second_signal_and_when_grace_is_over(
    how: str, executor: str, url: str, queue: JobService, tmp_path: Path
) -> None:
    worker = {"executor": executor, "concurrency": 2, "grace": 0.05 if how == "grace" else 2 * PATIENCE}
    with program(url, own=holding(tmp_path / "never", "hold", "hold_softly"), worker=worker) as running:
        running.expect("begun")
        running.expect("begun")
        running.send(signal.SIGTERM)
        running.expect("log", "stopping")
        if how == "second signal":
            running.send(signal.SIGINT)
        running.expect("worker_stopped")
        assert running.end() == 0
        assert running.errors == ""
    for info in (queue.get(1), queue.get(2)):
        assert (info.status, info.retry_count, info.attempt) == (Status.READY, 0, 1)
    assert queue.stats("t").expired == 0


@BOTH
def test_the_third_signal_does_what_it_did_before(number: signal.Signals, url: str, tmp_path: Path) -> None:
    own = holding(tmp_path / "never", "hold")
    with program(url, own=own, stall=str(tmp_path / "never")) as running:
        running.expect("begun")
        running.send(number)
        running.expect("log", "stopping")
        running.send(number)
        running.expect("released")
        running.send(number)
        assert running.end() == -number
        assert "main ends" not in running.lines


@EXECUTORS
def test_a_terminal_that_is_closed_is_a_first_signal_however_often_it_says_so(
    executor: str, url: str, queue: JobService, tmp_path: Path
) -> None:
    """The shell says it to the group, and so does the kernel."""
    own = holding(tmp_path / "go", "hold", "hold_softly")
    with program(url, own=own, worker={"executor": executor, "concurrency": 2}) as running:
        running.expect("begun")
        running.expect("begun")
        running.send_to_group(signal.SIGHUP)
        running.expect("log", "stopping")
        running.send_to_group(signal.SIGHUP)
        running.send_to_group(signal.SIGHUP)
        (tmp_path / "go").touch()
        assert running.end() == 0
        assert running.errors == ""
    assert [queue.get(job_id).status for job_id in (1, 2)] == [Status.DONE, Status.DONE]
    assert [queue.get(job_id).attempt for job_id in (1, 2)] == [1, 1]


@EXECUTORS
def test_a_terminal_that_is_closed_is_nothing_under_nohup(
    executor: str, url: str, queue: JobService, tmp_path: Path
) -> None:
    own = holding(tmp_path / "go", "hold")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as its children have it, too
    try:
        with program(url, own=own, worker={"executor": executor}) as running:
            running.expect("begun")
            running.send_to_group(signal.SIGHUP)
            late = queue.enqueue("t", name="quick")
            (tmp_path / "go").touch()
            assert queue.wait_for(late, PATIENCE).status == Status.DONE
            running.send(signal.SIGTERM)
            assert running.end() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_program_that_sees_to_closed_terminals_itself_goes_on_to() -> None:
    heard = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: heard.append(number))
    try:
        with jobq.open("memory://") as svc:
            worker = Worker(svc, "t")
            worker.handler("close")(lambda job: signal.raise_signal(signal.SIGHUP))
            svc.enqueue_many([jobq.NewJob("t", name="close"), jobq.NewJob("t", name="close")])
            worker.run(burst=True)
            assert svc.stats("t").done == 2
    finally:
        signal.signal(signal.SIGHUP, before)
    assert heard == [signal.SIGHUP, signal.SIGHUP]


@BOTH
def test_signals_while_children_begin(number: signal.Signals, url: str, queue: JobService) -> None:
    """Children are not prepared for signals at first, so they begin without them."""
    with program(url, own=[["quick", ""]], worker={"executor": "process", "concurrency": 2}) as running:
        expect_children(running, 2)
        running.send_to_group(number)
        assert running.end() == 0
        assert running.errors == ""
    assert queue.get(1).retry_count == 0
    assert queue.get(1).status in (Status.READY, Status.DONE)


def test_a_child_that_never_gets_ready_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """The script waits for ever as its children import it."""
    script = tmp_path / "script.py"
    script.write_text(
        "import jobq, multiprocessing, time\n"
        "if multiprocessing.current_process().name == 'jobq-child':\n"
        "    print('child waits', flush=True)\n"
        "    time.sleep(1000)\n"
        "def quick(job): ...\n"
        "if __name__ == '__main__':\n"
        "    worker = jobq.Worker(jobq.open('memory://'), 't', executor='process')\n"
        "    worker.handler(quick)\n"
        "    worker.run()\n"
        "    print('main ends', flush=True)\n"
    )
    with command(str(script)) as running:
        running.expect("child", "waits")
        [child] = children_of(running.pid)
        began = time.monotonic()
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert time.monotonic() - began < CLOSING, "it was not waited for"
        assert have_ended([child])
        assert (running.lines[-1], running.errors) == ("main ends", "")


WITHOUT_HANG_UP = """
import signal
del signal.SIGHUP  # as on Windows, where a queue in memory has its workers, too
import jobq
svc = jobq.open("memory://")
worker = jobq.Worker(svc, "t")
worker.handler("send")(lambda job: print("sent", job.text))
svc.enqueue("t", name="send", payload="it")
worker.run(burst=True)
"""


def test_where_there_is_no_signal_of_closed_terminals_it_runs_as_well() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_HANG_UP], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("sent it\n", "")


def test_handlers_are_installed_while_it_runs_in_the_main_thread_and_not_elsewhere() -> None:
    def installed() -> list[Any]:
        return [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]

    before = installed()
    seen = []
    with jobq.open("memory://") as svc:
        worker = Worker(svc, "t")

        @worker.handler
        def look(job: Job) -> None:
            seen.append(installed())

        svc.enqueue("t", name="look")
        worker.run(burst=True)
        assert installed() == before
        svc.enqueue("t", name="look")
        other = threading.Thread(target=worker.run, kwargs={"burst": True})
        other.start()
        other.join(PATIENCE)
    assert installed() == before
    assert [look == before for look in seen] == [False, True]


# -- failing


def test_a_worker_that_fails_ends_its_program_with_an_error(url: str, queue: JobService) -> None:
    for settings, error in (
        ({"own": [["close", ""]]}, "ServiceClosed"),
        ({"handlers": False}, "ConfigError: this worker has no handlers"),
    ):
        with program(url, **settings) as running:
            assert running.end() == 1
            assert error in running.errors
            assert "main ends" not in running.lines


# -- the main program's end


@EXECUTORS
def test_what_runs_is_finished_when_the_main_program_ends(
    executor: str, url: str, queue: JobService, tmp_path: Path
) -> None:
    own = holding(tmp_path / "go", "hold", "hold")
    with program(url, own=own, how="start", worker={"executor": executor}) as running:
        running.expect("begun")
        children = children_of(running.pid)
        running.say()
        running.expect("main", "ends")
        running.expect("log", "stopping")
        (tmp_path / "go").touch()
        running.expect("completed", 1)
        assert running.end() == 0
        assert running.errors == ""
        assert have_ended(children)
    assert (queue.get(1).status, queue.get(2).status) == (Status.DONE, Status.READY)


@EXECUTORS
def test_a_worker_in_a_daemon_thread_does_not_hold_up_the_end(executor: str, url: str, tmp_path: Path) -> None:
    own = holding(tmp_path / "never", "hold")
    with program(url, own=own, how="thread", worker={"executor": executor}) as running:
        running.expect("begun")
        children = children_of(running.pid)
        running.say()
        assert running.end() == 0
        assert have_ended(children)


def test_children_end_with_a_parent_that_is_killed(url: str, tmp_path: Path) -> None:
    own = holding(tmp_path / "never", "hold")
    with program(url, own=own, worker={"executor": "process", "concurrency": 2}) as running:
        running.expect("begun")
        children = expect_children(running, 2)
        running.send(signal.SIGKILL)
        eventually(lambda: have_ended(children))


def test_children_signalled_before_they_are_prepared_for_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import jobq, multiprocessing, os, signal\n"
        "if multiprocessing.current_process().name == 'jobq-child':\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "def blocked(job):\n"
        "    return [number.name for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]\n"
        "if __name__ == '__main__':\n"
        "    svc = jobq.open('memory://')\n"
        "    worker = jobq.Worker(svc, 't', executor='process')\n"
        "    worker.handler(blocked)\n"
        "    job_id = svc.enqueue('t', name='blocked')\n"
        "    worker.run(burst=True)\n"
        "    print('got', svc.get(job_id).result)\n"
    )
    with command(str(script)) as running:
        assert running.end() == 0
        assert (running.lines, running.errors) == (["got []"], "")


# -- programs that cannot have children


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (
            "def quick(job): ...\nworker.handler(quick)\nworker.run()",
            "there, worker.run() has to stand under `if __name__ == '__main__':`",
        ),
        (
            "if __name__ == '__main__':\n    def quick(job): ...\n    worker.handler(quick)\n    worker.run()",
            "a child process of the worker could not begin: AttributeError: ",
        ),
        (
            "import here\nif __name__ == '__main__':\n    worker.handler(here.quick)\n    worker.run()",
            "a child process of the worker could not begin: it exited with status 1",
        ),
        (
            "if __name__ == '__main__':\n    import here\n    worker.handler(here.quick)\n    worker.run()",
            "a child process of the worker could not begin: AssertionError: no children",
        ),
        (
            "worker.handler('quick')(lambda job: None)\nworker.run()",
            "cannot be imported by a child process: with executor='process' handlers must be functions at",
        ),
    ],
    ids=["no guard", "handler under the guard", "import fails", "later import fails", "lambda"],
)
def test_scripts_whose_handlers_children_cannot_import(script: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text(
        "from multiprocessing import current_process\n"
        "assert current_process().name == 'MainProcess', 'no children'\n"
        "def quick(job): ...\n"
    )
    begin = "import jobq\nsvc = jobq.open('memory://')\nsvc.enqueue('t', name='quick')\n"
    begin += "worker = jobq.Worker(svc, 't', executor='process')\n"
    (tmp_path / "script.py").write_text(begin + script)
    with command(str(tmp_path / "script.py")) as running:
        assert running.end() == 1
        assert error in running.errors
        assert "jobq.errors.ConfigError: " in running.errors


@pytest.mark.parametrize("how", ["-c", "stdin"])
def test_a_main_program_that_is_in_no_file(how: str) -> None:
    script = "import jobq\ndef quick(job): ...\nw = jobq.Worker(jobq.open('memory://'), 't', executor='process')\n"
    script += "w.handler(quick)\nw.run()\n"
    with command(*(["-c", script] if how == "-c" else ["-"])) as running:
        if how == "stdin":
            running.say(script)
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.end() == 1
        assert "ConfigError: __main__.quick is not in a file, from which a child process could import it" in (
            running.errors
        )


def test_closures_are_refused_before_anything_runs() -> None:
    with jobq.open("memory://") as svc:
        worker = Worker(svc, "t", executor="process")

        @worker.handler
        def closure(job: Job) -> None: ...

        with pytest.raises(jobq.ConfigError, match="closure cannot be imported by a child process"):
            worker.run(burst=True)
        with pytest.raises(jobq.ConfigError, match="closure cannot be imported by a child process"):
            worker.start()
        assert not worker.is_running
