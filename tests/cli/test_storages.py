"""Each command on each storage, as a process of its own: what a queue with one job, and one in memory, have for it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from jobq.cli.commands import MODULES
from jobq.testing import check_invariants
from tests.cli.commands import Shell
from tests.cli.serving import serving

DONE, REFUSED, NOTHING = 0, 1, 75
RUN = [
    # the command, and how it ends on a queue with one job that waits; on a queue in memory, which is always empty
    (("enqueue", "mail", "x"), DONE, DONE),
    (("worker", "--topic", "mail", "--burst", "--exec", "true"), DONE, DONE),
    (("topics",), DONE, NOTHING),
    (("stats", "mail"), DONE, NOTHING),
    (("list",), DONE, NOTHING),
    (("show", "1"), DONE, NOTHING),
    (("logs", "1"), DONE, NOTHING),
    (("dead",), NOTHING, NOTHING),
    (("cancel", "1"), DONE, NOTHING),
    (("reset", "1"), REFUSED, NOTHING),
    (("reschedule", "1", "--delay", "1h"), DONE, NOTHING),
    (("delete", "1"), REFUSED, NOTHING),
    (("prune",), DONE, DONE),
    (("clear", "mail"), DONE, NOTHING),
    (("pause", "mail"), DONE, DONE),
    (("resume", "mail"), NOTHING, NOTHING),
    (("info",), DONE, DONE),
    (("verify",), DONE, DONE),
    (("backup", "copy"), DONE, REFUSED),
    (("compact",), DONE, REFUSED),
    (("schedules",), NOTHING, NOTHING),
    (("metrics",), DONE, DONE),
]
ENDLESS = [
    ("watch", "--interval", "50ms"),
    ("metrics", "--listen", "127.0.0.1:0"),
    ("worker", "--topic", "t", "--exec", "true"),
]


def outcome_is(shell: Shell, arguments: tuple[str, ...], status: int) -> None:
    ended = shell.run(*arguments)
    assert ended.status == status, ended
    assert "Traceback" not in ended.err
    if status:
        assert len(ended.err.splitlines()) == 1, ended.err


@pytest.mark.parametrize(("arguments", "status", "_"), RUN, ids=[" ".join(row[0]) for row in RUN])
def test_on_a_queue_that_is_durable(shell: Shell, arguments: tuple[str, ...], status: int, _: int) -> None:
    shell.done("enqueue", "mail", "hello")
    outcome_is(shell, arguments, status)
    with shell.queue() as svc:
        assert svc.verify() == []
        check_invariants(svc._storage)


@pytest.mark.parametrize(("arguments", "_", "status"), RUN, ids=[" ".join(row[0]) for row in RUN])
def test_on_a_queue_in_memory(tmp_path: Path, arguments: tuple[str, ...], _: int, status: int) -> None:
    outcome_is(Shell(tmp_path, "memory://"), arguments, status)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", ENDLESS, ids=[" ".join(words) for words in ENDLESS])
def test_what_runs_until_it_is_stopped(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.done("enqueue", "mail", "hello")
    with serving(shell, *arguments) as running:
        running.expect("mail" if arguments[0] == "watch" else "")
        running.send(signal.SIGINT)
        assert running.end() == 0


def test_no_command_is_left_out() -> None:
    apart = {"move", "completion"}  # which take other things than one queue
    assert {row[0][0] for row in RUN} | {words[0] for words in ENDLESS} == set(MODULES) - apart
