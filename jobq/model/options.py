"""What a user may set: per job (JobOptions) and per service (Limits)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

from jobq.model.times import Seconds, seconds


class OptionOverrides(TypedDict, total=False):
    """The fields of JobOptions as keyword arguments."""

    lease: Seconds
    max_retries: int | None
    min_backoff: Seconds
    max_backoff: Seconds
    jitter: float
    keep_done: Seconds | None
    keep_canceled: Seconds | None
    keep_dead: Seconds | None
    log_status_change: bool


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job is treated; stored with the job when it is enqueued.

    lease: seconds (above 0) a reservation holds before another consumer may take the job.
    max_retries: how often the job is retried before it is a dead letter; None retries for ever.
    min_backoff, max_backoff: seconds before the first retry, doubled at each further one up to the maximum.
    jitter: 0 to 1; a backoff is multiplied by 1 plus or minus this.
    keep_done, keep_canceled, keep_dead: seconds a finished job is kept; 0 deletes it at once, None keeps it for ever.
    log_status_change: whether each change of the job's status adds a line to its log.
    Raises TypeError and ValueError for values outside these.
    """

    lease: Seconds = 300
    max_retries: int | None = 50
    min_backoff: Seconds = 30
    max_backoff: Seconds = 3600
    jitter: float = 0.0
    keep_done: Seconds | None = 3600
    keep_canceled: Seconds | None = 86_400
    keep_dead: Seconds | None = None
    log_status_change: bool = False

    def __post_init__(self) -> None:
        _set(self, "lease", seconds(self.lease, "lease", above_zero=True))
        for name in ("min_backoff", "max_backoff"):
            _set(self, name, seconds(getattr(self, name), name))
        for name in ("keep_done", "keep_canceled", "keep_dead"):
            if (kept := getattr(self, name)) is not None:
                _set(self, name, seconds(kept, name))
        if self.max_retries is not None:
            _whole(self.max_retries, "max_retries", least=0, most=2**31 - 1, none="retries for ever")
        if isinstance(self.jitter, bool) or not isinstance(self.jitter, int | float):
            raise TypeError(f"jitter must be a number from 0 to 1, not {type(self.jitter).__name__}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, not {self.jitter}")
        if not isinstance(self.log_status_change, bool):
            raise TypeError(f"log_status_change must be True or False, not {type(self.log_status_change).__name__}")
        if self.min_backoff > self.max_backoff:  # type: ignore[operator]  # both are numbers by now
            raise ValueError(
                f"min_backoff ({self.min_backoff}) must not be above max_backoff ({self.max_backoff}): change both"
            )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service accepts.

    payload: bytes of one payload or result. batch: jobs in one call. batch_bytes: payload bytes in one call.
    depth: waiting jobs (Ready and Delayed) of a topic; None for no bound. done: Done jobs kept of a topic.
    Raises TypeError and ValueError for anything but whole numbers of at least 1 (0 for `done`).
    """

    payload: int = 1024 * 1024
    batch: int = 10_000
    batch_bytes: int = 64 * 1024 * 1024
    depth: int | None = None
    done: int = 100_000

    def __post_init__(self) -> None:
        for name in ("payload", "batch", "batch_bytes"):
            _whole(getattr(self, name), name, least=1, most=2**31 - 1)
        _whole(self.done, "done", least=0, most=2**62)
        if self.depth is not None:
            _whole(self.depth, "depth", least=1, most=2**62, none="sets no bound")


FIELDS = tuple(field.name for field in fields(JobOptions))
OTHER_KEYWORDS = (
    *("payload", "json", "name", "delay", "run_at", "unique_key", "on_duplicate", "headers", "options", "priority"),
)
"""What an enqueue takes beside these fields; a misspelled one looks like an unknown option."""


def with_overrides(base: JobOptions, overrides: Mapping[str, Any]) -> JobOptions:
    """`base` with single fields changed; TypeError for a name that is no field."""
    for name in overrides:
        if name not in FIELDS:
            from difflib import get_close_matches  # here, as only a mistake needs it

            near = get_close_matches(name, (*FIELDS, *OTHER_KEYWORDS), 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise TypeError(f"unknown option {name!r}{hint}: the options are {', '.join(FIELDS)}")
    return replace(base, **overrides)


def _whole(value: object, what: str, *, least: int, most: int, none: str = "") -> None:
    or_none = f", or None, which {none}" if none else ""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an int{or_none}, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{what} must be from {least} to {most}{or_none}, not {value}")


def _set(options: JobOptions, name: str, value: object) -> None:
    object.__setattr__(options, name, value)
