"""`jobq worker --exec`: a program for each job, which gets bytes as they are, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobq import CancelReason, JobInfo, NewJob, Status
from jobq.outcomes import ERROR_LENGTH
from tests.cli.commands import Outcome, Shell, environment
from tests.cli.serving import Serving, serving, serving_command
from tests.cli.terminal import terminal
from tests.clocks import PATIENCE
from tests.worker.processes import eventually, have_ended

TOLD = """
import json, os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("JOBQ_")}
read = sys.stdin.buffer.read().hex()
open(told["JOBQ_JOB_ID"] + ".json", "w").write(json.dumps({"env": told, "stdin": read, "arguments": sys.argv[1:]}))
"""
"""Writes down what it was given."""

FAMILY = """
trap '' INT
sh -c 'trap "" TERM; echo $$ >grandchild.new; mv grandchild.new grandchild; while :; do sleep 1; done' &
while [ ! -e grandchild ]; do sleep 0.01; done
echo $$ >child
echo begun
wait
sleep 1000
"""
"""Has a child that is deaf to SIGTERM; waits for ever."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A queue that tests look at while it is served."""
    return f"lmdb://{tmp_path}/jobs?sync=off"


def put(shell: Shell, payload: bytes | str = b"", **keywords: Any) -> int:
    """Enqueue a job."""
    with shell.queue() as svc:
        return svc.enqueue("t", payload=payload, **keywords)


def get(shell: Shell, id: int = 1) -> JobInfo:
    with shell.queue() as svc:
        return svc.get(id)


def burst(shell: Shell, *program: str, options: tuple[str, ...] = ()) -> Outcome:
    """Run a program for each job, until nothing is left to do."""
    outcome = shell.run("worker", "--topic", "t", "--burst", *options, "--exec", *program)
    assert outcome.status == 0, outcome
    return outcome


def script(shell: Shell, text: str, name: str = "program.py") -> list[str]:
    """The words that run a script in Python."""
    (shell.folder / name).write_text(text)
    return [sys.executable, "-S", name]


def told(shell: Shell, id: int = 1) -> Any:
    return json.loads((shell.folder / f"{id}.json").read_text())


# -- what a program is given


def test_a_program_is_told_of_its_job(shell: Shell) -> None:
    put(shell, b"first")
    put(shell, bytes(range(256)) * 3, name="größe")
    burst(shell, *script(shell, TOLD), "--fast", "-", "--burst", "", "a b")
    own = {"ID": "2", "TOPIC": "t", "NAME": "größe", "ATTEMPT": "1"}
    assert told(shell, 2) == {
        "env": {f"JOBQ_JOB_{name}": value for name, value in own.items()} | {"JOBQ_URL": shell.url},
        "stdin": (bytes(range(256)) * 3).hex(),
        "arguments": ["--fast", "-", "--burst", "", "a b"],
    }
    assert told(shell, 1)["env"]["JOBQ_JOB_NAME"] == ""
    assert get(shell, 2).status == Status.DONE


@pytest.mark.parametrize(
    "text", ["; touch pwned", "$(touch pwned)", "`touch pwned`", "| touch pwned", "\n touch pwned"]
)
def test_there_is_no_shell(shell: Shell, text: str) -> None:
    put(shell, text, name=text)
    burst(shell, *script(shell, TOLD), text)
    assert not (shell.folder / "pwned").exists()
    given = told(shell)
    assert (given["env"]["JOBQ_JOB_NAME"], given["arguments"]) == (text, [text])
    assert bytes.fromhex(given["stdin"]).decode() == text


def test_names_of_any_text(shell: Shell) -> None:
    names = ['"quotes"', "it's", "two\nlines\r", "\x1b[31mred\x07", "--help", "-", "a=b", "日本 \U0001f600", "x" * 255]
    ids = [put(shell, name=name) for name in names]
    outcome = burst(shell, *script(shell, TOLD))
    assert [told(shell, id)["env"]["JOBQ_JOB_NAME"] for id in ids] == names
    assert "\x1b" not in outcome.err


def test_a_name_with_a_zero_byte_is_a_dead_letter(shell: Shell) -> None:
    put(shell, name="a\0b")
    put(shell)
    outcome = burst(shell, "cat")
    info = get(shell)
    assert info.cancel_reason is CancelReason.REJECTED
    assert str(info.last_error).startswith("its name has a zero byte, which no environment variable can have")
    assert "'a\\x00b'" in outcome.err
    assert get(shell, 2).status == Status.DONE


@pytest.mark.parametrize("program", [("true",), ("head", "-c1"), ("sh", "-c", "exec <&-")])
def test_a_payload_need_not_be_read(shell: Shell, program: tuple[str, ...]) -> None:
    put(shell, bytes(2**20))
    burst(shell, *program)
    assert get(shell).status == Status.DONE


def test_large_payloads_and_outputs_pass_through(shell: Shell) -> None:
    payload = b"0123456789abcde\n" * 2**16
    for _ in range(3):
        put(shell, payload)
    outcome = burst(shell, "tee", "/dev/stderr", options=("-c", "3", "--log-level", "error"))
    assert len(outcome.out) == len(outcome.err) == 3 * 2**20
    assert [get(shell, id).status for id in (1, 2, 3)] == [Status.DONE] * 3


def test_a_program_may_enqueue_to_the_same_queue(shell: Shell) -> None:
    (shell.folder / "jobq.toml").write_text(
        '[queues.q]\nurl = "lmdb:jobs?sync=off"\n[queues.q.options]\nmax_retries = 2\n'
    )
    put(shell, "hello")
    text = f"cd / && exec {sys.executable} -m jobq enqueue next -q"
    shell.url = None
    shell.done("worker", "--queue", "q", "--config", "jobq.toml", "--topic", "t", "--burst", "--log-level", "error",
               "--exec", "sh", "-c", text)  # fmt: skip
    shell.url = f"lmdb://{shell.folder}/jobs"
    with shell.queue() as svc:
        [job] = svc.reserve("next")
        assert (job.payload, job.options.max_retries) == (b"hello", 2)


# -- what becomes of its job


def test_by_its_exit_status_it_says_what_becomes_of_its_job(shell: Shell) -> None:
    for text in ("exit 0", "echo no >&2; exit 75", "echo why >&2; exit 3", "exit 4", "kill -SEGV $$", "kill -40 $$"):
        put(shell, text)
    outcome = burst(shell, "sh")
    infos = [get(shell, id) for id in range(1, 7)]
    assert [info.status for info in infos] == [Status.DONE, *[Status.DELAYED] * 5]
    assert [info.retry_count for info in infos] == [0, 0, 1, 1, 1, 1]
    errors = [info.last_error for info in infos]
    assert errors == [None, None, "exit status 3: why", "exit status 4", "killed by SIGSEGV", "killed by signal 40"]
    assert "attempt 1, failed, and is tried again in 30 seconds: exit status 3: why" in outcome.err


def test_a_job_that_is_given_back_waits_for_its_backoff_but_never_spins(shell: Shell) -> None:
    put(shell, min_backoff=600)
    put(shell, min_backoff=0)
    burst(shell, "sh", "-c", "exit 75")
    waits = [(info.run_at - info.created_at).total_seconds() for info in (get(shell, 1), get(shell, 2))]
    assert 600 <= waits[0] < 660
    assert 1 <= waits[1] < 60


PEAK = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)  # of the largest of these processes, in KiB
sys.exit(status)
"""


def test_the_end_of_stderr_is_kept(shell: Shell) -> None:
    """Of a quarter of a gigabyte, which passes through a worker that stays as small as it is."""
    put(shell)
    text = "head -c 256M /dev/zero >&2; seq 3000000 3003000 >&2; printf '\\377 end\\n' >&2; exit 1"
    command = shell.command("worker", "--topic", "t", "--burst", "--exec", "sh", "-c", text)
    measure = [sys.executable, "-c", PEAK, *command]  # in between, as a child begins with the peak of its parent
    peak = subprocess.run(
        measure, env=environment(), cwd=shell.folder, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert peak.returncode == 0
    assert int(peak.stdout) < 128 * 1024
    error = str(get(shell).last_error)
    assert len(error) == ERROR_LENGTH
    assert error.startswith("exit status 1: …")
    assert error.endswith("3002999\n3003000\n\ufffd end")


def test_what_a_program_leaves_running_ends_with_it(shell: Shell) -> None:
    """It has the pipe of stderr open, too."""
    put(shell)
    burst(shell, "sh", "-c", "sleep 1000 & echo $! >left; echo said >&2; exit 1")
    eventually(lambda: have_ended([int((shell.folder / "left").read_text())]))
    assert get(shell).last_error == "exit status 1: said"


def test_a_program_may_close_its_stderr(shell: Shell) -> None:
    put(shell)
    text = "exec 2>&-; echo closed; while [ ! -e go ]; do sleep 0.01; done; exit 5"
    with serving(shell, "worker", "--topic", "t", "--burst", "--exec", "sh", "-c", text) as running:
        running.expect("closed")
        (shell.folder / "go").touch()
        assert running.end() == 0
    assert get(shell).last_error == "exit status 5"


def test_a_program_that_cannot_be_begun_is_tried_again(shell: Shell) -> None:
    put(shell)
    (shell.folder / "plain").write_text("true")
    (shell.folder / "plain").chmod(0o755)
    burst(shell, "./plain")
    assert get(shell).last_error == (
        f"{shell.folder}/plain cannot be run: Exec format error (does a script lack its first line, as #!/bin/sh?)"
    )


def test_jobs_are_innocent_of_what_the_worker_has_too_little_of(shell: Shell) -> None:
    """Each program takes some files of the worker, which has not enough for all."""
    with shell.queue() as svc:
        svc.enqueue_many([NewJob("t", payload="while [ ! -e go ]; do sleep 0.01; done")] * 40)
    command = ["sh", "-c", 'ulimit -n 48; exec "$@"', "sh"]
    command += shell.command("worker", "--topic", "t", "--burst", "-c", "40", "--exec", "sh")
    with serving_command(command, shell.folder, environment()) as running:
        running.expect("is given back, as", "cannot be run: Too many open files: run fewer at once (-c)")
        (shell.folder / "go").touch()
        assert running.end() == 0
    with shell.queue() as svc:
        infos = [svc.get(id) for id in range(1, 41)]
    assert {info.status for info in infos} == {Status.DONE, Status.DELAYED}
    assert {(info.retry_count, info.last_error) for info in infos} == {(0, None)}


NO_ROOM = """
import sys, threading
start = threading.Thread.start
def refuse(thread):
    if thread.name == "jobq-program":
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = refuse
from jobq.cli import main
main()
"""


def test_a_job_is_innocent_of_there_being_no_room_for_a_thread(shell: Shell) -> None:
    put(shell)
    command = [sys.executable, "-c", NO_ROOM, *shell.command("worker", "--topic", "t", "--burst", "--exec", "cat")[3:]]
    ended = subprocess.run(command, cwd=shell.folder, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 0
    assert "is given back, as" in ended.stderr
    info = get(shell)
    assert (info.status, info.retry_count, info.last_error) == (Status.DELAYED, 0, None)


@pytest.mark.parametrize(
    ("status", "arguments", "message"),
    [
        (2, ("--exec", "cat"), "Say which topics the program serves: --exec goes with --topic."),
        (2, ("--topic", "t", "--exec"), "Option '--exec' requires an argument."),
        (2, ("--topic", "t", "--max-jobs", "5", "--exec", "cat"), "--max-jobs goes with MODULE:OBJECT."),
        (2, ("--topic", "t", "--executor", "process", "--exec", "cat"), "--executor goes with MODULE:OBJECT."),
        (1, ("--topic", "t", "--exec", "no-such"), "there is no program no-such, in any folder of PATH: --exec takes"),
        (1, ("--topic", "t", "--exec", "./no-such", "x"), "there is no program ./no-such: --exec takes one, and its"),
        (
            1,
            ("--topic", "t", "--exec", "./plain"),
            "./plain cannot be run, as it is not executable: chmod +x FOLDER/pl",
        ),
        (
            1,
            ("--topic", "t", "--exec", "ready"),
            "ready is no program in PATH: for that in the current folder write ./r",
        ),
        (1, ("--topic", "t", "--exec", "echo a; true"), "there is no program echo a; true, in any folder of PATH"),
    ],
)
def test_what_cannot_be_run_is_said_before_a_job_is_reserved(
    shell: Shell, status: int, arguments: tuple[str, ...], message: str
) -> None:
    (shell.folder / "plain").write_text("")
    (shell.folder / "ready").write_text("")
    (shell.folder / "ready").chmod(0o755)
    said = shell.refused(status, "worker", *arguments)
    assert message.replace("FOLDER", str(shell.folder)) in said
    assert not (shell.folder / "jobs").exists()


def test_programs_run_at_once_for_the_topics_of_the_settings(shell: Shell) -> None:
    """Each waits for the other; child processes of handlers, which the settings ask for, have no part in it."""
    for text in ("a", "b"):
        put(shell, text)
    meet = "touch $(cat).here; while [ ! -e a.here ] || [ ! -e b.here ]; do sleep 0.01; done"
    environ = {"JOBQ_WORKER_CONCURRENCY": "2", "JOBQ_WORKER_TOPICS": "t", "JOBQ_WORKER_EXECUTOR": "process"}
    outcome = shell.run("worker", "--burst", "--exec", "sh", "-c", meet, stdin=b"", **environ)
    assert outcome.status == 0
    assert [get(shell, id).status for id in (1, 2)] == [Status.DONE, Status.DONE]


# -- its end before its time


def family(shell: Shell) -> list[int]:
    """The program and its child, once both are there."""
    eventually((shell.folder / "child").exists)
    return [int((shell.folder / name).read_text()) for name in ("child", "grandchild")]


def cancel(shell: Shell, running: Serving) -> None:
    shell.done("cancel", 1)
    running.expect("was canceled, or its lease is over")
    running.send(signal.SIGTERM)


def stop_twice(shell: Shell, running: Serving) -> None:
    running.send(signal.SIGINT)
    running.expect("stopping: 1 running jobs")
    running.send(signal.SIGINT)


def stop(shell: Shell, running: Serving) -> None:
    running.send(signal.SIGTERM)


def let_time_pass(shell: Shell, running: Serving) -> None:
    running.expect("failed, and is tried again")
    running.send(signal.SIGTERM)


@pytest.mark.parametrize(
    ("end", "options", "status", "retries", "error"),
    [
        (cancel, ("--lease", "1s"), Status.CANCELED, 0, None),
        (stop_twice, (), Status.READY, 0, None),
        (stop, ("--grace", "10ms"), Status.READY, 0, None),
        (let_time_pass, ("--time-limit", "2s"), Status.DELAYED, 1, "ran longer than its time_limit of 2 seconds"),
    ],
    ids=["lease lost", "second signal", "grace over", "time limit"],
)
def test_a_program_is_stopped_with_all_that_it_began(
    shell: Shell,
    end: Callable[[Shell, Serving], None],
    options: tuple[str, ...],
    status: Status,
    retries: int,
    error: str | None,
) -> None:
    put(shell)
    with serving(shell, "worker", "--topic", "t", *options, "--exec", "sh", "-c", FAMILY) as running:
        running.expect("begun")
        end(shell, running)
        assert running.end() == 0
        assert have_ended(family(shell))
    info = get(shell)
    assert (info.status, info.retry_count) == (status, retries)
    assert error is None or error in str(info.last_error)


def test_a_program_hears_that_it_is_stopped(shell: Shell) -> None:
    put(shell)
    text = "trap 'echo tidied >tidied; exit 0' TERM; echo begun; while :; do sleep 0.01; done"
    with serving(shell, "worker", "--topic", "t", "--grace", "0", "--exec", "sh", "-c", text) as running:
        running.expect("begun")
        running.send(signal.SIGTERM)
        assert running.end() == 0
    assert (shell.folder / "tidied").exists()
    assert get(shell).status == Status.READY


def test_ctrl_c_in_a_terminal_waits_for_programs(shell: Shell) -> None:
    put(shell)
    text = "trap 'echo struck' INT; echo begun; while [ ! -e go ]; do sleep 0.01; done; echo ended"
    command = shell.command("worker", "--topic", "t", "--exec", "sh", "-c", text)
    with terminal(command, shell.folder, environment()) as screen:
        screen.wait_for("begun")
        screen.type("\x03")
        screen.wait_for("stopping: 1 running jobs")
        (shell.folder / "go").touch()
        screen.wait_for("ended")
        assert screen.end() == 0
        assert "struck" not in screen.screen
    assert get(shell).status == Status.DONE


def test_a_terminal_that_is_closed_lets_programs_end(shell: Shell) -> None:
    put(shell)
    text = "touch begun; while [ ! -e go ]; do sleep 0.01; done; echo ended; echo ended >&2"
    command = shell.command("worker", "--topic", "t", "--exec", "sh", "-c", text)
    with terminal(command, shell.folder, environment()) as screen:
        eventually((shell.folder / "begun").exists)
        screen.wait_for("started")
        screen.hang_up()
        (shell.folder / "go").touch()
        assert screen.process.wait(PATIENCE) == 0
    assert get(shell).attempt == 1
    assert get(shell).status == Status.DONE


def test_ctrl_c_twice_in_a_terminal_gives_jobs_back(shell: Shell) -> None:
    put(shell)
    command = shell.command("worker", "--topic", "t", "--exec", "sh", "-c", FAMILY)
    with terminal(command, shell.folder, environment()) as screen:
        screen.wait_for("begun")
        screen.type("\x03")
        screen.wait_for("stopping: 1 running jobs")
        screen.type("\x03")
        assert screen.end() == 0
        assert "Traceback" not in screen.screen
    assert have_ended(family(shell))
    assert (get(shell).status, get(shell).retry_count) == (Status.READY, 0)


def test_a_closed_stderr_keeps_no_program_from_its_work(shell: Shell) -> None:
    put(shell, "echo lost >&2; exit 7")
    read, write = os.pipe()
    os.close(read)
    command = shell.command("worker", "--topic", "t", "--burst", "--exec", "sh")
    status = subprocess.run(command, env=environment(), cwd=shell.folder, stderr=write, timeout=PATIENCE).returncode
    os.close(write)
    assert status == 0
    assert get(shell).last_error == "exit status 7: lost"
