"""Processes of the tests in namespaces of their own, as those of containers are: by unshare of util-linux."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clocks import PATIENCE

ROOT = Path(__file__).parents[2]
PID = ("--pid", "--fork", "--kill-child", "--mount-proc")
TIME = ("--time", "--fork", "--kill-child", "--monotonic")
"""To be followed by the offset of the monotonic clock in seconds."""
MOUNT = ("--mount",)


def command(flags: tuple[str, ...], shell: str, script: str, *arguments: object) -> list[str]:
    """The command that runs a Python script within new namespaces, once the shell has prepared these.

    The test is skipped where the system makes no such namespaces for this user, or lets only root prepare them.
    """
    is_root = os.geteuid() == 0
    unshare = ["unshare", *(() if is_root else ("--user", "--map-root-user")), *flags, "sh", "-c"]
    shell = shell or ":"
    try:
        trial = subprocess.run(
            [*unshare, "true" if is_root else shell], capture_output=True, text=True, timeout=PATIENCE
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if trial.returncode:
        pytest.skip(f"no such namespaces for this user: {trial.stderr.strip()}")
    return [*unshare, f'{shell} && exec "$@"', "sh", sys.executable, "-c", script, *map(str, arguments)]


def run(flags: tuple[str, ...], script: str, *arguments: object, shell: str = "") -> str:
    """What the script prints; it must end well and complain of nothing."""
    done = subprocess.run(
        command(flags, shell, script, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


OPEN = """
import sys, jobq
try:
    with jobq.open(sys.argv[1]) as svc:
        job_id = svc.enqueue("mail")
        print("open", job_id, sorted(job.attempt for job in svc.reserve("mail", 10)), flush=True)
        sys.stdin.read()
except jobq.JobqError as problem:
    print(type(problem).__name__, problem)
"""
"""A script that says that it opened a URL, or why it could not, and goes on until its input ends."""


def open_in(flags: tuple[str, ...], url: str, *, shell: str = "") -> str:
    """What `OPEN` says when there is no more input."""
    return run(flags, OPEN, url, shell=shell)


@contextmanager
def opened_in(flags: tuple[str, ...], url: str, *, shell: str = "") -> Iterator[None]:
    """Have the URL open within new namespaces."""
    with subprocess.Popen(
        command(flags, shell, OPEN, url), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("open ")
        try:
            yield
        finally:
            process.communicate(timeout=PATIENCE)
