"""Who may get at a directory and its files: their owner alone.

Nobody else can replace an entry of a directory that is the owner's and that only the owner may write to. So what was
found here, that a file is no link and no stranger's, stays true after it was looked at.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from jobq.errors import ConfigError

FOLDER_MODE = 0o700
FILE_MODE = 0o600
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def make_folder(path: Path) -> None:
    """Make a directory for its owner alone, whatever the umask; one that exists is left as it is. Raises OSError."""
    with suppress(FileExistsError):
        path.mkdir(mode=FOLDER_MODE)
        path.chmod(FOLDER_MODE)


def open_private(path: Path, flags: int) -> int:
    """Open a file, made with mode 0600 whatever the umask if there is none, and give its descriptor.

    flags: of os.open. Raises OSError, and ConfigError as `check_file`.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        check_file(path)
        return os.open(path, flags)
    os.fchmod(fd, FILE_MODE)
    return fd


def check_folder(path: Path, found: os.stat_result) -> None:
    """Refuse, with a ConfigError, what is no directory of this user's own. found: its lstat."""
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(
            f"{path} is a symbolic link, which may point elsewhere by the next time it is opened: "
            f"use the directory itself, {os.path.realpath(path)}"
        )
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is a file: a queue needs a directory of its own")
    _check_owner(path, found)
    _check_mode(path, found, FOLDER_MODE)


def check_file(path: Path) -> os.stat_result | None:
    """Refuse, with a ConfigError, what is no plain file of this user's own; give its stat, None if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(
            f"{path} is a symbolic link: a queue's files must be in its directory, so move the file there"
        )
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path} is not a plain file: use another directory")
    _check_owner(path, found)
    _check_mode(path, found, FILE_MODE)
    return found


def _check_owner(path: Path, found: os.stat_result) -> None:
    me = os.geteuid()
    if found.st_uid != me:
        # Of root, too: the files that it makes would keep the owner out.
        raise ConfigError(
            f"{path} belongs to user {found.st_uid}, and this process runs as user {me}: "
            "run it as the owner, or use a directory of its own"
        )


def _check_mode(path: Path, found: os.stat_result, mode: int) -> None:
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise ConfigError(
            f"{path} can be written by others than its owner (mode {stat.S_IMODE(found.st_mode):o}), "
            f"who could replace what is in it: chmod {mode:o} {path}"
        )
