"""Commands as real processes, as a shell begins them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jobq
from jobq import JobService
from tests.clocks import PATIENCE

ROOT = Path(jobq.__file__).parent.parent
COMMAND = [sys.executable, "-m", "jobq"]


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: none of this process's own settings, and this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JOBQ_", "NO_COLOR"))}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", **more}


class Outcome(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it printed, line by line."""
        return self.out.splitlines()

    @property
    def objects(self) -> list[Any]:
        """What it printed with --json."""
        return [json.loads(line) for line in self.lines]


class Shell:
    """A folder in which commands are run. url: for --url; None: as the settings say."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder = folder
        self.url = url

    def command(self, *arguments: object) -> list[str]:
        """The words of a command."""
        name, *rest = map(str, arguments)
        return [*COMMAND, name, *(["--url", self.url] if self.url else []), *rest]

    def queue(self) -> JobService:
        """The queue, opened in this process; to be closed before a command can open one with topics=memory."""
        return jobq.open(self.url)

    def run(self, *arguments: object, stdin: bytes = b"", **environ: str) -> Outcome:
        """Run a command to its end."""
        return self._ended(self.command(*arguments), stdin, environ)

    def script(self, text: str, *arguments: str) -> Outcome:
        """Run a program in Python, which may change a command and call it, to its end."""
        return self._ended([sys.executable, "-c", text, *arguments], b"", {})

    def _ended(self, command: Sequence[str], stdin: bytes, environ: Mapping[str, str]) -> Outcome:
        process = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(**environ),
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
        )
        return Outcome(process.returncode, process.stdout.decode(), process.stderr.decode())

    def done(self, *arguments: object, stdin: bytes = b"", **environ: str) -> Outcome:
        """Run a command that has to end well, and say nothing on stderr."""
        outcome = self.run(*arguments, stdin=stdin, **environ)
        assert (outcome.status, outcome.err) == (0, ""), outcome
        return outcome

    def refused(self, status: int, *arguments: object, stdin: bytes = b"", **environ: str) -> str:
        """What a command says that ends with this status, and prints nothing else: one line, without a traceback."""
        outcome = self.run(*arguments, stdin=stdin, **environ)
        assert outcome.status == status, outcome
        assert outcome.out == ""
        assert len(outcome.err.splitlines()) == 1, outcome.err
        assert "Traceback" not in outcome.err
        return outcome.err.rstrip("\n")
