"""From an outcome, as users say it, to the change of a record that it means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from jobq import inputs, lifecycle, preparing
from jobq.model.options import Limits
from jobq.model.records import Now, Record
from jobq.model.requests import Request
from jobq.model.times import duration, instant
from jobq.outcomes import Cancel, Done, Outcome, Reject, Release, Retry


class Meaning(NamedTuple):
    """What an outcome does: see `verbs.settling.Settlement`."""

    change: Callable[[Record, Now], Record]
    is_retry: bool = False
    then: Sequence[Request] = ()


_PLAIN_DONE = Meaning(lifecycle.done)


def meaning(outcome: Outcome, defaults: preparing.Defaults, limits: Limits) -> Meaning:
    """Check an outcome's arguments and say what it does.

    Raises TypeError and ValueError for arguments that are not allowed, and for an Outcome that is none of the five.
    """
    if isinstance(outcome, Done):
        if outcome.result is None and type(outcome.then) is tuple and not outcome.then:  # as mostly
            return _PLAIN_DONE
        result = inputs.result(outcome.result, limits)
        change = partial(lifecycle.done, result=result) if result else lifecycle.done
        return Meaning(change, then=_then(outcome, defaults, limits))
    if isinstance(outcome, Retry):
        return Meaning(_retry(outcome), is_retry=True)
    if isinstance(outcome, Release):
        return Meaning(_release(outcome), then=_then(outcome, defaults, limits))
    if isinstance(outcome, Reject):
        reason, error = inputs.reason(outcome.reason), inputs.error(outcome.error)
        return Meaning(partial(lifecycle.reject, reason=reason, error=error))
    if isinstance(outcome, Cancel):
        return Meaning(partial(lifecycle.cancel, note=inputs.note(outcome.note)))
    raise TypeError(f"an outcome must be Done, Retry, Release, Reject or Cancel, not {type(outcome).__name__}")


def _then(outcome: Done | Release, defaults: preparing.Defaults, limits: Limits) -> Sequence[Request]:
    """The jobs to enqueue with it. Which headers they are given depends on where it was made, as in a handler."""
    if outcome._context is None or defaults.headers is None:
        return preparing.requests(outcome.then, defaults, limits)
    return outcome._context.run(preparing.requests, outcome.then, defaults, limits)


def _release(outcome: Release) -> Callable[[Record, Now], Record]:
    delay = duration(outcome.delay, "delay")
    if outcome.run_at is None:
        return partial(lifecycle.release, delay=delay)
    if delay:
        raise ValueError("give either delay or run_at, not both")
    return partial(lifecycle.release, run_at=instant(outcome.run_at, "run_at"))


def _retry(outcome: Retry) -> Callable[[Record, Now], Record]:
    delay, run_at = inputs.when(outcome.delay, outcome.run_at)
    error = inputs.error(outcome.error)
    if outcome.delay is not None:
        return lambda job, now: lifecycle.retry(job, now, now.wall + delay, error)
    return partial(lifecycle.retry, run_at=None if outcome.run_at is None else run_at, error=error)
