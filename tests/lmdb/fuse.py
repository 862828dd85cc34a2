"""A filesystem in user space with one empty directory: `python -m tests.lmdb.fuse TYPE FOLDER` mounts and examines it.

It speaks just enough of the kernel's protocol (linux/fuse.h) for the directory to be looked at.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
import threading
from pathlib import Path

import jobq
from jobq.repos.lmdb.filesystems import filesystem_of

LOOKUP, FORGET, GETATTR, INIT, INTERRUPT = 1, 2, 3, 26, 36
REQUEST = struct.Struct("<IIQQIIII")
ANSWER = struct.Struct("<IiQ")
VERSION = struct.pack("<IIIIHHI", 7, 22, 4096, 0, 1, 1, 4096)
ROOT = struct.pack("<QII6Q10I", 1, 0, 0, 1, *[0] * 5, *[0] * 3, stat.S_IFDIR | 0o700, 2, 0, 0, 0, 4096, 0)


def serve(device: int) -> None:
    """Answer the kernel until the filesystem is gone."""
    while True:
        _, operation, unique, *_ = REQUEST.unpack_from(os.read(device, 2**16))
        if operation not in (FORGET, INTERRUPT):
            failure = errno.ENOENT if operation == LOOKUP else errno.ENOSYS
            content = {INIT: VERSION, GETATTR: ROOT}.get(operation)
            head = ANSWER.pack(ANSWER.size + len(content or b""), 0 if content else -failure, unique)
            os.write(device, head + (content or b""))


def mount(kind: str, folder: Path) -> None:
    """Mount the filesystem, served by a thread of this process."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"share", os.fsencode(folder), kind.encode(), 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    threading.Thread(target=serve, args=[device], daemon=True).start()


if __name__ == "__main__":
    kind, folder = sys.argv[1], Path(sys.argv[2])
    mount(kind, folder)
    print(filesystem_of(folder))
    try:
        jobq.open(f"lmdb://{folder}/jobs")
    except jobq.JobqError as problem:
        print(type(problem).__name__, problem)
