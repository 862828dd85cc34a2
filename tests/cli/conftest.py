"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Shell


@pytest.fixture(params=["lmdb", "volatile"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a storage that outlives a process: each command is one of its own."""
    return f"lmdb://{tmp_path}/jobs?sync=off{'&topics=memory' if request.param == 'volatile' else ''}"


@pytest.fixture
def shell(tmp_path: Path, url: str) -> Shell:
    """A folder in which commands are for that queue."""
    return Shell(tmp_path, url)
