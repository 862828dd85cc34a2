"""What is kept of a schedule, as the payload of its job; and what becomes of it as time passes: pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import NoneType
from typing import Any, NamedTuple, get_args

from jobq.model.options import JobOptions
from jobq.model.requests import NewJob, OnDuplicate
from jobq.model.times import SECOND, moment
from jobq.tasks.ticks import MOST, Missed, Spec, due, rule_of

TOPIC = "jobq.schedules"
OPTIONS = JobOptions(max_retries=None, min_backoff=1, max_backoff=60, keep_done=0, keep_canceled=0)
CORRECTION = 3 * 3600 * SECOND
"""A clock that was set back by more than these nanoseconds was wrong before, as Debian's cron has it."""


class Settings(NamedTuple):
    """What the code says of a schedule, and its job carries. grace: nanoseconds."""

    task: str
    spec: Spec
    timezone: str
    missed: Missed
    grace: int


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "task": str,
    "spec": (str, int, float),
    "timezone": str,
    "missed": str,
    "grace": int,
    "seen": int,
    "next": int,
    "last": (int, NoneType),
    "paused": bool,
}


@dataclass(frozen=True, slots=True)
class State:
    """A schedule at one moment. Times are nanoseconds since 1970.

    seen: up to when all ticks are seen to. next: the tick it waits for. last: the last one that was enqueued for.
    """

    task: str
    spec: Spec
    timezone: str
    missed: Missed
    grace: int
    seen: int
    next: int
    last: int | None = None
    paused: bool = False

    @property
    def settings(self) -> Settings:
        """What of this the code says."""
        return Settings(self.task, self.spec, self.timezone, self.missed, self.grace)

    def encoded(self) -> bytes:
        """As a payload."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()

    def job(self, name: str, on_duplicate: OnDuplicate) -> NewJob:
        """The job of a schedule of this name."""
        run_at = moment(self.next + 999)  # never before the tick
        return NewJob(
            TOPIC,
            payload=self.encoded(),
            name=name,
            unique_key=name,
            on_duplicate=on_duplicate,
            run_at=run_at,
            options=OPTIONS,
        )


class Turn(NamedTuple):
    """The ticks to enqueue for, and the schedule after that."""

    ticks: list[int]
    state: State


def decoded(payload: bytes) -> State:
    """The state in a payload. Raises ValueError if there is none."""
    try:
        found: Mapping[str, Any] = json.loads(payload)
        state = State(**{name: found[name] for name in _KINDS})
        _check(state)
    except (ValueError, TypeError, LookupError, OverflowError) as problem:
        raise ValueError(f"this job is no schedule: {type(problem).__name__}: {problem}") from None
    return state


def first(settings: Settings, now: int) -> State:
    """A schedule that begins: its ticks after now are to come."""
    return _awaiting(State(*settings, seen=now, next=now))


def changed(state: State, settings: Settings, now: int) -> State:
    """A schedule by these settings. What they have ticked since it was last seen to is due, or was missed."""
    return _awaiting(replace(state, **settings._asdict(), seen=_seen(state, now)))


def paused(state: State, now: int) -> State:
    """A schedule whose ticks pass."""
    return replace(state, paused=True)


def resumed(state: State, now: int) -> State:
    """A schedule that goes on, with the ticks after now."""
    return _awaiting(replace(state, paused=False, seen=max(_seen(state, now), now))) if state.paused else state


def turn(state: State, now: int, most: int = MOST) -> Turn:
    """See to the ticks that are due; if they are more than `most`, the next one is due already."""
    rule = rule_of(state.spec, state.timezone)
    seen = _seen(state, now)
    if state.paused:
        return Turn([], _awaiting(replace(state, seen=max(seen, now))))
    ticks, seen = due(rule, seen, now, state.missed, state.grace, most)
    return Turn(ticks, _awaiting(replace(state, seen=seen, last=ticks[-1] if ticks else state.last)))


def _awaiting(state: State) -> State:
    return replace(state, next=next(rule_of(state.spec, state.timezone).after(state.seen)))


def _seen(state: State, now: int) -> int:
    return now if state.seen > now + CORRECTION else state.seen


def _check(state: State) -> None:
    for name, kind in _KINDS.items():
        if not isinstance(value := getattr(state, name), kind):
            raise TypeError(f"{name!r} is {value!r}")
    if state.missed not in get_args(Missed):
        raise ValueError(f"'missed' is {state.missed!r}")
    for at in (state.seen, state.next, state.last or 0):
        moment(at)
