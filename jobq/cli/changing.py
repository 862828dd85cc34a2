"""`jobq cancel`, `reset`, `reschedule` and `delete`: jobs by their ids, or all of a kind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from jobq.cli.choosing import Choice, choice_options, confirm
from jobq.cli.parameters import DEAD, DURATION, FINISHED, TIME
from jobq.cli.printing import count
from jobq.cli.statuses import Interrupted, NothingThere
from jobq.cli.target import Target, target_options
from jobq.errors import DuplicateJob, InvalidStatus, JobNotFound, JobqError
from jobq.model.status import Status
from jobq.service import JobService

Verb = Callable[[list[int]], None]
"""A verb of the service over some ids, all or none."""

WAITING = (Status.READY.value, Status.DELAYED.value)
UNFINISHED = (*WAITING, Status.RESERVED.value)
RESETTABLE = (DEAD, Status.CANCELED.value, Status.DONE.value, Status.DELAYED.value)


@click.command()
@choice_options(UNFINISHED)
@click.option("--note", help="Why; kept with the job.")
@target_options
@click.pass_obj
def cancel(target: Target, /, yes: bool, note: str | None, **chosen: Any) -> None:
    """Cancel jobs that are not finished; who runs one loses its reservation."""
    choice = Choice.of(UNFINISHED, **chosen)
    with target.open() as svc:
        change(svc, choice, "cancel", "canceled", lambda ids: svc.cancel(ids, note), yes=yes)


@click.command()
@choice_options((DEAD,), RESETTABLE)
@target_options
@click.pass_obj
def reset(target: Target, /, yes: bool, **chosen: Any) -> None:
    """Make finished or delayed jobs ready again, with all their retries."""
    choice = Choice.of((DEAD,), **chosen)
    with target.open() as svc:
        change(svc, choice, "reset", "reset", svc.reset, yes=yes)


@click.command()
@choice_options(WAITING)
@click.option("--at", type=TIME, help="When they become ready, as 2030-01-31T08:00.")
@click.option("--delay", type=DURATION, help="How long from now they wait; 0 makes them ready.")
@target_options
@click.pass_obj
def reschedule(target: Target, /, yes: bool, at: datetime | None, delay: float | None, **chosen: Any) -> None:
    """Give waiting jobs another time."""
    if (at is None) == (delay is None):
        raise click.UsageError("Say when: --at a time, or after a --delay.")
    choice = Choice.of(WAITING, **chosen)
    moment = at or datetime.now().astimezone() + timedelta(seconds=delay or 0)
    with target.open() as svc:
        change(svc, choice, "reschedule", "rescheduled", lambda ids: svc.reschedule(ids, moment), yes=yes)


@click.command()
@choice_options(FINISHED)
@target_options
@click.pass_obj
def delete(target: Target, /, yes: bool, **chosen: Any) -> None:
    """Delete finished jobs, with their payloads and logs."""
    choice = Choice.of(FINISHED, **chosen)
    with target.open() as svc:
        change(svc, choice, "delete", "deleted", svc.delete, yes=yes)


def change(svc: JobService, choice: Choice, verb: str, did: str, call: Verb, *, yes: bool) -> None:
    """Change the jobs that are meant, after asking, and say how many it were.

    verb, did: what it is called, before and after. Ids are changed all or none; jobs of a kind page by page, those left
    out that another one changed meanwhile.
    """
    number = choice.count(svc)
    if not number:
        raise NothingThere(f"there is no such job to {verb}")
    confirm(f"{verb.capitalize()} {count(number)}?", number, yes=yes)
    if choice.ids:
        call(list(choice.ids))
        print(f"{did} {count(number)}")
        return
    changed = left = 0
    last: JobqError | None = None
    try:
        for page in choice.pages(svc):
            refused, problem = change_what_can_be(page, call)
            changed, left, last = changed + len(page) - refused, left + refused, problem or last
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: {did} {count(changed)} of {number:,}") from None
    print(f"{did} {count(changed)}")
    if last is not None:
        print(f"jobq: {count(left)} left unchanged, the last because {_reason(last)}", file=sys.stderr)


def _reason(problem: JobqError) -> str:
    """What an error says, but for how many jobs of its call it is about."""
    return str(problem) if isinstance(problem, DuplicateJob) else str(problem).partition(" (")[0]


def change_what_can_be(ids: Sequence[int], call: Verb) -> tuple[int, JobqError | None]:
    """Change those jobs of a page that can be changed.

    Returns how many cannot, and the last of the errors that named them.
    """
    left, last = list(ids), None
    while left:
        try:
            call(left)
            break
        except (JobNotFound, InvalidStatus, DuplicateJob) as problem:
            refused, last = set(problem.ids), problem
            if not refused:
                raise
            left = [id for id in left if id not in refused]
    return len(ids) - len(left), last
