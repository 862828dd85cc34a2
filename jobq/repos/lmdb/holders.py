"""Which processes hold a file lock, as far as the system says: LMDB knows only those that read at the moment."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

LOCKS = Path("/proc/locks")
"""The table of file locks, which Linux keeps."""


def holders_of(fd: int) -> set[int]:
    """The ids of the processes that hold a flock on a file of which this process holds one, too, by this descriptor.

    Empty where the system does not say it.
    """
    with suppress(OSError):
        ending = f":{os.fstat(fd).st_ino}"
        held = [
            (fields[4], fields[5]) for fields in map(str.split, LOCKS.read_text().splitlines()) if _is_flock(fields)
        ]
        # By what stands there for this process: a filesystem may have another device there than stat says.
        files = {file for pid, file in held if pid == str(os.getpid()) and file.endswith(ending)}
        return {int(pid) for pid, file in held if file in files} - {0}
    return set()


def _is_flock(fields: list[str]) -> bool:
    return len(fields) > 5 and fields[1] == "FLOCK" and fields[4].isdecimal()
