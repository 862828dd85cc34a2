"""From a URL to a storage."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from jobq.errors import ConfigError

if TYPE_CHECKING:
    from jobq.repos.lmdb import LmdbStorage
    from jobq.repos.memory import MemoryStorage

SCHEMES = "memory://, memory://NAME, lmdb:relative/path, lmdb:///absolute/path"
_LMDB_PARAMETERS = ("sync", "max_size", "topics")


def open_storage(url: str, *, create: bool = True) -> MemoryStorage | LmdbStorage:
    """Open the storage that a URL names.

    url: `memory://` (private), `memory://NAME` (shared in the process), `lmdb:relative/path` or
    `lmdb:///absolute/path`, the latter two with `?sync=full|normal|off`, `max_size=BYTES` and `topics=memory` if
    wanted. A relative path that begins with `~` is one in the home: `lmdb:~/jobs`.
    create: make the directory if there is none.
    Raises ConfigError for anything else, StorageNotFound, and what the storage raises.
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL must be a str, not {type(url).__name__}")
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in ("memory", "lmdb"):
        # The rest of an unknown URL is not shown: it may hold a password.
        given = f"the scheme {scheme!r}" if colon else f"{url!r}"
        raise ConfigError(f"{given} names no storage: jobq knows {SCHEMES}")
    if "\0" in unquote(rest):
        raise ConfigError("a storage URL must not hold a zero byte")
    location, _, query = rest.partition("?")
    parameters = _parameters(scheme, query)
    return _memory(location) if scheme == "memory" else _lmdb(location, parameters, create)


def _memory(location: str) -> MemoryStorage:
    if not location.startswith("//"):
        raise ConfigError(f"a queue in memory is memory:// or memory://NAME, not memory:{location}")
    from jobq.repos.memory import MemoryStorage

    return MemoryStorage(unquote(location[2:]))


def _lmdb(location: str, parameters: dict[str, str], create: bool) -> LmdbStorage:
    path = location
    if location.startswith("//"):
        path = location[2:]
        if not path.startswith("/"):
            raise ConfigError(
                f"lmdb:{location} would name a host: write lmdb:{path} for a path relative to the current folder, "
                f"or lmdb:///{path} for one from the root"
            )
    if not path:
        raise ConfigError("an lmdb URL needs a directory: lmdb:relative/path or lmdb:///absolute/path")
    try:
        from jobq.repos.lmdb import LmdbStorage
    except ImportError as missing:
        if missing.name != "lmdb":
            raise
        raise ConfigError("the lmdb storage needs the package lmdb: pip install 'jobq[lmdb]'") from missing
    return LmdbStorage(
        unquote(path),
        sync=parameters.get("sync"),
        max_size=_size(parameters.get("max_size")),
        topics=parameters.get("topics"),
        create=create,
    )


def _parameters(scheme: str, query: str) -> dict[str, str]:
    known = _LMDB_PARAMETERS if scheme == "lmdb" else ()
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            allowed = f"it knows {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"unknown parameter {name!r} of a {scheme} URL{hint}: {allowed}")
        if name in parameters:
            raise ConfigError(f"parameter {name!r} is given twice")
        parameters[name] = value
    return parameters


def _size(value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isascii() or not value.isdigit():
        raise ConfigError(f"max_size must be a number of bytes, not {value!r}")
    return int(value)
