"""Commands whose standard streams are closed, full, or of a locale with few characters."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

import jobq
from tests.cli.commands import Outcome, Shell, environment
from tests.clocks import PATIENCE

ASCII: Any = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""What makes Python's streams ASCII."""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder in which commands are for a queue."""
    return Shell(tmp_path, f"lmdb://{tmp_path}/jobs?sync=off")


def redirected(shell: Shell, *arguments: str, to: str) -> Outcome:
    """Run a command with streams redirected by a shell."""
    line = f"{shlex.join(shell.command(*arguments))} {to}"
    ended = subprocess.run(
        ["sh", "-c", line], cwd=shell.folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("to", [">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"])
def test_where_streams_are_closed_commands_do_what_they_should(shell: Shell, to: str) -> None:
    printed = "" if ">&- " in f"{to} " and not to.startswith("2") else "1\n"
    assert redirected(shell, "enqueue", "mail", "hello", to=to) == (0, printed, "")
    assert redirected(shell, "enqueue", "mail", to=to).status == 0
    assert redirected(shell, "list", to=to).status == 0
    with shell.queue() as svc:
        assert [job.payload for job in svc.reserve("mail", n=9)] == [b"hello", b""]
        assert svc.verify() == []


def test_notices_do_not_go_where_ids_are_read_if_there_is_no_stderr(shell: Shell) -> None:
    shell.url = None  # of which a notice says which queue it is then
    assert redirected(shell, "enqueue", "mail", "hello", to="2>&-") == (0, "1\n", "")


@pytest.mark.parametrize("arguments", [("-",), ("--lines",)])
def test_a_payload_from_a_closed_stream_is_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    outcome = redirected(shell, "enqueue", "mail", *arguments, to="<&-")
    assert outcome.err.startswith("jobq: standard input cannot be read: Bad file descriptor")
    assert (outcome.status, outcome.out) == (1, "")


def test_an_id_that_cannot_be_printed_is_said(shell: Shell) -> None:
    full = redirected(shell, "enqueue", "mail", "x", to=">/dev/full")
    assert full.err == "jobq: job 1 is enqueued, but that cannot be printed: No space left on device\n"
    assert full.status == 1
    full = redirected(shell, "topics", to=">/dev/full")
    assert full == (1, "", "jobq: system: No space left on device\n")


@pytest.mark.parametrize("to", [">/dev/full", "| true"])
def test_lines_whose_ids_cannot_be_printed_say_how_far_they_came(shell: Shell, to: str) -> None:
    (shell.folder / "lines").write_text("x\n" * 20_000)
    outcome = redirected(shell, "enqueue", "mail", "--lines", "-f", "lines", to=to)
    with shell.queue() as svc:
        number = svc.stats("mail").now[jobq.Status.READY]
    assert 0 < number < 20_000
    assert outcome.err.endswith(f"({number:,} lines enqueued: go on with line {number + 1})\n")


def test_in_a_locale_of_few_characters_the_others_are_written_out(shell: Shell) -> None:
    with jobq.open(shell.url) as svc:
        svc.enqueue("mail", payload="€", name="ä")
    assert "\\xe4" in shell.done("list", **ASCII).out
    assert "\\u20ac" in shell.done("show", "1", **ASCII).out
    [job] = shell.done("show", "1", "--json", **ASCII).objects
    assert (job["payload"], job["name"]) == ("€", "ä")
    assert json.loads(shell.done("list", "--json").out)["name"] == "ä"
