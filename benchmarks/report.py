"""The results as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.cases import CASES
from benchmarks.floors import judge
from benchmarks.peers import PEERS
from benchmarks.peers.peer import Peer
from benchmarks.results import Results, Row

INTRODUCTION = """# Benchmark

Written by `scripts/bench`, which measures all of this in one run, in turns, each in a process and a folder of its own.
A figure is the median of the rounds, with the least and the most behind it; a job has 100 bytes unless it says
otherwise. A ratio says more than a figure, as machines differ."""
BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
"""What the README has its table between."""


def report(results: Results) -> str:
    """The whole document."""
    parts = [
        INTRODUCTION,
        table(["", ""], results.facts.items()) + "\n\n" + table(["package", "version"], results.versions.items()),
        f"## The life of a job\n\nEnqueued, taken and acknowledged (where there is such a thing), by one thread of one"
        f" process; jobs a second.\n\n![One job a call, by what it survives](results.svg)\n\n{readme_table(results)}",
        f"Each verb alone, one job a call:\n\n{verbs(results, 'one')}",
        f"… and 100 a call:\n\n{verbs(results, 'hundred')}",
        f"With payloads of 10 KiB:\n\n{big(results)}",
        "## What the queues give\n\n" + guarantees(),
        f"## Processes\n\nThe jobs of one directory are taken and acknowledged, one a call; jobs a second in total, and"
        f" the share of the process\nthat got least, as a part of the mean.\n\n{processes(results)}",
        f"## Tasks\n\nTasks that do nothing, enqueued one a call, then run by the worker that each queue brings, with 8"
        f" threads or coroutines\nwhere it has them; tasks a second.\n\n{tasks(results)}",
        f"## Floors\n\n{floors(results)}",
        f"## Other figures\n\n{others(results)}",
    ]
    return "\n\n".join(parts) + "\n"


def readme_table(results: Results) -> str:
    """What the README shows: for each queue what it guarantees and how fast it is."""
    head = ["queue", "survives", "acknowledged", "comes back", "priority", "delay", "one a call", "100 a call"]
    rows = [
        [
            _name(peer), str(peer.survives), _yes(peer.acknowledges), _yes(peer.lease), _yes(peer.priority),
            _yes(peer.delay), _cell(results.row("one", peer.name)), _cell(results.row("hundred", peer.name)),
        ]
        for peer in by_durability(CASES["one"].peers)
    ]  # fmt: skip
    return table(head, rows)


def by_durability(names: Iterable[str]) -> list[Peer]:
    """The most durable first, else as they are listed."""
    return sorted([PEERS[name] for name in names], key=lambda peer: -peer.survives)


def verbs(results: Results, case: str) -> str:
    """Each verb of the lifecycle."""
    figures = ("enqueue", "take", "acknowledge")
    rows = [
        [_name(peer), *[_cell(results.row(case, peer.name), figure) for figure in figures]]
        for peer in by_durability(CASES[case].peers)
    ]
    return table(["queue", *figures], rows)


def big(results: Results) -> str:
    """Lifecycles with the greater payload."""
    rows = [
        [_name(peer), *[_cell(results.row(case, peer.name, 10_240)) for case in ("one", "hundred")]]
        for peer in by_durability(CASES["one"].peers)
    ]
    return table(["queue", "one a call", "100 a call"], rows)


def guarantees() -> str:
    """The peers and what a reader has to know of them."""
    return table(
        ["queue", "survives", "acknowledged", "comes back", "priority", "delay", "processes", ""],
        [
            [
                _name(peer), str(peer.survives), _yes(peer.acknowledges), _yes(peer.lease), _yes(peer.priority),
                _yes(peer.delay), _yes(peer.processes), peer.note,
            ]
            for peer in PEERS.values()
        ],
    )  # fmt: skip


def processes(results: Results) -> str:
    """One process and four."""
    rows = [
        [
            _name(PEERS[name]), _cell(results.row("process", name)), _cell(results.row("processes", name)),
            _cell(results.row("processes", name), "least", "{:.2f}"),
        ]
        for name in CASES["processes"].peers
    ]  # fmt: skip
    return table(["queue", "one process", "four", "least"], rows)


def tasks(results: Results) -> str:
    """Workers."""
    rows = [
        [_name(PEERS[name]), _cell(results.row("tasks", name), "run"), _cell(results.row("tasks", name), "enqueue")]
        for name in CASES["tasks"].peers
    ]
    return table(["worker", "run", "enqueued"], rows)


def floors(results: Results) -> str:
    """What has to hold."""
    words = {True: "holds", False: "**missed**", None: "not measured"}
    return table(
        ["case", "floor", "measured", ""],
        [[says, wanted, measured, words[holds]] for says, wanted, measured, holds in judge(results)],
    )


def others(results: Results) -> str:
    """The cases without a table of their own, in seconds, bytes or times."""
    shown = ("one", "hundred", "process", "processes", "tasks")
    rows = [
        [row.measurement.case, row.measurement.peer, figure, _cell(row, figure, "{:,.4g}")]
        for row in results.rows
        if row.measurement.case not in shown
        for figure in (row.rounds[0] if row.rounds else {"": 0})
    ]
    return table(["case", "queue", "figure", "measured"], rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def put_into(readme: str, results: Results) -> str:
    """The README with its table made anew; raises ValueError if it has no marks."""
    start, end = readme.index(BEGIN), readme.index(END)
    return f"{readme[:start]}{BEGIN}\n{readme_table(results)}\n{readme[end:]}"


def _name(peer: Peer) -> str:
    return f"**{peer.name}**" if peer.package == "jobq" else peer.name


def _yes(gives: bool) -> str:
    return "yes" if gives else "–"


def _cell(row: Row | None, figure: str = "jobs", form: str = "{:,.0f}") -> str:
    if row is None:
        return "–"
    if row.problem:
        return row.problem.replace("|", "\\|")
    values = row.values(figure)
    if not values:
        return "–"
    median = form.format(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({form.format(min(values))}–{form.format(max(values))})"
