"""The plot: bars of jobs a second, one job a call, in a panel for each durability, as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby

from benchmarks.cases import CASES
from benchmarks.report import by_durability
from benchmarks.results import Results

WIDTH, LEFT, BAR, STEP, PANEL = 760, 236, 16, 22, 44
LONGEST = WIDTH - LEFT - 90
COLOURS = {"jobq": "#1f6feb", "lmdb": "#c9d1d9", "others": "#8b949e"}


def plot(results: Results) -> str:
    """The same text for the same results. It has a background of its own, so that it can be read on any."""
    parts = list(_panels(results))
    height = 16 + sum(height for height, _ in parts)
    body: list[str] = []
    top = 8
    for used, draw in parts:
        body.append(f'<g transform="translate(0 {top})">\n{draw}\n</g>')
        top += used
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">\n'
        "<title>Jobs a second, one job a call</title>\n"
        '<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _panels(results: Results) -> Iterator[tuple[int, str]]:
    """The height and the drawing of each panel; each has a scale of its own."""
    for survives, peers in groupby(by_durability(CASES["one"].peers), key=lambda peer: peer.survives):
        bars = [
            (peer.name, peer.package, median)
            for peer in peers
            if (median := results.median("one", peer.name, "jobs")) is not None
        ]
        if bars:
            bars.sort(key=lambda bar: -bar[2])
            lines = [f'<text x="12" y="20" font-weight="bold" fill="#1f2328">survives: {escape(str(survives))}</text>']
            for number, (name, package, median) in enumerate(bars):
                lines.append(_bar(32 + number * STEP, name, package, median, bars[0][2]))
            yield PANEL + len(bars) * STEP, "\n".join(lines)


def _bar(top: int, name: str, package: str | None, median: float, greatest: float) -> str:
    length = round(LONGEST * median / greatest, 1)
    colour = COLOURS.get(package or "", COLOURS["others"])
    weight = ' font-weight="bold"' if package == "jobq" else ""
    return (
        f'<text x="{LEFT - 8}" y="{top + 12}" text-anchor="end" fill="#1f2328"{weight}>{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{top}" width="{length}" height="{BAR}" fill="{colour}"/>'
        f'<text x="{LEFT + length + 6}" y="{top + 12}" fill="#1f2328"{weight}>{median:,.0f}/s</text>'
    )
