"""Schedules: looking at those of a queue, pausing and removing them."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from jobq.errors import InvalidStatus, JobNotFound
from jobq.model.status import Ordering, Status
from jobq.model.times import moment
from jobq.service import JobService
from jobq.tasks.state import TOPIC, State, decoded, paused, resumed
from jobq.tasks.ticks import Spec

if TYPE_CHECKING:
    from jobq.aio import AsyncJobService

TRIES = 40
PAUSE = 0.05
"""Seconds between tries, as a worker holds a schedule for a moment at each tick."""


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule at one moment.

    task: the name of the task. spec: cron text, or seconds. next_at: the tick it waits for. last_at: the tick that was
    enqueued last, None before the first. is_known: whether the code has it; None if no code was asked.
    """

    name: str
    task: str
    spec: Spec
    timezone: str
    next_at: datetime
    last_at: datetime | None
    paused: bool
    is_known: bool | None


class Found(NamedTuple):
    """A schedule as it is stored."""

    id: int
    payload: bytes
    state: State


class Schedules:
    """The schedules of a queue, whoever has their code.

    svc: the queue. known: the names of those that the code has; None if there is no code to ask.
    """

    def __init__(self, svc: JobService | AsyncJobService, known: Container[str] | None = None) -> None:
        sync: Any = svc if isinstance(svc, JobService) else getattr(svc, "sync", None)
        if not isinstance(sync, JobService):
            raise TypeError(f"Schedules takes a JobService or an AsyncJobService, not {type(svc).__name__}")
        self._svc: JobService = sync
        self._known = known

    def __repr__(self) -> str:
        return f"<Schedules of {self._svc!r}>"

    def list(self) -> list[ScheduleInfo]:
        """All schedules that a worker has installed and nobody removed, by name."""
        return [self._info(name, found.state) for name, found in sorted(stored(self._svc).items())]

    def pause(self, name: str) -> None:
        """Let the ticks of a schedule pass, until it is resumed.

        Raises JobNotFound if there is no such schedule; InvalidStatus if a worker that was killed holds it still.
        """
        self._change(name, paused)

    def resume(self, name: str) -> None:
        """Let a paused schedule go on with the ticks after now. Raises what `pause` raises."""
        self._change(name, resumed)

    def remove(self, name: str) -> None:
        """Forget a schedule. A worker that begins with it in its code installs it anew. Raises JobNotFound."""
        self._svc.cancel(self._id(name))

    def _info(self, name: str, state: State) -> ScheduleInfo:
        return ScheduleInfo(
            name=name,
            task=state.task,
            spec=state.spec,
            timezone=state.timezone,
            next_at=moment(state.next),
            last_at=None if state.last is None else moment(state.last),
            paused=state.paused,
            is_known=None if self._known is None else name in self._known,
        )

    def _change(self, name: str, change: Callable[[State, int], State]) -> None:
        id = self._id(name)
        for _ in range(TRIES):
            payload = self._svc.payload(id)
            after = change(decoded(payload), self._svc.clock.wall())
            if self._svc._swap(id, payload, after.job(name, "replace")):
                return
            time.sleep(PAUSE)
            id = self._id(name)
        raise InvalidStatus(
            f"a worker holds the schedule {name!r}: try again once it lets go of it, or its lease is over",
            status=Status.RESERVED,
            ids=[id],
        )

    def _id(self, name: str) -> int:
        id = self._svc.lookup(TOPIC, name)
        if id is None:
            known = ", ".join(map(repr, sorted(stored(self._svc)))) or "none"
            raise JobNotFound(f"there is no schedule {name!r} in this queue, but: {known}")
        return id


def stored(svc: JobService) -> dict[str, Found]:
    """The schedules of a queue, by name. Raises JobqError."""
    found: dict[str, Found] = {}
    orderings = (Ordering.READY, Ordering.DELAYED, Ordering.RESERVED)
    for info in svc._find(orderings, TOPIC, None, svc.limits.batch):  # in one look, so that none slips through
        if info.unique_key != info.name:  # a second one, which the next worker that sees it removes
            continue
        try:
            payload = svc.payload(info.id)
            found[info.name] = Found(info.id, payload, decoded(payload))
        except (JobNotFound, ValueError):  # it was removed just now, or is none
            continue
    return found
