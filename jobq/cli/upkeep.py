"""`jobq info`, `verify`, `backup` and `compact`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from jobq.cli.parameters import json_option
from jobq.cli.printing import console, count, print_facts, print_json, visible
from jobq.cli.statuses import FAILED
from jobq.cli.target import Target, target_options

SIZES = ("max_size", "file_size", "used_size", "room")
"""What `info` says in bytes."""


@click.command()
@click.option("--repair", is_flag=True, help="Mend what differs: the jobs are taken to be the truth.")
@json_option
@target_options
@click.pass_obj
def verify(target: Target, /, repair: bool, as_json: bool) -> int:
    """Compare places, unique keys and counts with the jobs, while the queue runs.

    Prints each difference; the exit status is 1 if one is left.
    """
    with target.open() as svc, busy("verifying"):
        differences = svc.verify(repair)
    for difference in differences:
        print_json(asdict(difference)) if as_json else print(visible(str(difference)))
    left = sum(not difference.repaired for difference in differences)
    if not as_json:
        print(f"{count(len(differences), 'difference')}{f', {left:,} left' if repair else ''}")
    return FAILED if left else 0


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@target_options
@click.pass_obj
def backup(target: Target, /, path: Path) -> None:
    """Copy the queue as it is at one moment, while it runs; the copy opens as lmdb:PATH."""
    with target.open() as svc, busy(f"copying to {path}"):
        svc.backup(path)
    print(f"copied to {path}: open it as lmdb:{path}")


@click.command()
@target_options
@click.pass_obj
def compact(target: Target, /) -> None:
    """Give the room of deleted jobs back to the disk; no other process may have the queue open."""
    with target.open() as svc, busy("compacting"):
        done = svc.compact()
    print(f"{size(done.before)} before, {size(done.after)} now")


@click.command()
@json_option
@target_options
@click.pass_obj
def info(target: Target, /, as_json: bool) -> None:
    """Say what the queue is kept in: how many jobs, which settings, sizes, and processes that have it open."""
    settings = target.settings()
    with target.open(settings=settings) as svc:
        found = svc.info()
    if as_json:
        print_json(asdict(found))
        return
    file = str(settings.file) if settings.file else "none"
    numbers = [("job count", f"{found.job_count:,}"), ("topic count", f"{found.topic_count:,}")]
    details = [(name.replace("_", " "), _detail(name, value)) for name, value in found.details.items()]
    print_facts([("url", found.url), ("kind", found.kind), ("settings", file), *numbers, *details])


def _detail(name: str, value: object) -> str:
    if name in SIZES and isinstance(value, int):
        return size(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def size(number: int) -> str:
    """Bytes as people say them: 4.2 MiB."""
    if number < 1024:
        return f"{number} bytes"
    power = min(4, (number.bit_length() - 1) // 10)
    return f"{number / 1024**power:.1f} {' KMGT'[power]}iB"


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """Say on a terminal what takes long, as long as it does."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(visible(doing)):
        yield
