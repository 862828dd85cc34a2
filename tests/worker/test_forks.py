"""Handlers that fork, and end in the fork, too: it must not take the worker's jobs for its own."""

from __future__ import annotations

import pytest

from tests.worker.processes import command


@pytest.mark.parametrize(
    ("executor", "name"), [(executor, name) for executor in ("thread", "process") for name in ("forks", "forks_softly")]
)
def test_a_fork_ends_with_the_handler(executor: str, name: str) -> None:
    """As a program would: what it has written is flushed, and its status is that of the exit."""
    with command("-m", "tests.worker.forking", executor, name) as program:
        for how in ("return", "exit", "status", "text", "error"):
            program.expect("fork", how)
        assert program.expect("statuses") == ["statuses", "0", "0", "7", "1", "1"]
        program.expect("done", "10")
        assert program.end() == 0
        assert len([line for line in program.lines if line.startswith("fork")]) == 5
        assert program.errors.startswith("farewell\nTraceback ")
        assert program.errors.endswith("\nValueError: wrong\n")
