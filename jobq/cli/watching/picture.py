"""What `jobq watch` shows, as lines that fit a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rich.text import Text

from jobq.cli.describing import numbers_now, status_word, why
from jobq.cli.parameters import DEAD
from jobq.cli.printing import STYLES, Cell, short, styled, visible
from jobq.cli.watching.columns import Column, fitted, share, table
from jobq.cli.watching.failures import Failure
from jobq.cli.watching.rates import SMOOTH, Rates, rate, total
from jobq.cli.watching.sampling import Sample
from jobq.model.status import Status
from jobq.model.views import JobInfo, TopicStats

ROOMY = 16
"""Lines of a terminal from which on there is room for blank ones and a hint."""
FAINT = "bright_black"
HEADING = "bold reverse"
SHORT_LEASE = timedelta(seconds=10)
"""A lease that ends sooner stands out."""

TOPIC_COLUMNS = (
    Column("topic", least=8),
    Column("ready", is_right=True, rank=1),
    Column("delayed", is_right=True, rank=6),
    Column("reserved", is_right=True, rank=3),
    Column("done", is_right=True, rank=10),
    Column("dead", is_right=True, rank=2),
    Column("enqueued/s", is_right=True, rank=8),
    Column("done/s", is_right=True, rank=4),
    Column("failed/s", is_right=True, rank=9),
    Column("oldest", is_right=True, rank=5),
    Column("", rank=7),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is to be seen.

    url: of the queue. interval: seconds between two looks. sample: the last look that succeeded. rates: of each topic
    since the look before, {} at the first; mean: of all together for a while. failures: the newest first. unread: dead
    letters that were not looked at yet. problem: why the last look failed.
    """

    url: str
    interval: float
    sample: Sample | None = None
    rates: Mapping[str, Rates] = field(default_factory=dict)
    mean: Rates | None = None
    failures: Sequence[Failure] = ()
    unread: int = 0
    problem: str = ""


def drawn(picture: Picture, width: int, height: int, now: datetime) -> list[Text]:
    """The lines of a screen, each of exactly this width, and at most so many. now: for the clock in the corner."""
    lines = _title(picture, width, now)
    sample = picture.sample
    if sample is not None:
        lines += _totals(picture, sample, width) if height >= ROOMY else _totals(picture, sample, width)[:1]
        room = height - len(lines) - (2 if height >= ROOMY else 0)
        lines += _sections(picture, sample, width, room, is_roomy=height >= ROOMY)
    if height >= ROOMY:
        lines += [fitted(Text(), width)] * (height - 1 - len(lines))
        lines.append(fitted(Text("q or Ctrl-C leaves", FAINT), width))
    return lines[:height]


def _title(picture: Picture, width: int, now: datetime) -> list[Text]:
    every = f" every {short(picture.interval)}" if width >= 60 else ""
    right = Text.assemble((every, FAINT), f" {now.astimezone():%H:%M:%S}")
    left = Text.assemble(("jobq watch ", "bold"), visible(picture.url))
    lines = [fitted(left, max(0, width - right.cell_len)) + right]
    if picture.problem:
        problem = f"{' '.join(picture.problem.split())} (tried again every {short(picture.interval)})"
        lines.append(fitted(Text(visible(problem), "red"), width))
    return [fitted(line, width) for line in lines]


def _totals(picture: Picture, sample: Sample, width: int) -> list[Text]:
    """All topics together: jobs by status, and rates."""
    each = [numbers_now(stats) for stats in sample.topics.values()]
    words = ("ready", "delayed", "reserved", "done", DEAD)
    sums = {word: sum(now[word] for now in each) for word in words}
    jobs = Text("   ").join(
        [Text(f"{len(each):,} topic{'' if len(each) == 1 else 's'}")]
        + [Text.assemble((f"{word} ", FAINT), number(count, STYLES[word])) for word, count in sums.items()]
    )
    return [fitted(jobs, width), fitted(_speeds(picture), width)]


def _speeds(picture: Picture) -> Text:
    if not picture.rates or picture.mean is None:
        return Text("rates need a second look", FAINT)
    last = total(picture.rates.values())
    names = ("enqueued", "done", "failed")
    parts = [Text.assemble((f"{name} ", FAINT), f"{rate(getattr(last, name))}/s") for name in names]
    mean = " ".join(rate(getattr(picture.mean, name)) for name in names)
    return Text("   ").join([*parts, Text(f"mean of {SMOOTH:g}s: {mean}", FAINT)])


def number(count: int, style: str) -> Text:
    """A number in a colour; faint if it is none."""
    return Text(f"{count:,}", style if count else FAINT)


def whole(duration: timedelta) -> str:
    """A duration in whole seconds, which are calmer to look at; 0s for less."""
    return short(max(0, duration // timedelta(seconds=1)))


def _sections(picture: Picture, sample: Sample, width: int, room: int, *, is_roomy: bool) -> list[Text]:
    """The three tables, in so many lines; each with its titles, and one that has no row is left out."""
    gap = 1 if is_roomy else 0
    counts = [len(sample.topics), sample.reserved, _failures(picture, sample)]
    wants = [gap + 1 + count if count else 0 for count in counts]
    given = share(max(0, room), wants, [gap + 2 if want else 0 for want in wants])
    lines: list[Text] = []
    for draw, lots in zip((_topics, _running, _failed), given, strict=True):
        if lots - gap >= 2:
            lines += [fitted(Text(), width)] * gap
            lines += draw(picture, sample, width, lots - gap - 1)
    if not any(counts):
        lines.append(fitted(Text("There is no topic yet: the first job makes one.", FAINT), width))
    return lines


def cut(count: int, lines: int) -> tuple[int, int]:
    """How many of some rows are shown in so many lines, and how many are said to be more, in a line of its own."""
    if count <= lines:
        return count, 0
    return (lines, 0) if lines < 2 else (lines - 1, count - lines + 1)


def _section(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], count: int, width: int, lines: int, more: str = ""
) -> list[Text]:
    """A table of the first of so many rows, cut to so many lines below its titles."""
    shown, left = cut(count, lines)
    titles, *found = table(columns, rows[:shown], width)
    titles.stylize(HEADING)
    left += shown - len(found)
    said = [f"… and {left:,} more"] if left else []
    text = ", ".join([*said, more] if more else said)
    return [titles, *found, *([fitted(Text(text, FAINT), width)] if text else [])]


def _topics(picture: Picture, sample: Sample, width: int, lines: int) -> list[Text]:
    shown, _ = cut(len(sample.topics), lines)
    found = busiest(sample.topics, picture.rates, shown)
    rows = [_topic_row(stats, picture.rates.get(stats.topic)) for stats in found]
    return _section(TOPIC_COLUMNS, rows, len(sample.topics), width, lines)


def busiest(topics: Mapping[str, TopicStats], rates: Mapping[str, Rates], most: int) -> list[TopicStats]:
    """The topics in which something goes on or jobs wait, so many at the most, by name."""

    def business(stats: TopicStats) -> tuple[bool, int, int]:
        speed = rates.get(stats.topic)
        moves = bool(stats.now[Status.RESERVED]) or (speed is not None and total([speed]) != Rates(0, 0, 0))
        return moves, stats.now[Status.READY] + stats.now[Status.RESERVED], stats.now[Status.DELAYED]

    if len(topics) <= most:
        return list(topics.values())
    return sorted(sorted(topics.values(), key=business, reverse=True)[:most], key=lambda stats: stats.topic)


def _topic_row(stats: TopicStats, speed: Rates | None) -> list[Cell]:
    now = numbers_now(stats)
    numbers = [number(now[word], STYLES[word]) for word in ("ready", "delayed", "reserved", "done", DEAD)]
    speeds = [] if speed is None else [speed.enqueued, speed.done, speed.failed]
    return [
        stats.topic,
        *numbers,
        *([Text(rate(value), "" if value else FAINT) for value in speeds] or [Text("-", FAINT)] * 3),
        "-" if stats.oldest_ready_age is None else whole(timedelta(seconds=stats.oldest_ready_age)),
        styled("paused") if stats.paused else "",
    ]


def _running(picture: Picture, sample: Sample, width: int, lines: int) -> list[Text]:
    columns = (
        Column("running", is_right=True),
        Column("topic", rank=2, least=8),
        Column("name", rank=1, least=6),
        Column("for", is_right=True),
        Column("try", is_right=True, rank=4),
        Column("lease left", is_right=True, rank=3),
    )
    rows = [_running_row(job, sample.at) for job in sample.running[:lines]]
    return _section(columns, rows, sample.reserved, width, lines)


def _running_row(job: JobInfo, now: datetime) -> list[Cell]:
    began, left = job.reserved_at or now, (job.deadline or now) - now
    lease = Text(whole(left), "yellow" if left < SHORT_LEASE else "") if left > timedelta() else Text("over", "red")
    return [
        str(job.id),
        job.topic,
        job.name or "-",
        whole(now - began),
        str(job.attempt),
        lease,
    ]


def _failed(picture: Picture, sample: Sample, width: int, lines: int) -> list[Text]:
    columns = (
        Column("failed", is_right=True),
        Column("topic", rank=2, least=8),
        Column("name", rank=3, least=6),
        Column("when", is_right=True, rank=1),
        Column("try", is_right=True, rank=5),
        Column("now", rank=4),
        Column("error", least=10),
    )
    rows = [_failed_row(one, sample.at) for one in picture.failures[:lines]]
    more = f"{picture.unread:,} dead letters not read yet" if picture.unread else ""
    return _section(columns, rows, _failures(picture, sample), width, lines, more)


def _failures(picture: Picture, sample: Sample) -> int:
    """How many failures are known of: all dead letters, and jobs that were found to wait for another try."""
    dead = sum(stats.dead_letters for stats in sample.topics.values())
    return dead + sum(one.job.status is not Status.CANCELED for one in picture.failures)


def _failed_row(one: Failure, now: datetime) -> list[Cell]:
    job = one.job
    error = why(job) or (job.cancel_reason.value if job.cancel_reason else "")
    return [
        str(job.id),
        job.topic,
        job.name or "-",
        f"{whole(now - one.at)} ago",
        str(job.attempt),
        styled(_outlook(job, now)),
        error,
    ]


def _outlook(job: JobInfo, now: datetime) -> str:
    """What becomes of a job that failed."""
    if job.status is Status.DELAYED:
        return f"again in {whole(job.run_at - now)}"
    return status_word(job)
