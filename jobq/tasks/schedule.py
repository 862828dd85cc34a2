"""Schedule: when a task is enqueued, as the code says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from jobq import inputs
from jobq.model.requests import NewJob
from jobq.model.times import Seconds, duration, moment
from jobq.tasks.state import Settings
from jobq.tasks.task import Task
from jobq.tasks.ticks import Missed, Spec, zone


@dataclass(frozen=True, slots=True)
class Schedule:
    """A task, when it is enqueued, and with which arguments. overlap, tick_as: see Tasks.every."""

    name: str
    task: Task[..., Any]
    settings: Settings
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    overlap: bool = True
    tick_as: str | None = None

    def job_of(self, tick: int) -> NewJob:
        """The job for a tick, in nanoseconds. Raises what Task.new_job raises."""
        kwargs = dict(self.kwargs)
        if self.tick_as is not None:
            kwargs[self.tick_as] = moment(tick).astimezone(zone(self.settings.timezone)).isoformat()
        if self.overlap:
            return self.task.new_job(*self.args, **kwargs)
        return self.task.options(unique_key=self.name, on_duplicate="keep").new_job(*self.args, **kwargs)


def schedule_of(
    task: Task[..., Any],
    spec: Spec,
    *,
    timezone: str,
    name: str | None,
    missed: Missed,
    grace: Seconds,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    overlap: bool,
    tick_as: str | None,
) -> Schedule:
    """A schedule, checked, of a spec that is checked already. Raises TypeError and ValueError."""
    if missed not in get_args(Missed):
        raise ValueError(f"missed must be one of {', '.join(map(repr, get_args(Missed)))}, not {missed!r}")
    _check_arguments(args, kwargs, tick_as)
    if name == "":
        raise ValueError("the name of a schedule must not be empty: it is 1 to 255 bytes in UTF-8, or left out")
    settings = Settings(task.name, spec, timezone, missed, duration(grace, "grace"))
    schedule = Schedule(
        inputs.text(task.name if name is None else name, "name", most=inputs.NAME_BYTES),
        task,
        settings,
        tuple(args),
        dict(kwargs or {}),
        inputs.flag(overlap, "overlap"),
        tick_as,
    )
    schedule.job_of(0)  # refused now, and not at the first tick
    return schedule


def _check_arguments(args: Sequence[Any], kwargs: Mapping[str, Any] | None, tick_as: str | None) -> None:
    if isinstance(args, str | bytes) or not isinstance(args, Iterable):
        raise TypeError(f"args must be a sequence of arguments, such as ({args!r},)")
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(name, str) for name in kwargs)):
        raise TypeError(f"kwargs must be a dict of arguments by their names, not {kwargs!r}")
    if tick_as is None:
        return
    if not isinstance(tick_as, str):
        raise TypeError(f"tick_as must be the name of a parameter, not {tick_as!r}")
    if kwargs is not None and tick_as in kwargs:
        raise ValueError(f"{tick_as!r} is given the tick, by tick_as: leave it out of kwargs")
