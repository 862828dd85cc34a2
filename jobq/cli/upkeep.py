"""`jobq verify` and `backup`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from jobq.cli.parameters import json_option
from jobq.cli.printing import console, count, print_json, visible
from jobq.cli.statuses import FAILED
from jobq.cli.target import Target, target_options


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


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """Say on a terminal what takes long, as long as it does."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(visible(doing)):
        yield
