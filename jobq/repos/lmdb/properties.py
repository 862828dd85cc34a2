"""What a directory is, the same for all processes that have it open: `jobq.json`.

It says the format, `sync`, `max_size`, where places are, the generation of the steady clock, and the host of those who
have it open. It changes only while one process alone has the directory open. So its host is that of all: the first
writes its own, and others are let in only if theirs is the same.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from jobq.codec import FORMAT, READABLE
from jobq.errors import ConfigError, StorageCorrupt, StorageError, StorageVersion
from jobq.repos.lmdb.failures import system_error
from jobq.repos.lmdb.guarding import check_file, open_private
from jobq.repos.lmdb.host import Host, this_host

SYNCS = ("full", "normal", "off")
TOPICS = ("lmdb", "memory")
DEFAULT_MAX_SIZE = 64 * 2**30
SMALLEST = 2**20
"""Bytes of the smallest max_size."""


class Settings(NamedTuple):
    """What an opener asks for; None takes what the directory has, or the default for a new one.

    topics: where places are. Unlike the others it is not remembered: None asks for "lmdb", as far as this process has
    not the directory open otherwise.
    """

    sync: str | None = None
    max_size: int | None = None
    topics: str | None = None


@dataclass(frozen=True, slots=True)
class Properties:
    """What a directory is. A field that is added needs a default, which directories made before then have."""

    format: int
    sync: str
    max_size: int
    generation: int
    boot_id: str
    pid_namespace: str = ""
    time_namespace: str = ""
    topics: str = "lmdb"

    @property
    def host(self) -> Host:
        """Where those run who have the directory open, or had it last."""
        return Host(self.boot_id, self.pid_namespace, self.time_namespace)

    @property
    def is_durable(self) -> bool:
        """Whether the directory promises to survive a power loss."""
        return self.sync != "off"


def settle_properties(path: Path, settings: Settings, *, alone: bool) -> Properties:
    """What the directory is from now on; to be called while entering. alone: whether no other process has it open.

    `topics` stays "memory" until the places have been built in LMDB. A directory of a former format gets this one.
    Raises ConfigError if another value is in force and other processes rely on it, or if these run on another host;
    StorageVersion for a directory of another format, of a former one that others have open, or of something else;
    StorageCorrupt, StorageError.
    """
    stored = _read(path)
    if stored is None:
        _check_unused(path)
        sync, max_size, topics = settings
        wanted = Properties(
            FORMAT, sync or "full", max_size or DEFAULT_MAX_SIZE, 1, *this_host(), topics=topics or "lmdb"
        )
    else:
        asked = {name: value for name, value in settings._asdict().items() if value is not None}
        if stored.topics == "memory":
            asked["topics"] = "memory"
        wanted = replace(stored, **asked)
        if alone:
            wanted = _taken_over(wanted, this_host())
        else:
            _check_format(path, stored)
            _check_agreement(path, stored, wanted)
            _check_host(path, stored.host, this_host())
    if wanted != stored:
        moves = stored is not None and wanted.topics != stored.topics  # from where places are lost
        write_properties(path, wanted, is_durable=wanted.is_durable or moves)
    return wanted


def write_properties(path: Path, properties: Properties, *, is_durable: bool) -> None:
    """Replace jobq.json as a whole, in such a way that it survives a power loss if `is_durable`.

    Raises StorageFull, StorageError, and ConfigError for a link or another user's file in its place.
    """
    temporary = path / "jobq.json.new"
    try:
        with open(open_private(temporary, os.O_WRONLY | os.O_TRUNC), "w") as file:
            json.dump(asdict(properties), file)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        os.replace(temporary, path / "jobq.json")
        if is_durable:
            fsync_folder(path)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise system_error(problem, f"{path / 'jobq.json'} cannot be written") from problem


def is_for_one_process(path: Path) -> bool:
    """Whether who has the directory open has its places in memory, if anybody has it open and nobody is about to.

    Raises StorageCorrupt, StorageVersion, StorageError.
    """
    stored = _read(path)
    return stored is not None and stored.topics == "memory"


def is_directory_of_a_queue(path: Path) -> bool:
    """Whether a directory has a queue, in whichever state; one that this user may not look into passes for one."""
    return _is_there(path / "jobq.json") or _is_there(path / "data.mdb")


def _is_there(file: Path) -> bool:
    try:
        file.lstat()
    except PermissionError:  # opening the directory says what keeps this user out
        return True
    except (OSError, ValueError):
        return False
    return True


def check_settings(settings: Settings) -> None:
    """Refuse settings that no directory can have."""
    sync, max_size, topics = settings
    if sync is not None and sync not in SYNCS:
        raise ConfigError(f"sync must be one of {', '.join(SYNCS)}, not {sync!r}")
    if topics is not None and topics not in TOPICS:
        raise ConfigError(f"topics must be one of {', '.join(TOPICS)}, not {topics!r}")
    if max_size is None:
        return
    if isinstance(max_size, bool) or not isinstance(max_size, int):
        raise TypeError(f"max_size must be a number of bytes (int), not {type(max_size).__name__}")
    if not SMALLEST <= max_size <= 2**46:
        raise ConfigError(f"max_size must be from {SMALLEST} (1 MiB) to {2**46} (64 TiB) bytes, not {max_size}")


def check_in_force(path: Path, properties: Properties, settings: Settings) -> None:
    """Refuse another user of this process who asks for other settings than those in force."""
    for name, value in settings._asdict().items():
        in_force = getattr(properties, name)
        if value is not None and value != in_force:
            raise ConfigError(
                f"{path} is open in this process with {name}={in_force}, and cannot have {name}={value} "
                f"as well: leave {name} out, or close it first"
            )


def _check_unused(path: Path) -> None:
    found = check_file(path / "data.mdb")
    if found is not None and found.st_size:
        raise StorageVersion(f"{path} holds an LMDB environment that is no jobq queue: use another directory")


def _taken_over(stored: Properties, host: Host) -> Properties:
    # Where the clock is another one, every holder of a lease is dead, and all leases are over.
    generation = stored.generation + (not host.has_clock_of(stored.host))
    return replace(stored, format=FORMAT, generation=generation, **host._asdict())


def _check_format(path: Path, stored: Properties) -> None:
    # They run a version that knows no newer format, and would set aside what they cannot read.
    if stored.format != FORMAT:
        raise StorageVersion(
            f"{path} has format {stored.format} and is open in a process with an earlier version of jobq, "
            f"which could not read what this one writes, format {FORMAT}: end that first"
        )


def _check_agreement(path: Path, stored: Properties, wanted: Properties) -> None:
    for name in Settings._fields:
        ours, theirs = getattr(wanted, name), getattr(stored, name)
        if ours != theirs:
            raise ConfigError(
                f"{path} is open in another process with {name}={theirs}, and cannot have {name}={ours} as well: "
                f"leave {name} out to take the directory's, or close it everywhere to change it"
            )


def _check_host(path: Path, theirs: Host, ours: Host) -> None:
    if ours.boot_id != theirs.boot_id:
        raise ConfigError(
            f"{path} is open in a process of another boot ({theirs.boot_id or 'unknown'}; of this one it is "
            f"{ours.boot_id or 'unknown'}): only processes of one host may share it, and all need /proc to tell"
        )
    for name, mine, other, why in (
        ("PID", ours.pid_namespace, theirs.pid_namespace, "and LMDB tells processes by their ids"),
        ("time", ours.time_namespace, theirs.time_namespace, "and leases end by a clock that differs there"),
    ):
        if mine != other:
            raise ConfigError(
                f"{path} is open in a process of another {name} namespace ({other or 'unknown'}; that of this one is "
                f"{mine or 'unknown'}), {why}: let the containers share one namespace, give each a directory of "
                "its own, or close it there first"
            )


def _read(path: Path) -> Properties | None:
    file = path / "jobq.json"
    try:
        if check_file(file) is None:
            return None
        text = file.read_bytes()
    except OSError as problem:
        raise StorageError(f"{file} cannot be read: {problem.strerror}") from problem
    try:
        stored = json.loads(text)
        version = stored["format"]
    except (ValueError, KeyError, TypeError) as problem:
        raise StorageCorrupt(f"{file} does not say what the directory is: {problem!r}") from problem
    if version not in READABLE:
        raise StorageVersion(
            f"{path} has format {version}, and this version of jobq reads {' and '.join(map(str, READABLE))}: "
            "use the version that wrote it, or another directory"
        )
    try:
        properties = Properties(**stored)
        check_settings(Settings(properties.sync, properties.max_size, properties.topics))
        kinds = [type(value).__name__ for value in astuple(properties)]
        if kinds != [field.type for field in fields(properties)]:
            raise TypeError(f"its values are {', '.join(kinds)}")
    except (TypeError, ConfigError) as problem:
        raise StorageCorrupt(f"{file} does not say what the directory is: {problem}") from problem
    return properties


def fsync_folder(path: Path) -> None:
    """See that the names in a directory survive a power loss. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
