"""Fixtures of the command line's tests."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.cli.commands import Shell, environment


@pytest.fixture(params=["lmdb", "volatile"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a storage that outlives a process: each command is one of its own."""
    return f"lmdb://{tmp_path}/jobs?sync=off{'&topics=memory' if request.param == 'volatile' else ''}"


@pytest.fixture
def shell(tmp_path: Path, url: str) -> Shell:
    """A folder in which commands are for that queue."""
    return Shell(tmp_path, url)


@pytest.fixture
def path(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that has this checkout's `jobq` as a command."""
    command = tmp_path / "bin" / "jobq"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m jobq "$@"\n')
    command.chmod(0o755)
    return environment(PATH=f"{command.parent}:{os.environ['PATH']}", HOME=str(tmp_path))
