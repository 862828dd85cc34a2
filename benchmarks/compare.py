"""Measure jobq beside other queues, in rounds, and say which floors hold.

Each measurement has a process and a folder of its own, and each round makes all of them once, so that what slows the
machine down for a while slows all alike. Results go to results.json, results.md and results.svg, and a whole run puts
the table of the README between its marks.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks import machine
from benchmarks.cases import CASES
from benchmarks.floors import Verdict, judge
from benchmarks.measurement import ROOT, CannotMeasure, Measurement, measure
from benchmarks.peers import PEERS
from benchmarks.plan import ONCE, plan
from benchmarks.plot import plot
from benchmarks.report import put_into, report
from benchmarks.results import Results, Row, load, save

BENCHMARKS = ROOT / "benchmarks"


def main() -> None:
    """Measure, print, and write."""
    arguments = parse()
    results = load(arguments.render / "results.json") if arguments.render else run(arguments)
    for verdict in judge(results):
        if arguments.all or verdict.holds is not None:
            print(line_of(verdict))
    out: Path | None = arguments.out or arguments.render
    if out:
        write(results, out)


def run(arguments: argparse.Namespace) -> Results:
    """All that was asked for."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rows = [Row(measurement, [], "") for measurement in plan(quick=arguments.quick, only=arguments.only)]
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", flush=True)
        for row in rows:
            if not row.problem and (number == 0 or row.measurement.case not in ONCE):
                add_round(row, arguments.folder)
    return Results(machine.facts(arguments.folder, arguments.rounds), machine.versions(), rows)


def add_round(row: Row, folder: Path) -> None:
    """Measure a row once more."""
    began = time.monotonic()
    try:
        row.rounds.append(measure(row.measurement, folder))
        said = ", ".join(f"{name} {value:,.6g}" for name, value in row.rounds[-1].items())
    except CannotMeasure as problem:
        row.problem = said = str(problem)
    print(f"{label(row.measurement)}  {said}  ({time.monotonic() - began:.0f} s)", flush=True)


def label(measurement: Measurement) -> str:
    """What is measured, in columns."""
    return f"{measurement.case:<14} {measurement.peer:<28} {measurement.payload:>6}"


def line_of(verdict: Verdict) -> str:
    """What came out of a floor."""
    word = {True: "holds ", False: "MISSED", None: "-     "}[verdict.holds]
    return f"{word}  {verdict.says}: {verdict.measured} (floor: {verdict.wanted})"


def write(results: Results, folder: Path) -> None:
    """The results and what is made of them; in the README, too, if they are the project's own."""
    folder.mkdir(parents=True, exist_ok=True)
    save(results, folder / "results.json")
    (folder / "results.md").write_text(report(results))
    (folder / "results.svg").write_text(plot(results))
    if folder.resolve() == BENCHMARKS:
        readme = ROOT / "README.md"
        readme.write_text(put_into(readme.read_text(), results))


def parse() -> argparse.Namespace:
    """The arguments, with what is left out filled in."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few jobs, one round: whether it works, in some minutes")
    parser.add_argument("--rounds", type=int, help="how often each is measured: 5, or 1 with --quick")
    parser.add_argument("--only", action="append", default=[], help="cases or queues of this name; may be repeated")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench", help="where the queues are; on the disk meant")
    parser.add_argument("--out", type=Path, help="where results go: benchmarks, or nowhere with --quick or --only")
    parser.add_argument("--render", type=Path, metavar="FOLDER", help="measure nothing: write anew from results.json")
    parser.add_argument("--all", action="store_true", help="list the floors that were not measured, too")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(CASES) - set(PEERS):
        parser.error(f"there is no {unknown.pop()!r}: cases are {', '.join(CASES)}; queues are {', '.join(PEERS)}")
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    if not (arguments.out or arguments.quick or arguments.only or arguments.render):
        arguments.out = BENCHMARKS
    return arguments


if __name__ == "__main__":
    main()
