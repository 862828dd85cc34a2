"""`jobq watch`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from jobq.cli.parameters import DURATION, TOPIC, json_option
from jobq.cli.target import Target, target_options

LEAST = 0.01
"""Seconds between two looks, at the least."""


@click.command()
@click.option("--topic", "topics", type=TOPIC, multiple=True, metavar="TOPIC", help="Only this; may be given again.")
@click.option("--interval", type=DURATION, default="1s", show_default=True, help="How often to look.")
@json_option
@target_options
@click.pass_obj
def watch(target: Target, /, topics: Sequence[str], interval: float, as_json: bool) -> None:
    """Watch topics, rates, running jobs and failures, live; q or Ctrl-C leaves.

    Where the output is no terminal: a line for each topic that changed. With --json: all topics, at every look.
    """
    if interval < LEAST:
        raise click.UsageError(f"--interval is {LEAST * 1000:g}ms at the least.")
    from jobq.cli.watching.canvas import is_terminal
    from jobq.cli.watching.events import end_by
    from jobq.cli.watching.lines import tell
    from jobq.cli.watching.watcher import ENDS, Watcher, show

    with target.open() as svc:
        if as_json or not is_terminal():
            tell(svc, topics, interval, as_json=as_json)
            return
        end = show(Watcher(svc, topics, interval), interval)
    if end in ENDS:
        end_by(end)
