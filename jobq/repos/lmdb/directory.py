"""The directory of a queue: what it is (jobq.json), and who has it open (jobq.lock).

`jobq.json` says the format, `sync`, `max_size`, and the generation of the steady clock with the boot it belongs to. It
changes only while one process alone has the directory open, which flock tells: every process holds a shared lock on
`jobq.lock` while it has the environment open, and openers go one at a time through `jobq.gate`.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

from jobq.codec import FORMAT
from jobq.errors import ConfigError, StorageCorrupt, StorageError, StorageVersion

try:
    import fcntl
except ImportError as missing:  # pragma: no cover  # Windows
    raise ConfigError("the lmdb storage needs flock, which this system has not: use memory://") from missing

SYNCS = ("full", "normal", "off")
DEFAULT_MAX_SIZE = 64 * 2**30
SMALLEST = 2**20
"""Bytes of the smallest max_size."""


@dataclass(frozen=True, slots=True)
class Properties:
    """What a directory is, the same for all processes that have it open."""

    format: int
    sync: str
    max_size: int
    generation: int
    boot_id: str


class Presence:
    """The mark of this process on a directory that it has open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    @contextmanager
    def entering(self) -> Iterator[bool]:
        """Take the mark; within, no other process opens the directory. Gives whether no other has it open."""
        gate = _lock_file(self._path / "jobq.gate")
        try:
            self._lock(gate, fcntl.LOCK_EX)
            self._fd = _lock_file(self._path / "jobq.lock")
            try:
                alone = self._lock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not alone:
                    self._lock(self._fd, fcntl.LOCK_SH)
                yield alone
            except BaseException:
                self.leave()
                raise
            self._lock(self._fd, fcntl.LOCK_SH)
        finally:
            os.close(gate)

    def _lock(self, fd: int, operation: int) -> bool:
        try:
            fcntl.flock(fd, operation)
        except OSError as problem:
            if problem.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise StorageError(f"{self._path} cannot be locked: {problem.strerror}") from problem
        return True

    def leave(self) -> None:
        """Give the mark up. In a forked child this leaves the parent's alone: both had the same open file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def prepare(path: Path) -> os.stat_result:
    """Make the directory if there is none, and return its stat.

    Raises ConfigError if there is something else at the path, StorageError if it cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.stat()
    except OSError as problem:
        raise StorageError(
            f"{path} cannot be a queue's directory ({problem.strerror}): give a path where this user may make one"
        ) from problem
    if not path.is_dir():
        raise ConfigError(f"{path} is a file: a queue needs a directory of its own")
    if not os.access(path, os.W_OK | os.X_OK):
        raise StorageError(f"{path} is not writable, which a queue needs even to read: change its owner or mode")
    return found


def settle_properties(path: Path, sync: str | None, max_size: int | None, *, alone: bool) -> Properties:
    """What the directory is from now on; to be called while entering.

    sync, max_size: what is asked for; None takes what the directory says, or the default for a new one.
    Raises ConfigError if another value is in force and other processes rely on it, StorageVersion for a directory of
    another format or of something else.
    """
    check_settings(sync, max_size)
    stored = _read(path)
    if stored is None:
        if (path / "data.mdb").exists():
            raise StorageVersion(f"{path} holds an LMDB environment that is no jobq queue: use another directory")
        wanted = Properties(FORMAT, sync or "full", max_size or DEFAULT_MAX_SIZE, 1, _boot_id())
    else:
        wanted = replace(stored, sync=sync or stored.sync, max_size=max_size or stored.max_size)
        _check_agreement(path, stored, wanted, alone=alone)
        boot_id = _boot_id()
        if alone and (not boot_id or boot_id != stored.boot_id):
            wanted = replace(wanted, generation=stored.generation + 1, boot_id=boot_id)
    if wanted != stored:
        _write(path, wanted)
    return wanted


def check_settings(sync: str | None, max_size: int | None) -> None:
    """Refuse settings that no directory can have."""
    if sync is not None and sync not in SYNCS:
        raise ConfigError(f"sync must be one of {', '.join(SYNCS)}, not {sync!r}")
    if max_size is None:
        return
    if isinstance(max_size, bool) or not isinstance(max_size, int):
        raise TypeError(f"max_size must be a number of bytes (int), not {type(max_size).__name__}")
    if not SMALLEST <= max_size <= 2**46:
        raise ConfigError(f"max_size must be from {SMALLEST} (1 MiB) to {2**46} (64 TiB) bytes, not {max_size}")


def _check_agreement(path: Path, stored: Properties, wanted: Properties, *, alone: bool) -> None:
    if alone:
        return
    for name in ("sync", "max_size"):
        ours, theirs = getattr(wanted, name), getattr(stored, name)
        if ours != theirs:
            raise ConfigError(
                f"{path} is open in another process with {name}={theirs}, and cannot have {name}={ours} as well: "
                f"leave {name} out to take the directory's, or close it everywhere to change it"
            )


def _read(path: Path) -> Properties | None:
    try:
        text = (path / "jobq.json").read_bytes()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise StorageError(f"{path / 'jobq.json'} cannot be read: {problem.strerror}") from problem
    try:
        stored = json.loads(text)
        version = stored["format"]
    except (ValueError, KeyError, TypeError) as problem:
        raise StorageCorrupt(f"{path / 'jobq.json'} does not say what the directory is: {problem!r}") from problem
    if version != FORMAT:
        raise StorageVersion(
            f"{path} has format {version}, and this version of jobq reads format {FORMAT}: "
            "use the version that wrote it, or another directory"
        )
    try:
        properties = Properties(**stored)
        check_settings(properties.sync, properties.max_size)
        kinds = [type(value).__name__ for value in astuple(properties)]
        if kinds != ["int", "str", "int", "int", "str"]:
            raise TypeError(f"its values are {', '.join(kinds)}")
    except (TypeError, ConfigError) as problem:
        raise StorageCorrupt(f"{path / 'jobq.json'} does not say what the directory is: {problem}") from problem
    return properties


def _write(path: Path, properties: Properties) -> None:
    temporary = path / "jobq.json.new"
    is_durable = properties.sync != "off"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            json.dump(asdict(properties), file)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        os.replace(temporary, path / "jobq.json")
        if is_durable:
            _fsync_folder(path)
    except OSError as problem:
        raise StorageError(f"{path / 'jobq.json'} cannot be written: {problem.strerror}") from problem


def _fsync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _lock_file(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise StorageError(f"{path} cannot be opened: {problem.strerror}") from problem


def _boot_id() -> str:
    """What names this boot of the machine; "" if that is not to be known, which counts as another each time."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if sys.platform == "darwin":  # pragma: no cover
        with suppress(OSError, subprocess.SubprocessError):
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    return ""
