"""What is measured, one at a time: a case, for a peer, at a size. It runs in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATIENCE = 1_800
"""Seconds after which a measurement is given up."""


@dataclass(frozen=True)
class Measurement:
    """One case for one peer. jobs: how many; payload: bytes of each."""

    case: str
    peer: str
    jobs: int
    payload: int = 100


class CannotMeasure(Exception):
    """Why there is no figure."""


def measure(measurement: Measurement, parent: Path) -> dict[str, float]:
    """Its figures, from a fresh process over a fresh folder within `parent`. Raises CannotMeasure."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        command = [sys.executable, "-m", "benchmarks.one", json.dumps(asdict(measurement)), folder]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        try:
            run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise CannotMeasure(f"not finished after {PATIENCE} s") from None
    return figures_of(run.returncode, run.stdout, run.stderr)


def figures_of(returncode: int, stdout: str, stderr: str) -> dict[str, float]:
    """The figures that a process printed last. Raises CannotMeasure with what it complained of last."""
    if returncode != 0:
        complaints = stderr.strip().splitlines() or [f"the process ended with {returncode}"]
        raise CannotMeasure(complaints[-1])
    figures: dict[str, float] = json.loads(stdout.splitlines()[-1])
    return figures
