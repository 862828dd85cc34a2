"""A job to be: as a user writes it (NewJob), and as it is after validation (Request)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Literal, NamedTuple, Unpack

from jobq.model.options import JobOptions, OptionOverrides
from jobq.model.records import Policy
from jobq.model.times import Seconds


class Unset(Enum):
    """The type of UNSET, which tells `json=None` (JSON null) from no `json` at all."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET

PayloadLike = bytes | bytearray | memoryview | str
OnDuplicate = Literal["raise", "keep", "replace"]


class NewJob:
    """A job for `enqueue_many`, `exchange` and `job.done(then=…)`; the arguments are those of `JobService.enqueue`.

    Nothing is checked before the job is enqueued.
    """

    __slots__ = (
        "_is_complete",
        "delay",
        "headers",
        "json",
        "name",
        "on_duplicate",
        "options",
        "overrides",
        "payload",
        "priority",
        "run_at",
        "topic",
        "unique_key",
    )

    def __init__(
        self,
        topic: str,
        priority: int = 0,
        payload: PayloadLike = b"",
        *,
        json: Any = UNSET,
        name: str = "",
        delay: Seconds | None = None,
        run_at: datetime | None = None,
        unique_key: str | None = None,
        on_duplicate: OnDuplicate = "raise",
        headers: Mapping[str, str] | None = None,
        options: JobOptions | None = None,
        **overrides: Unpack[OptionOverrides],
    ) -> None:
        self.topic: str = topic
        self.priority: int = priority
        self.payload: PayloadLike = payload
        self.json: Any = json
        self.name: str = name
        self.delay: Seconds | None = delay
        self.run_at: datetime | None = run_at
        self.unique_key: str | None = unique_key
        self.on_duplicate: OnDuplicate = on_duplicate
        self.headers: Mapping[str, str] | None = headers
        self.options: JobOptions | None = options
        self.overrides: OptionOverrides = overrides
        self._is_complete: bool = False  # whether its headers were asked for already, in a child process

    def __repr__(self) -> str:
        return f"NewJob(topic={self.topic!r}, priority={self.priority!r}, name={self.name!r})"


MoreHeaders = Callable[[NewJob], Mapping[str, str] | None]
"""Gives a job that is about to be enqueued headers beside its own; None for none."""


class Request(NamedTuple):
    """A checked NewJob. delay and run_at in nanoseconds (0 for none); `unique_key` and `name` "" for none.

    headers: a JSON object of texts; b"" for none.
    """

    topic: str
    priority: int
    payload: bytes
    name: str
    delay: int
    run_at: int
    unique_key: str
    on_duplicate: OnDuplicate
    policy: Policy
    headers: bytes = b""
