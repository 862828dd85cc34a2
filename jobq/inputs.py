"""Checking what users pass, before anything is changed.

TypeError for a wrong kind, ValueError (or one of its kin among the jobq errors) for a wrong value; a message says what
was wrong and what is allowed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from jobq.errors import ConfigError, InvalidTopic, PayloadTooLarge
from jobq.model.options import Limits
from jobq.model.requests import UNSET
from jobq.model.status import CancelReason, Status, StatusLike
from jobq.model.times import Seconds, duration, instant
from jobq.outcomes import ERROR_LENGTH, describe

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

DEFAULT_TOPIC = "default"
NAME_BYTES = 255
KEY_BYTES = 4096
NOTE_LENGTH = 2_000
LINE_LENGTH = 2_000
PRIORITIES = (-(2**15), 2**15 - 1)

_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)


def topic(value: str) -> str:
    """A topic's name; "" is the default topic."""
    if not isinstance(value, str):
        raise TypeError(f"a topic must be a str, not {type(value).__name__}")
    if not value:
        return DEFAULT_TOPIC
    if not _is_topic(value):
        raise InvalidTopic(
            f"topic {value[:140]!r} is not allowed: 1 to 128 of A-Z a-z 0-9 . _ : - , beginning with a letter or digit"
        )
    return value


@lru_cache(maxsize=1024)
def _is_topic(value: str) -> bool:
    # Programs have few topics and name them with each call: 0.1 µs instead of 0.6.
    return _TOPIC.fullmatch(value) is not None


def topics_or_none(value: str | Iterable[str]) -> tuple[str, ...]:
    """One topic or several, in order, each once; or none."""
    if isinstance(value, (str, bytes, bytearray)):  # bytes would be an iterable of int
        return (topic(value),)
    return tuple(dict.fromkeys(map(topic, several(value, "topics must be a str or an iterable of str"))))


def topics(value: str | Iterable[str]) -> tuple[str, ...]:
    """One topic or several, in order, each once."""
    names = topics_or_none(value)
    if not names:
        raise ValueError("topics must name at least one topic")
    return names


def whole(value: int, what: str, *, least: int, most: int) -> int:
    """An int within bounds; a bool is none."""
    if type(value) is int and least <= value <= most:
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an int from {least} to {most}, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{what} must be from {least} to {most}, not {value}")
    return value


def priority(value: int) -> int:
    """A signed 16-bit int, the lower the sooner."""
    if type(value) is int and PRIORITIES[0] <= value <= PRIORITIES[1]:
        return value
    if isinstance(value, str | bytes | bytearray | dict):
        raise TypeError(
            f"priority must be an int from {PRIORITIES[0]} to {PRIORITIES[1]}, not {type(value).__name__}: "
            "for a payload, pass it as payload= (or json=)"
        )
    return whole(value, "priority", least=PRIORITIES[0], most=PRIORITIES[1])


def text(value: str, what: str, *, most: int) -> str:
    """A str of at most `most` UTF-8 bytes."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} must be text that UTF-8 can encode, and {value[:80]!r} is not") from None
    if size > most:
        raise ValueError(f"{what} must have at most {most} bytes in UTF-8, not {size}")
    return value


def key(value: str) -> str:
    """A unique key."""
    if value == "":
        raise ValueError("unique_key must not be empty: it is 1 to 4096 bytes in UTF-8, or left out")
    return text(value, "unique_key", most=KEY_BYTES)


def job_id(value: int) -> int:
    """A job's id."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a job id must be an int, not {type(value).__name__}")
    return value


def job_ids(value: int | Iterable[int], limits: Limits) -> list[int]:
    """One id or several, each once."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        ids = list(dict.fromkeys(job_id(one) for one in value))
    else:
        ids = [job_id(value)]  # type: ignore[arg-type]  # refused there if it is no int
    check_batch(len(ids), limits)
    return ids


def several(value: Iterable[T], what: str) -> list[T]:
    """The items of an iterable; `what` says what they must be if it is none."""
    if type(value) is not list and not isinstance(value, Iterable):  # a list needs no question: 0.4 µs
        raise TypeError(f"{what}, not {type(value).__name__}")
    return list(value)


def check_batch(size: int, limits: Limits) -> None:
    """Refuse more jobs in one call than `Limits.batch`."""
    if size > limits.batch:
        raise ValueError(f"{size} jobs in one call are more than Limits(batch={limits.batch}): use several calls")


def function(value: F | None, what: str) -> F | None:
    """A function to call, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{what} must be a function or None, not {type(value).__name__}")
    return value


def flag(value: bool, what: str) -> bool:
    """True or False, and nothing that is merely like one of them."""
    if not isinstance(value, bool):
        raise TypeError(f"{what} must be True or False, not {type(value).__name__}")
    return value


def note(value: str | None) -> str:
    """A note, "" for none."""
    return "" if value is None else text(value, "note", most=NOTE_LENGTH)


def line(value: str) -> str:
    """A message for the log of a job, cut at LINE_LENGTH characters and made fit for UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"a message for the log must be a str, not {type(value).__name__}")
    return _fit(value, LINE_LENGTH)


def error(value: str | BaseException | None) -> str:
    """What went wrong as text: an exception with its traceback, capped and made fit for UTF-8; "" for none."""
    if value is None:
        return ""
    if isinstance(value, BaseException):
        value = describe(value)
    elif not isinstance(value, str):
        raise TypeError(f"error must be a str or an exception, not {type(value).__name__}")
    return _fit(value, ERROR_LENGTH)


def _fit(value: str, most: int) -> str:
    return value[:most].encode("utf-8", "backslashreplace").decode()


def reason(value: CancelReason) -> CancelReason:
    """Why a job is rejected."""
    allowed = [one for one in CancelReason if one is not CancelReason.REQUESTED]
    if value not in allowed:
        raise ValueError(f"reason must be one of {', '.join(map(repr, allowed))}, not {value!r}: to cancel, use cancel")
    return CancelReason(value)


def status(value: StatusLike) -> Status:
    """A status, or its name."""
    if not isinstance(value, str):
        raise TypeError(f"status must be a Status or its name, not {type(value).__name__}")
    try:
        return Status(value)
    except ValueError:
        raise ValueError(f"status must be one of {', '.join(Status)}, not {value!r}") from None


def encoded_json(value: Any, what: str) -> bytes:
    """A JSON value as UTF-8; TypeError or ValueError for what JSON cannot say."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except TypeError as problem:
        raise TypeError(f"{what} must be a JSON value (dict, list, str, number, bool, None): {problem}") from None
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{what} must be a JSON value (dict, list, str, number, bool, None): {problem}") from None


def result(value: Any, limits: Limits) -> bytes:
    """A result as JSON, b"" for None."""
    if value is None:
        return b""
    return _checked_size(encoded_json(value, "result"), "result", limits)


def payload(value: Any, json_value: Any, limits: Limits) -> bytes:
    """The payload's bytes, from bytes-like, str or a JSON value."""
    if type(value) is bytes and json_value is UNSET and len(value) <= limits.payload:
        return value
    if json_value is not UNSET:
        if not (isinstance(value, bytes) and not value):
            raise ValueError("give either payload or json, not both")
        value = encoded_json(json_value, "json")
    elif isinstance(value, str):
        try:
            value = value.encode()
        except UnicodeEncodeError:
            raise ValueError("payload must be text that UTF-8 can encode, or bytes") from None
    elif not isinstance(value, bytes):
        value = _bytes_of(value)
    return _checked_size(value, "payload", limits)


def _bytes_of(value: Any) -> bytes:
    try:
        return memoryview(value).tobytes()
    except TypeError:
        raise TypeError(
            f"payload must be bytes-like or str, not {type(value).__name__}: for a JSON value, pass it as json="
        ) from None


def _checked_size(data: bytes, what: str, limits: Limits) -> bytes:
    if len(data) > limits.payload:
        raise PayloadTooLarge(
            f"a {what} of {len(data)} bytes is over the limit of {limits.payload}: store it elsewhere and enqueue its "
            "address, or raise Limits(payload=…)"
        )
    return data


def when(delay: Seconds | None, run_at: datetime | None) -> tuple[int, int]:
    """delay and run_at in nanoseconds, 0 for none; both together are refused."""
    if delay is None:
        return (0, 0 if run_at is None else instant(run_at, "run_at"))
    if run_at is not None:
        raise ValueError("give either delay or run_at, not both")
    return (duration(delay, "delay"), 0)


def on_duplicate(value: str) -> str:
    """How to treat a held unique key."""
    if value == "raise":
        return value
    if not isinstance(value, str):
        raise TypeError(f"on_duplicate must be a str, not {type(value).__name__}")
    if value not in ("raise", "keep", "replace"):
        raise ValueError(f"on_duplicate must be 'raise', 'keep' or 'replace', not {value!r}")
    return value


def timeout(value: Seconds | None) -> int | None:
    """How long to wait, in nanoseconds; None for ever."""
    return None if value is None else duration(value, "timeout")


def lease(value: Seconds | None, what: str = "lease") -> int | None:
    """A lease in nanoseconds; None for the job's own."""
    return None if value is None else duration(value, what, above_zero=True)


def limits(value: Limits | None) -> Limits:
    """The limits of a service."""
    if value is not None and not isinstance(value, Limits):
        raise TypeError(f"limits must be Limits(…), not {type(value).__name__}")
    return value or Limits()


def url(value: str) -> str:
    """A URL, as text."""
    if not isinstance(value, str):
        raise TypeError(f"a URL must be a str, not {type(value).__name__}")
    if not value:
        raise ConfigError("a URL must not be empty: try memory:// or lmdb:DIRECTORY")
    return value
