"""What the processes that share a directory must have in common: the boot of the machine, and two namespaces.

LMDB names its readers by process ids, which mean something else in another PID namespace. Leases are instants of the
monotonic clock, which begins anew with each boot and is shifted in a time namespace.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Host(NamedTuple):
    """Where a process runs; "" for what is not to be known."""

    boot_id: str
    pid_namespace: str
    time_namespace: str

    def has_clock_of(self, other: Host) -> bool:
        """Whether an instant of the steady clock means the same to both."""
        return self.boot_id != "" and (self.boot_id, self.time_namespace) == (other.boot_id, other.time_namespace)


def this_host() -> Host:
    """The Host of this process. Systems without namespaces give "" for them."""
    return Host(_boot_id(), _namespace("pid"), _time_namespace())


def _boot_id() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if sys.platform == "darwin":  # pragma: no cover
        import subprocess

        with suppress(OSError, subprocess.SubprocessError):
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    return ""


def _namespace(kind: str) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/self/ns/{kind}")
    return ""


def _time_namespace() -> str:
    # The number of a namespace may be given to another one later, so its offset belongs to the name.
    with suppress(OSError):
        for line in Path("/proc/self/timens_offsets").read_text().splitlines():
            clock, *offset = line.split()
            if clock == "monotonic":
                return " ".join((_namespace("time"), *offset))
    return _namespace("time")
