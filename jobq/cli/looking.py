"""`jobq topics`, `stats`, `list`, `show`, `logs` and `dead`: what there is, changing nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

import click

from jobq.cli.describing import (
    JOB_COLUMNS,
    job_facts,
    job_fields,
    job_row,
    numbers_now,
    payload_fields,
    readable,
    topic_fields,
)
from jobq.cli.finding import PAGE, all_pages
from jobq.cli.parameters import DEAD, JOB_ID, STATUS, STATUSES, TOPIC, json_option, topic_option
from jobq.cli.printing import STYLES, Cell, Rows, count, local, print_facts, print_json, short, styled
from jobq.cli.statuses import NothingThere
from jobq.cli.target import Target, target_options
from jobq.model.views import JobInfo, TopicStats
from jobq.service import JobService

MOST = 100
"""Jobs that a table has unless --limit says otherwise."""

limit_option = click.option(
    "--limit", "-n", type=click.IntRange(min=0), help=f"How many at the most; 0 for all. {MOST} in a table, else all."
)


@click.command()
@json_option
@target_options
@click.pass_obj
def topics(target: Target, /, as_json: bool) -> None:
    """List the topics: how many jobs of each status they have."""
    with target.open() as svc:
        _print_topics(svc, as_json, [*(f">{word}" for word in STATUSES), ">oldest", ""], _now)


@click.command()
@click.argument("topic", type=TOPIC, required=False)
@json_option
@target_options
@click.pass_obj
def stats(target: Target, /, topic: str | None, as_json: bool) -> None:
    """Show the counters of a topic, or of all."""
    with target.open() as svc:
        if topic is None:
            _print_topics(svc, as_json, [*(f">{name}" for name in TOTALS), ">mean wait", ">mean run"], _so_far)
            return
        if topic not in svc.topics():
            raise NothingThere(f"there is no topic {topic}: `jobq topics` lists them")
        found = svc.stats(topic)
        if as_json:
            print_json(topic_fields(found))
        else:
            print_facts(_topic_facts(found))


@click.command("list")
@topic_option
@click.option("--status", "statuses", type=STATUS, multiple=True, help="Only this status; may be given again.")
@limit_option
@json_option
@target_options
@click.pass_obj
def list_(target: Target, /, topic: str | None, statuses: Sequence[str], limit: int | None, as_json: bool) -> None:
    """List jobs: by status, and within one as they will be handed out, come due, or be forgotten."""
    with target.open() as svc:
        _print_jobs(svc, tuple(dict.fromkeys(statuses)) or STATUSES, topic, limit, as_json)


@click.command()
@topic_option
@limit_option
@json_option
@target_options
@click.pass_obj
def dead(target: Target, /, topic: str | None, limit: int | None, as_json: bool) -> None:
    """List the dead letters, and what they failed of; `jobq reset` replays them."""
    with target.open() as svc:
        _print_jobs(svc, [DEAD], topic, limit, as_json)


@click.command()
@click.argument("id", type=JOB_ID)
@click.option("--payload", "only_payload", is_flag=True, help="Write the payload, byte by byte, and nothing else.")
@json_option
@target_options
@click.pass_obj
def show(target: Target, /, id: int, only_payload: bool, as_json: bool) -> None:
    """Show all that is known of a job."""
    if only_payload and as_json:
        raise click.UsageError("--payload writes it as it is, and --json has it as text: give one of them.")
    with target.open() as svc:
        job, payload = svc.get(id), svc.payload(id)
    if only_payload:
        sys.stdout.buffer.write(payload)
    elif as_json:
        print_json(job_fields(job) | payload_fields(payload))
    else:
        print_facts(job_facts(job, payload_fields(payload)))


@click.command()
@click.argument("id", type=JOB_ID)
@json_option
@target_options
@click.pass_obj
def logs(target: Target, /, id: int, as_json: bool) -> None:
    """Show the log of a job: what its handler wrote with job.log()."""
    with target.open() as svc:
        log = svc.logs(id)
    if log.dropped:
        print(f"jobq: {count(log.dropped, 'older line')} were dropped", file=sys.stderr)
    for line in log:
        if as_json:
            print_json({"at": line.at, "message": line.message})
        else:
            # Further lines are indented, or they could pass for lines that the log does not have.
            at = local(line.at)
            print(at, readable(line.message).replace("\n", "\n".ljust(len(at) + 2)))


TOTALS = ("enqueued", "reserved", "done", "retried", "expired", "canceled", "dead")


def _print_topics(
    svc: JobService, as_json: bool, columns: Sequence[str], row: Callable[[TopicStats], list[Cell]]
) -> None:
    """Print a row of a table for each topic, or all its counters as JSON."""
    found = [svc.stats(topic) for topic in svc.topics()]
    if not found:
        raise NothingThere("there is no topic: `jobq enqueue TOPIC` makes one")
    if not as_json:
        Rows("topic", *columns).add([one.topic, *row(one)] for one in found)
        return
    for one in found:
        print_json(topic_fields(one))


def _now(found: TopicStats) -> list[Cell]:
    now = numbers_now(found).items()
    numbers = [styled(f"{number:,}", STYLES[word] if number else "bright_black") for word, number in now]
    return [*numbers, short(found.oldest_ready_age), styled("paused") if found.paused else ""]


def _so_far(found: TopicStats) -> list[Cell]:
    totals = (f"{getattr(found, name):,}" for name in TOTALS)
    return [*totals, short(found.mean_wait), short(found.mean_run)]


def _topic_facts(found: TopicStats) -> Iterator[tuple[str, Cell]]:
    yield "topic", found.topic
    if found.paused:
        yield "paused", styled("yes", "magenta")
    for word, number in numbers_now(found).items():
        yield f"{word} now", f"{number:,}"
    for name in TOTALS:
        yield f"{name} so far", f"{getattr(found, name):,}"
    yield "oldest ready", short(found.oldest_ready_age)
    yield "mean wait", short(found.mean_wait)
    yield "mean run", short(found.mean_run)
    yield "first enqueued", local(found.first_enqueued_at)
    yield "last enqueued", local(found.last_enqueued_at)
    yield "first reserved", local(found.first_reserved_at)
    yield "last reserved", local(found.last_reserved_at)


def _print_jobs(svc: JobService, statuses: Sequence[str], topic: str | None, limit: int | None, as_json: bool) -> None:
    """Print jobs page by page, as many as are wanted, and say if there are more."""
    most = (None if as_json else MOST) if limit is None else limit or None
    # One more than is wanted tells whether there are more.
    jobs = chain.from_iterable(all_pages(svc, statuses, topic, None if most is None else most + 1))
    table = None if as_json else Rows(*JOB_COLUMNS)
    printed = 0
    while group := list(islice(jobs, PAGE if most is None else min(PAGE, most - printed))):
        printed += len(group)
        _print_group(group, table)
    if not printed:
        raise NothingThere(f"there is no such job{'' if topic is None else f' in topic {topic}'}")
    if next(jobs, None) is not None:
        print(f"jobq: {count(printed)} shown, and there are more: --limit 0 shows all", file=sys.stderr)


def _print_group(group: Sequence[JobInfo], table: Rows | None) -> None:
    if table is not None:
        table.add(map(job_row, group))
        return
    for job in group:
        print_json(job_fields(job))
