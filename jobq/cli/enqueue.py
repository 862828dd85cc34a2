"""`jobq enqueue`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from jobq import inputs
from jobq.cli import payloads
from jobq.cli.parameters import DURATION, RETRIES, TIME, TOPIC, json_option
from jobq.cli.printing import count, print_json
from jobq.cli.statuses import Interrupted
from jobq.cli.target import Target, target_options
from jobq.errors import JobqError
from jobq.model.options import Limits
from jobq.model.requests import NewJob
from jobq.service import JobService


@click.command()
@click.argument("topic", type=TOPIC)
@click.argument("payload", required=False)
@click.option("--file", "-f", type=click.Path(path_type=Path, dir_okay=False), help="Take the payload from a file.")
@click.option("--lines", is_flag=True, help="A job for each line of the file, or of standard input.")
@click.option("--priority", "-p", type=click.IntRange(*inputs.PRIORITIES), default=0, help="The lower, the sooner.")
@click.option("--delay", type=DURATION, help="How long it waits, as 5s or 10m.")
@click.option("--at", type=TIME, help="When it becomes ready, as 2030-01-31T08:00.")
@click.option("--name", default="", help="Which handler it is for.")
@click.option("--unique", metavar="KEY", help="Refuse it if an unfinished job of the topic has this key.")
@click.option(
    "--on-duplicate",
    type=click.Choice(["raise", "keep", "replace"]),
    default="raise",
    help="Where the key is taken: refuse the job, keep the other (and print its id), or replace that.",
)
@click.option("--max-retries", type=RETRIES, help="How often it is retried; or forever.")
@click.option("--lease", type=DURATION, help="How long a consumer may hold it.")
@click.option("--header", "headers", multiple=True, metavar="NAME=TEXT", help="Travels with the job; repeatable.")
@click.option("--quiet", "-q", is_flag=True, help="Print no ids.")
@json_option
@target_options
@click.pass_obj
def enqueue(
    target: Target,
    /,
    topic: str,
    payload: str | None,
    file: Path | None,
    lines: bool,
    quiet: bool,
    as_json: bool,
    **keywords: Any,
) -> None:
    """Enqueue a job, or one for each line, and print its id.

    PAYLOAD is text, or - for standard input. Without it the payload is what is piped in, or empty.
    """
    if payload is not None and (file or (lines and payload != "-")):
        raise click.UsageError("The payload is PAYLOAD, or a --file, or --lines of one: give one of them.")
    if lines and keywords["unique"] is not None:
        raise click.UsageError("--unique is for one job: with --lines all would have the same key.")
    if quiet and as_json:
        raise click.UsageError("--quiet prints no ids, and --json prints them: give one of them.")
    settings = target.settings()
    common = _keywords(topic, **keywords)
    limits = settings.limits or Limits()
    tell = partial(_tell, quiet=quiet, as_json=as_json)
    # What is wrong with a payload is found out before a queue is made, or held up.
    if lines:
        with payloads.source(file) as source, target.open(create=True, settings=settings) as svc:
            _enqueue_lines(svc, payloads.batches(source, limits), common, tell)
        return
    given = payloads.single(payload, file, limits)
    with target.open(create=True, settings=settings) as svc:
        tell([svc.enqueue(payload=given, **common)])


def _tell(ids: Sequence[int], *, quiet: bool, as_json: bool) -> None:
    """Print ids. Raises ClickException if that fails, or who reads the message would enqueue the jobs once more."""
    try:
        for id in [] if quiet else ids:
            print_json({"id": id}) if as_json else print(id)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        which = f"job {ids[0]} is" if len(ids) == 1 else f"jobs {ids[0]} to {ids[-1]} are"
        raise click.ClickException(f"{which} enqueued, but that cannot be printed: {problem.strerror}") from problem


def _keywords(
    topic: str,
    *,
    priority: int,
    delay: float | None,
    at: datetime | None,
    name: str,
    unique: str | None,
    on_duplicate: str,
    max_retries: int | None,
    lease: float | None,
    headers: Sequence[str],
) -> dict[str, Any]:
    """The arguments of JobService.enqueue but for the payload; an option that was not given is the queue's own."""
    if delay is not None and at is not None:
        raise click.UsageError("--delay and --at exclude each other: give one of them.")
    if on_duplicate != "raise" and unique is None:
        raise click.UsageError("--on-duplicate goes with --unique KEY.")
    context = click.get_current_context()
    options: dict[str, Any] = {"max_retries": max_retries, "lease": lease}
    given = {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    return {
        "topic": topic,
        "priority": priority,
        "delay": delay,
        "run_at": at,
        "name": name,
        "unique_key": unique,
        "on_duplicate": on_duplicate,
        "headers": _headers(headers),
        **given,
    }


def _headers(texts: Sequence[str]) -> dict[str, str]:
    pairs = [_header(text) for text in texts]
    found = dict(pairs)
    if len(found) < len(pairs):
        raise click.UsageError("--header names one twice: each has one text.")
    return found


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--header takes NAME=TEXT, not {text!r}.")
    return name, value


def _enqueue_lines(
    svc: JobService, batches: Iterator[list[bytes]], common: dict[str, Any], tell: Callable[[list[int]], None]
) -> None:
    """Enqueue a job for each line, and tell the ids of each batch. What breaks in says how many are in."""
    done = 0
    try:
        with _progress() as show:
            for batch in batches:
                ids = svc.enqueue_many([NewJob(payload=line, **common) for line in batch])
                done += len(batch)
                tell(ids)
                show(done)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: {_so_far(done)}") from None
    except BrokenPipeError:
        raise click.ClickException(f"nobody reads the ids, which --quiet leaves out ({_so_far(done)})") from None
    except (JobqError, click.ClickException) as problem:
        raise click.ClickException(f"{problem} ({_so_far(done)})") from problem


def _so_far(done: int) -> str:
    return f"{count(done, 'line')} enqueued: go on with line {done + 1}" if done else "no line is enqueued"


@contextmanager
def _progress() -> Iterator[Any]:
    """Tell how many lines are enqueued, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from jobq.cli.printing import console

    with console(stderr=True).status("") as status:
        yield lambda done: status.update(f"{done:,} lines enqueued")
