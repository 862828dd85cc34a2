"""Opening LMDB in a directory, with a map of the size that the properties ask for, as far as may be."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import lmdb

from jobq.repos.lmdb import directory
from jobq.repos.lmdb.databases import NAMES
from jobq.repos.lmdb.mapping import Mapping
from jobq.repos.lmdb.properties import SMALLEST, Properties

HEADROOM = 64 * 2**20
"""Bytes of the map beyond max_size at the least, so that jobs can be settled when it is reached."""


def open_readable(path: Path, properties: Properties) -> lmdb.Environment:
    """An environment whose map is not written to: LMDB makes the file if it is new, and writes to it by itself.

    Raises lmdb.Error.
    """
    size = properties.max_size + max(properties.max_size // 4, HEADROOM)
    while True:
        try:
            return _open(path, properties, size)
        except lmdb.MemoryError:
            # The address space is bounded: take what there is, as long as the map holds what the file does.
            size //= 2
            if size < max(2 * SMALLEST, file_size(path)):
                raise


def open_writable(
    path: Path, properties: Properties, readable: lmdb.Environment, mapping: Mapping, *, alone: bool
) -> lmdb.Environment | None:
    """The environment with a map that is written to, in place of a readable one, which is closed; None if not here.

    The readable one says how much may be mapped at all. Raises lmdb.Error, OSError, ConfigError.
    """
    info = readable.info()
    least = (info["last_pgno"] + 1) * readable.stat()["psize"]

    def reopened(size: int) -> lmdb.Environment:
        readable.close()
        return _open(path, properties, size, writemap=True)

    return mapping.open(reopened, least, info["map_size"], alone=alone)


def file_size(path: Path) -> int:
    """The bytes of the file, which shrinks only as it is compacted."""
    with suppress(OSError):
        return (path / "data.mdb").stat().st_size
    return 0


def _open(path: Path, properties: Properties, size: int, *, writemap: bool = False) -> lmdb.Environment:
    return lmdb.open(
        str(path),
        map_size=size,
        mode=0o700,
        max_dbs=len(NAMES),
        max_readers=directory.READERS,
        sync=properties.sync != "off",
        metasync=properties.sync == "full",
        writemap=writemap,
        lib_version=0,
    )
