"""`jobq watch`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from jobq.cli.parameters import DURATION, TOPIC, json_option
from jobq.cli.target import Target, target_options

INTERVALS = (0.01, 86_400)
"""Seconds between two looks: the least and the most."""


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
    if not INTERVALS[0] <= interval <= INTERVALS[1]:
        raise click.UsageError("--interval is 10ms at the least, and 1d at the most.")
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
