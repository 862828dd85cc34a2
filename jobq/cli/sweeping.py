"""`jobq prune`, `clear`, `pause` and `resume`: what is done to topics as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import click

from jobq.cli.choosing import Choice, confirm
from jobq.cli.parameters import DURATION, FINISHED, TOPIC, before, topic_option, yes_option
from jobq.cli.printing import count
from jobq.cli.statuses import Interrupted, NothingThere
from jobq.cli.target import Target, target_options
from jobq.model.status import Status
from jobq.service import JobService


@click.command()
@topic_option
@click.option("--older-than", type=DURATION, help="Delete all that finished longer ago, whatever their retention.")
@yes_option
@target_options
@click.pass_obj
def prune(target: Target, /, topic: str | None, older_than: float | None, yes: bool) -> None:
    """Delete finished jobs whose retention is over, which the queue does by itself while it is used.

    Without --older-than it does not ask, as it deletes nothing that was to be kept.
    """
    moment = before(older_than)
    with target.open() as svc:
        if moment is not None:
            number = Choice((), topic, FINISHED, moment).count(svc)
            confirm(f"Delete {count(number, 'finished job')}?", number, yes=yes)
        try:
            print(f"deleted {count(svc.prune(moment, topic=topic))}")
        except KeyboardInterrupt:
            raise Interrupted("interrupted: what is deleted stays so, and the same command goes on") from None


@click.command()
@click.argument("topic", type=TOPIC)
@yes_option
@target_options
@click.pass_obj
def clear(target: Target, /, topic: str, yes: bool) -> None:
    """Cancel all jobs that wait in a topic."""
    with target.open() as svc:
        now = svc.stats(topic).now
        number = now[Status.READY] + now[Status.DELAYED]
        if not number:
            raise NothingThere(f"no job waits in topic {topic}")
        confirm(f"Cancel {count(number)} of topic {topic}?", number, yes=yes)
        try:
            print(f"canceled {count(svc.clear(topic))}")
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted: {_waiting(svc, topic)} still, and the same command goes on") from None


@click.command()
@click.argument("topics", type=TOPIC, nargs=-1, required=True)
@target_options
@click.pass_obj
def pause(target: Target, /, topics: Sequence[str]) -> None:
    """Hand out no more jobs of topics until they are resumed; enqueueing goes on."""
    with target.open() as svc:
        for topic in topics:
            svc.pause(topic)
            print(f"paused {topic}: {_waiting(svc, topic)}")


@click.command()
@click.argument("topics", type=TOPIC, nargs=-1, required=True)
@target_options
@click.pass_obj
def resume(target: Target, /, topics: Sequence[str]) -> None:
    """Hand out the jobs of paused topics again."""
    with target.open() as svc:
        for topic in topics:
            if not svc.stats(topic).paused:
                raise NothingThere(f"topic {topic} is not paused")
            svc.resume(topic)
            print(f"resumed {topic}: {_waiting(svc, topic)}")


def _waiting(svc: JobService, topic: str) -> str:
    now = svc.stats(topic).now
    return f"{count(now[Status.READY] + now[Status.DELAYED])} waiting"
