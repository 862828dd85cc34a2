"""Programs with a worker, as tests begin, hear and look at them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.clocks import PATIENCE

ROOT = Path(__file__).parents[2]


class Program:
    """A process, and the lines that it writes; its own group, as that of a terminal's command."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.lines: list[str] = []
        self.errors = ""
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ears = [threading.Thread(target=self._listen), threading.Thread(target=self._listen_to_errors)]
        for ear in self._ears:
            ear.start()

    def expect(self, *words: object) -> list[str]:
        """The words of the next line that begins so; those before it are passed over."""
        beginning = [str(word) for word in words]
        while True:
            line = self._heard.get(timeout=PATIENCE)
            if line.split()[: len(words)] == beginning:
                return line.split()
            assert line, f"{self} ended without saying {beginning}: {self.lines} {self.errors}"

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def send_to_group(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def say(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Its exit status, once it has ended and all is heard."""
        status = self.process.wait(PATIENCE)
        for ear in self._ears:
            ear.join(PATIENCE)
        return status

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            self._heard.put(line.strip())
        self._heard.put("")

    def _listen_to_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()


@contextmanager
def program(url: str, **settings: Any) -> Iterator[Program]:
    """Run tests.worker.program; at the end all that is left of it is killed."""
    with command("-m", "tests.worker.program", url, json.dumps(settings)) as running:
        yield running


@contextmanager
def command(*words: str) -> Iterator[Program]:
    """Run Python with these arguments; at the end all that is left of it is killed."""
    running = Program(list(words))
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        with running.process:  # closes the pipes
            running.end()


def eventually(condition: Callable[[], bool]) -> None:
    """Return once another process has made this true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)  # between two looks: what another process does gives no event to wait on


def state_of(pid: int) -> str:
    """How the kernel calls the state of a process: T is stopped, Z ended; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def have_ended(pids: Iterable[int]) -> bool:
    return all(state_of(pid) in ("", "Z") for pid in pids)


def children_of(pid: int) -> list[int]:
    """The processes for handlers that a process has, by whichever of its threads they were begun."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in (task / "children").read_text().split() if _is_for_handlers(child)]
    return found


def own_children() -> list[int]:
    """Those of this process."""
    return children_of(os.getpid())


def _is_for_handlers(pid: str) -> bool:
    try:
        return "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
