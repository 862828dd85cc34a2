"""What a case is: a way to measure a peer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.peer import Peer

Run = Callable[[Peer, Path, int, int], dict[str, float]]
"""Measures a peer in an empty folder, with so many jobs, of a payload of so many bytes; gives figures by name."""


class Case(NamedTuple):
    """A case. peers: those that are measured, by name. jobs: how many, by the peer and the bytes of a payload."""

    run: Run
    peers: Sequence[str]
    jobs: Callable[[Peer, int], int]
    payloads: Sequence[int] = (100,)
