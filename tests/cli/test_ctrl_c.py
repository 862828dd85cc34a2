"""Ctrl-C in every long command, early and late: one line says so, nothing is broken, and the same command goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jobq
from jobq import NewJob
from jobq.testing import check_invariants
from tests.cli.commands import COMMAND, Outcome, Shell, environment
from tests.clocks import PATIENCE

INTERRUPTED = """
import os, signal, sys
from jobq.cli.running import run
from jobq.cli.target import Target
left = int(sys.argv[1])
whole = Target.open
def count(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGINT)
def opened(*arguments, **keywords):
    svc = whole(*arguments, **keywords)
    sys.setprofile(count)
    return svc
Target.open = opened
status = run(sys.argv[2:])
sys.setprofile(None)
sys.exit(status)
"""
"""Runs a command that is sent SIGINT at the given call of a function, counted from when it has opened the queue."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "cancel": ("cancel", "--topic", "waiting", "--yes"),
    "reschedule": ("reschedule", "--topic", "waiting", "--delay", "1h", "--yes"),
    "clear": ("clear", "waiting", "--yes"),
    "reset": ("reset", "--status", "canceled", "--yes"),
    "delete": ("delete", "--topic", "finished", "--yes"),
    "prune": ("prune", "--older-than", "0", "--yes"),
    "list": ("list", "--limit", "0"),
    "list --json": ("list", "--json"),
    "verify": ("verify",),
    "verify --repair": ("verify", "--repair"),
    "backup": ("backup", "copy"),
    "compact": ("compact",),
}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a queue with several pages of jobs that wait, and of jobs that are finished."""
    path = tmp_path_factory.mktemp("stocked") / "jobs"
    with jobq.open(f"lmdb://{path}?sync=off") as svc:
        svc.enqueue_many([NewJob("waiting", json=number) for number in range(2_500)])
        svc.cancel(svc.enqueue_many([NewJob("finished", json=number) for number in range(2_500)]))
    return path


def interrupted(shell: Shell, call: int, *arguments: str) -> Outcome:
    words = [sys.executable, "-c", INTERRUPTED, str(call), *shell.command(*arguments)[len(COMMAND) :]]
    ended = subprocess.run(words, cwd=shell.folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("call", [1, 100, 3_000])
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c(stocked: Path, tmp_path: Path, command: str, call: int) -> None:
    shutil.copytree(stocked, tmp_path / "jobs")
    shell = Shell(tmp_path, f"lmdb://{tmp_path}/jobs?sync=off")
    outcome = interrupted(shell, call, *COMMANDS[command])
    if outcome.status != 0:  # it was not done before
        assert outcome.status == 130
        assert outcome.err.startswith("jobq: interrupted")
        assert len(outcome.err.splitlines()) == 1
        assert not (tmp_path / "copy").exists()
    else:
        assert (call, outcome.err) == (3_000, "")
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    with shell.queue() as svc:
        assert svc.verify() == []
        check_invariants(svc._storage)
    again = shell.run(*COMMANDS[command])
    assert again.status == 0 or (outcome.status == 0 and again.status == 75), again
