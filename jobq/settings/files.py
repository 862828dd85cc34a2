"""Settings in `jobq.toml`, or in `[tool.jobq]` of `pyproject.toml`.

The keys of one queue stand at the top; `[queues.NAME]` has those of another one, which stands by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobq.errors import ConfigError
from jobq.settings.keys import OPTIONS, QUEUE, SECTIONS, STORAGE, check_key, read_table, read_value
from jobq.settings.records import Layer

FILE = "jobq.toml"
PROJECT = "pyproject.toml"


def find_file(folder: Path) -> Path | None:
    """The settings' file of a folder, or of the nearest one above that has one; None if there is none.

    A pyproject.toml counts if it has `[tool.jobq]`. Raises ConfigError if it cannot be read.
    """
    for place in (folder, *folder.parents):
        if (place / FILE).is_file():
            return place / FILE
        if (place / PROJECT).is_file() and _has_table(place / PROJECT):
            return place / PROJECT
    return None


def read_file(path: Path, queue: str | None) -> Layer:
    """The settings of a queue in a file; queue: which one, None for that at the top.

    Raises ConfigError if the file is unreadable, holds an unknown key, or has no such queue.
    """
    table = dict(_table_of_project(path) if path.name == PROJECT else _load(path))
    queues = _read_queues(table.pop("queues", {}), str(path))
    top = _read_queue(table, str(path), more=("queues",))
    if queue is None:
        return top
    if queue not in queues:
        there = f"it has {', '.join(sorted(queues))}" if queues else f"write [queues.{queue}]"
        raise ConfigError(f"{path} has no queue {queue!r}: {there}")
    return queues[queue]


def _read_queues(tables: object, where: str) -> dict[str, Layer]:
    if not isinstance(tables, Mapping):
        raise ConfigError(f"{where}: queues must be a table of tables, as [queues.reports]")
    return {name: _read_queue(table, f"{where}: queues.{name}") for name, table in tables.items()}


def _read_queue(table: object, where: str, more: tuple[str, ...] = ()) -> Layer:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} must be a table")
    for key in table:
        check_key(key, (*QUEUE, *more), where)
    storage = {
        key: read_value(table[key], reader, f"{where}: {key}") for key, reader in STORAGE.items() if key in table
    }
    sections = {key: read_table(table.get(key, {}), readers, f"{where}: {key}") for key, readers in SECTIONS.items()}
    topics = table.get("topics", {})
    if not isinstance(topics, Mapping):
        raise ConfigError(f"{where}: topics must be a table of tables, as [topics.mail]")
    return Layer(
        storage=storage,
        topics={name: read_table(value, OPTIONS, f"{where}: topics.{name}") for name, value in topics.items()},
        **sections,
    )


def _has_table(path: Path) -> bool:
    if b"jobq" not in _read(path):
        return False
    tool = _load(path).get("tool")
    return isinstance(tool, Mapping) and isinstance(tool.get("jobq"), Mapping)


def _table_of_project(path: Path) -> Mapping[str, Any]:
    """What is below `[tool.jobq]`. Raises ConfigError if there is none."""
    tool = _load(path).get("tool", {})
    if not isinstance(tool, Mapping):
        raise ConfigError(f"{path}: tool must be a table")
    if "jobq" not in tool:
        raise ConfigError(f"{path} has no table [tool.jobq]: write one, or name a jobq.toml")
    if not isinstance(tool["jobq"], Mapping):
        raise ConfigError(f"{path}: tool.jobq must be a table, as [tool.jobq]")
    return tool["jobq"]


def _load(path: Path) -> dict[str, Any]:
    import tomllib  # here, as it takes longer to import than most commands need

    try:
        return tomllib.loads(_read(path).decode("utf-8-sig"))  # some editors begin a file with a mark
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path} is no TOML: {problem}") from problem


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"{path} cannot be read: {problem.strerror}") from problem
