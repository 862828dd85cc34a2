"""`jobq watch` where there is no terminal: a line a topic, whenever it changed."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from jobq.cli.describing import numbers_now, topic_fields
from jobq.cli.parameters import DEAD
from jobq.cli.printing import print_json, short
from jobq.cli.watching.pace import PROBLEMS, Pace
from jobq.cli.watching.rates import History, Rates, rate
from jobq.cli.watching.sampling import Sample, look
from jobq.model.views import TopicStats
from jobq.service import JobService


class Changes:
    """The topics of a queue as lines, but for those of which nothing has changed since their last line."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def lines(self, sample: Sample, rates: Mapping[str, Rates]) -> Iterator[str]:
        """The lines of a look; times are local."""
        time = f"{sample.at.astimezone():%H:%M:%S}"
        for gone in self._said.keys() - sample.topics.keys():
            del self._said[gone]
            yield f"{time} {gone} gone"
        for name, stats in sample.topics.items():
            said = _numbers(stats, rates.get(name))
            if self._said.get(name) != said:
                self._said[name] = said
                oldest = short(stats.oldest_ready_age).replace(" ", "")
                yield f"{time} {name} {said} oldest={oldest}{' paused' if stats.paused else ''}"


def _numbers(stats: TopicStats, speed: Rates | None) -> str:
    now = numbers_now(stats)
    numbers = {word: now[word] for word in ("ready", "delayed", "reserved", "done", DEAD)}
    speeds = {
        f"{name}/s": rate(None if speed is None else getattr(speed, name)) for name in ("enqueued", "done", "failed")
    }
    return " ".join(f"{name}={value}" for name, value in {**numbers, **speeds}.items())


def objects(sample: Sample, rates: Mapping[str, Rates]) -> Iterator[dict[str, Any]]:
    """The topics of a look as objects: when it was, all counters, and jobs a second, null at the first look."""
    for name, stats in sample.topics.items():
        speed = rates.get(name)
        speeds = {
            f"{one}_per_second": None if speed is None else round(getattr(speed, one), 3)
            for one in ("enqueued", "done", "failed")
        }
        yield {"at": sample.at, **topic_fields(stats), **speeds}


def wait(seconds: float) -> None:
    """Wait, but no longer than somebody reads the output. Raises BrokenPipeError if nobody does."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # what is left are errors
    if output.poll(max(0.0, seconds) * 1000):
        raise BrokenPipeError


def tell(svc: JobService, chosen: Sequence[str], interval: float, *, as_json: bool) -> None:
    """Print what changes in a queue until Ctrl-C. chosen: its topics; none for all. interval: seconds.

    Looks that fail are said on stderr, and tried again. Raises BrokenPipeError once nobody reads the output.
    """
    pace, history, changes, problem = Pace(interval), History(), Changes(), ""
    with suppress(KeyboardInterrupt):
        while True:
            pace.begin()
            try:
                sample = look(svc, chosen, 0)
            except PROBLEMS as failed:
                if problem != (problem := " ".join(str(failed).split())):
                    print(f"jobq: {problem} (tried again every {short(interval)})", file=sys.stderr)
            else:
                problem = ""
                history.add(sample)
                _print(sample, history.last(), None if as_json else changes)
            pace.end()
            wait(pace.left)


def _print(sample: Sample, rates: Mapping[str, Rates], changes: Changes | None) -> None:
    """Print a look as lines or, without `changes`, as objects."""
    if changes is None:
        for one in objects(sample, rates):
            print_json(one)
    else:
        for line in changes.lines(sample, rates):
            print(line)
    sys.stdout.flush()
