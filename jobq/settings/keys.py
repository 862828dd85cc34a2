"""The keys of settings, and what a value of each may be; in files typed, in environment variables as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any

from jobq.errors import ConfigError
from jobq.settings.durations import FOREVER, FORMS, parse_duration

Reader = Callable[[object], Any]
"""Checks and turns a value; raises ValueError that says what is allowed."""


def text(value: object) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be text that is not empty")
    return value


def duration(value: object) -> float:
    """Seconds as a number, or text with a unit."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a duration: {FORMS}")  # noqa: TRY004  # the kind of a setting is its value, too
    return value


def whole(value: object) -> int:
    """A whole number."""
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value, re.ASCII):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")  # noqa: TRY004
    return value


def number(value: object) -> float:
    """A number, whole or not."""
    if isinstance(value, str) and re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", value, re.ASCII):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")  # noqa: TRY004
    return value


def flag(value: object) -> bool:
    """True or false."""
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0", "yes", "no"):
        return value.lower() in ("true", "1", "yes")
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004
    return value


def names(value: object) -> tuple[str, ...]:
    """A list of names; as text, with commas between."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) and part for part in parts):
        raise ValueError("must be a list of names")
    return tuple(parts)


def or_forever(reader: Reader) -> Reader:
    """The same, or `forever`, for None."""
    return lambda value: None if value == FOREVER else reader(value)


def one_of(*allowed: str) -> Reader:
    """One of some words."""

    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return read


STORAGE: Mapping[str, Reader] = {"url": text, "sync": one_of("full", "normal", "off"), "max_size": whole}
OPTIONS: Mapping[str, Reader] = {
    "lease": duration,
    "max_retries": or_forever(whole),
    "min_backoff": duration,
    "max_backoff": duration,
    "jitter": number,
    "keep_done": or_forever(duration),
    "keep_canceled": or_forever(duration),
    "keep_dead": or_forever(duration),
    "log_status_change": flag,
}
LIMITS: Mapping[str, Reader] = {
    "payload": whole,
    "batch": whole,
    "batch_bytes": whole,
    "depth": or_forever(whole),
    "done": whole,
}
WORKER: Mapping[str, Reader] = {
    "app": text,
    "topics": names,
    "concurrency": whole,
    "executor": one_of("thread", "process"),
    "lease": duration,
    "grace": duration,
}
SECTIONS: Mapping[str, Mapping[str, Reader]] = {"options": OPTIONS, "limits": LIMITS, "worker": WORKER}
"""The tables of a queue, but `topics`, which holds a table of OPTIONS for each topic."""
QUEUE = (*STORAGE, *SECTIONS, "topics")


def check_key(key: str, known: Collection[str], where: str) -> None:
    """Raises ConfigError for a key that is not known, and names the nearest that is, be it in another table."""
    if key in known:
        return
    elsewhere = {
        **{name: f"{section}.{name}" for section, readers in SECTIONS.items() for name in readers},
        **{name: f"options.{name}" for name in OPTIONS},
        **{name: name for name in QUEUE},
    }
    near = get_close_matches(key, known, 1) or [elsewhere[name] for name in get_close_matches(key, elsewhere, 1)]
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ConfigError(f"{where}: unknown key {key!r}{hint}: it knows {', '.join(known)}")


def read_table(table: object, readers: Mapping[str, Reader], where: str) -> dict[str, Any]:
    """The checked values of a table. Raises ConfigError that says where what was wrong."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} must be a table")
    for key in table:
        check_key(key, readers, where)
    return {key: read_value(value, readers[key], f"{where}: {key}") for key, value in table.items()}


def read_value(value: object, reader: Reader, where: str) -> Any:
    """One checked value. Raises ConfigError."""
    try:
        return reader(value)
    except ValueError as problem:
        raise ConfigError(f"{where} = {value!r}: {problem}") from problem
