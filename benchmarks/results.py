"""What was measured: kept as JSON, asked for medians and spreads."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measurement import Measurement


@dataclass
class Row:
    """A measurement, its figures of each round, and why there are none if it failed."""

    measurement: Measurement
    rounds: list[dict[str, float]]
    problem: str

    def values(self, figure: str) -> list[float]:
        """A figure of each round, as far as it was measured."""
        return [figures[figure] for figures in self.rounds if figure in figures]


@dataclass
class Results:
    """One run of the benchmark.

    facts: about the machine and the run, in the order to be shown. versions: by package.
    """

    facts: dict[str, str]
    versions: dict[str, str]
    rows: list[Row]

    def row(self, case: str, peer: str, payload: int = 100) -> Row | None:
        """What was measured of a case for a peer."""
        for row in self.rows:
            if (row.measurement.case, row.measurement.peer, row.measurement.payload) == (case, peer, payload):
                return row
        return None

    def values(self, case: str, peer: str, figure: str, payload: int = 100) -> list[float]:
        """A figure of each round; none if it was not measured."""
        row = self.row(case, peer, payload)
        return [] if row is None else row.values(figure)

    def median(self, case: str, peer: str, figure: str, payload: int = 100) -> float | None:
        """The median of the rounds; None if it was not measured."""
        values = self.values(case, peer, figure, payload)
        return statistics.median(values) if values else None


def ratio(over: Iterable[float], under: Iterable[float]) -> float | None:
    """The median of the ratios in each round, as what was measured at the same time is compared best; None without."""
    ratios = [one / other for one, other in zip(over, under, strict=False) if other]
    return statistics.median(ratios) if ratios else None


def save(results: Results, path: Path) -> None:
    """Write it as JSON."""
    path.write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> Results:
    """Read it from JSON."""
    stored: dict[str, Any] = json.loads(path.read_text())
    rows = [Row(Measurement(**row["measurement"]), row["rounds"], row["problem"]) for row in stored["rows"]]
    return Results(stored["facts"], stored["versions"], rows)
