"""The benchmark: its judging and rendering, and that it runs; how fast anything is, no test says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import compare, machine
from benchmarks.cases import CASES
from benchmarks.cases.processes import Share, summed
from benchmarks.floors import AtLeast, Figure, Verdict, Within, judge
from benchmarks.measurement import CannotMeasure, Measurement, figures_of
from benchmarks.one import measured
from benchmarks.peers import PEERS
from benchmarks.plan import plan
from benchmarks.plot import plot
from benchmarks.report import BEGIN, END, put_into, readme_table, report
from benchmarks.results import Results, Row, load, ratio, save
from benchmarks.smaps import resident
from benchmarks.stopwatch import Laps

ROOT = Path(__file__).parent.parent
FAST, SLOW = Figure("one", "jobq lmdb off"), Figure("one", "lmdb-queue")


def row(case: str, peer: str, *rounds: dict[str, float], problem: str = "", payload: int = 100) -> Row:
    return Row(Measurement(case, peer, 1_000, payload), list(rounds), problem)


def results(*rows: Row) -> Results:
    return Results({"date": "2026-01-01"}, {"jobq": "1.0"}, list(rows))


# -- judging


def test_a_ratio_is_the_median_of_those_of_each_round() -> None:
    assert ratio([10, 40, 30], [10, 10, 10]) == 3
    assert ratio([10, 2_000], [5, 1_000]) == 2  # a machine that was fast in one round was so for both
    assert ratio([], [1]) is None


@pytest.mark.parametrize(("times", "holds"), [(1.9, True), (2, True), (2.1, False)])
def test_a_floor_against_another_queue(times: float, holds: bool) -> None:
    found = results(row("one", "jobq lmdb off", {"jobs": 200.0}), row("one", "lmdb-queue", {"jobs": 100.0}))
    verdict = AtLeast("fast", FAST, times, SLOW).judge(found)
    assert verdict == Verdict("fast", f"≥ {times:g} ×", "2.00 ×", holds)


def test_the_best_of_several_is_what_counts() -> None:
    found = results(row("tasks", "rq", {"run": 10.0}), row("tasks", "saq", {"run": 30.0}, {"run": 50.0}))
    assert Figure("tasks", ("arq", "rq", "saq"), "run").values(found) == [30.0, 50.0]


@pytest.mark.parametrize(("seconds", "holds"), [(0.019, True), (0.021, False)])
def test_a_floor_in_a_unit(seconds: float, holds: bool) -> None:
    floor = Within("longest", Figure("due", "jobq memory", "longest"), most=20, scale=1_000, unit="ms")
    verdict = floor.judge(results(row("due", "jobq memory", {"longest": seconds})))
    assert verdict == Verdict("longest", "≤ 20 ms", f"{seconds * 1_000:.0f} ms", holds)


@pytest.mark.parametrize(("share", "holds"), [(0.2, False), (0.3, True)])
def test_a_floor_from_below(share: float, holds: bool) -> None:
    floor = Within("least", Figure("processes", "jobq lmdb off", "least"), least=0.25)
    assert floor.judge(results(row("processes", "jobq lmdb off", {"least": share}))).holds is holds


def test_what_was_not_measured_neither_holds_nor_misses() -> None:
    assert {verdict.holds for verdict in judge(results())} == {None}
    failed = results(row("one", "jobq lmdb off", {"jobs": 1.0}), row("one", "lmdb-queue", problem="not installed"))
    assert AtLeast("fast", FAST, 1, SLOW).judge(failed).measured == "not measured"


def test_every_floor_is_of_figures_that_a_run_measures() -> None:
    """With each planned figure at 1 every ratio is 1, so that every floor is judged."""
    names = (
        "jobs", "commits", "least", "run", "worst", "worker_bytes", "longest", "missing", "misplaced", "resident",
        "median", "p99", "share", "seconds", "packages",
    )  # fmt: skip
    found = results(*[Row(measurement, [dict.fromkeys(names, 1.0)], "") for measurement in plan()])
    assert [verdict.says for verdict in judge(found) if verdict.holds is None] == []


def test_processes_are_judged_by_their_sum_and_their_least() -> None:
    shares = [Share(10, 1.0, 3.0), Share(30, 0.0, 2.0)]
    assert summed(shares, 40) == {"jobs": 40 / 3, "least": 0.5}
    with pytest.raises(RuntimeError, match="40 jobs were done where 41 waited"):
        summed(shares, 41)


# -- rendering


@pytest.fixture
def some() -> Results:
    return results(
        row("one", "jobq lmdb off", {"jobs": 1_000.0, "enqueue": 3_000.0}, {"jobs": 1_200.0, "enqueue": 3_300.0}),
        row("one", "lmdb-queue", problem="ModuleNotFoundError: No module named 'equeue' | gone"),
        row("one", "queue.Queue", {"jobs": 250_000.0}),
        row("idle", "jobq lmdb off", {"share": 0.00025}),
    )


def test_the_table_of_the_readme(some: Results) -> None:
    lines = readme_table(some).splitlines()
    assert "| **jobq lmdb off** | kill -9 | yes | yes | yes | yes | 1,100 (1,000–1,200) | – |" in lines
    assert "| queue.Queue | nothing | – | – | – | – | 250,000 | – |" in lines
    assert len(lines) == 2 + len(CASES["one"].peers)
    [missing] = [line for line in lines if line.startswith("| lmdb-queue ")]
    assert "No module named 'equeue' \\| gone" in missing


def test_the_document_says_all_that_was_measured(some: Results) -> None:
    text = report(some)
    assert readme_table(some) in text
    assert "| idle | jobq lmdb off | share | 0.00025 |" in text
    assert "| an idle waiter, of a core | ≤ 0.5 % | 0.025 % | holds |" in text
    assert "| date | 2026-01-01 |" in text
    assert text.index("power loss") < text.index("kill -9")


def test_the_table_goes_between_the_marks(some: Results) -> None:
    readme = f"# jobq\n{BEGIN}\nold\n{END}\nrest\n"
    written = put_into(readme, some)
    assert written == f"# jobq\n{BEGIN}\n{readme_table(some)}\n{END}\nrest\n"
    assert put_into(written, some) == written


def test_a_readme_without_marks_is_an_error(some: Results) -> None:
    with pytest.raises(ValueError, match="substring not found"):
        put_into("# jobq\n", some)


def test_the_plot(some: Results) -> None:
    drawing = ElementTree.fromstring(plot(some))
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [
        "survives: kill -9", "jobq lmdb off", "1,100/s", "survives: nothing", "queue.Queue", "250,000/s",
    ]  # fmt: skip
    background = next(drawing.iter("{http://www.w3.org/2000/svg}rect"))
    assert background.get("fill") == "#ffffff"
    assert plot(some) == plot(some)


def test_the_project_s_documents_are_those_of_its_results() -> None:
    """`scripts/bench --render benchmarks` writes them anew."""
    kept = load(ROOT / "benchmarks" / "results.json")
    assert (ROOT / "benchmarks" / "results.md").read_text() == report(kept)
    assert (ROOT / "benchmarks" / "results.svg").read_text() == plot(kept)
    readme = (ROOT / "README.md").read_text()
    assert put_into(readme, kept) == readme


def test_results_are_kept_as_they_are(some: Results, tmp_path: Path) -> None:
    save(some, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == some


def test_results_of_a_folder_are_written_to_it(some: Results, tmp_path: Path) -> None:
    compare.write(some, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["results.json", "results.md", "results.svg"]
    assert (tmp_path / "out" / "results.md").read_text() == report(some)


# -- measuring


def test_laps_count_from_the_first_to_the_last() -> None:
    laps = Laps(2)
    laps.lap()
    with pytest.raises(RuntimeError, match="1 tasks too few"):
        laps.seconds()
    laps.lap()
    assert laps.seconds() >= 0
    assert laps.all_done.is_set()
    laps.lap()
    with pytest.raises(RuntimeError, match="1 tasks too many"):
        laps.seconds()


def test_resident_memory_leaves_a_map_out() -> None:
    smaps = """\
7f0000000000-7f0000200000 rw-s 00000000 fe:00 12 /srv/jobs/data.mdb
Size:               2048 kB
Rss:                1000 kB
7f1000000000-7f1000200000 rw-p 00000000 00:00 0
Size:               2048 kB
Rss:                  24 kB
"""
    assert resident(smaps) == 1024 * 1024
    assert resident(smaps, without="/data.mdb") == 24 * 1024
    assert resident() > 2**20


def test_the_filesystem_of_a_path() -> None:
    mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n"
    assert machine.filesystem(Path("/tmp/x"), mounts) == "tmpfs"
    assert machine.filesystem(Path("/tmpfoo"), mounts) == "ext4"


def test_a_measurement_that_fails_says_why() -> None:
    assert figures_of(0, 'noise\n{"jobs": 5.0}\n', "") == {"jobs": 5.0}
    with pytest.raises(CannotMeasure, match="No module named 'huey'"):
        figures_of(1, "", "Traceback …\nModuleNotFoundError: No module named 'huey'\n")
    with pytest.raises(CannotMeasure, match="the process ended with -9"):
        figures_of(-9, "", "")


def test_quick_runs_are_whole_but_small() -> None:
    whole, quick = plan(), plan(quick=True)
    assert [replace(each, jobs=0) for each in quick] == [replace(each, jobs=0) for each in whole]
    assert all(small.jobs <= large.jobs for small, large in zip(quick, whole, strict=True))
    assert {each.case for each in plan(only=["one"])} == {"one"}
    assert {each.peer for each in plan(only=["rq"])} == {"rq"}


LOCAL = [name for name, peer in PEERS.items() if peer.package in ("jobq", "lmdb", None)]


@pytest.mark.parametrize("peer", LOCAL)
@pytest.mark.parametrize("case", ["one", "hundred"])
def test_a_lifecycle_runs(case: str, peer: str, tmp_path: Path) -> None:
    if peer not in CASES[case].peers:
        assert PEERS[peer].open_batches is None
        return
    figures = measured(Measurement(case, peer, 200, 10), tmp_path)
    assert set(figures) == {"jobs", "enqueue", "take", "acknowledge"}
    assert all(figure > 0 for figure in figures.values())


@pytest.mark.parametrize(
    ("case", "peer", "jobs", "figures"),
    [
        ("tasks", "jobq memory", 50, {"run", "enqueue"}),
        ("threads", "jobq lmdb full", 32, {"jobs"}),
        ("worker", "jobq lmdb full", 20, {"jobs", "commits"}),
        ("flush", "bare py-lmdb full", 5, {"flushes"}),
        ("waking", "jobq memory", 10, {"median", "p99", "worst"}),
        ("delayed", "jobq memory", 5, {"median", "p99", "worst"}),
        ("import", "jobq memory", 1, {"seconds", "packages"}),
    ],
)
def test_a_case_runs(case: str, peer: str, jobs: int, figures: set[str], tmp_path: Path) -> None:
    assert set(measured(Measurement(case, peer, jobs), tmp_path)) == figures


def test_processes_share_the_jobs(tmp_path: Path) -> None:
    figures = measured(Measurement("processes", "jobq lmdb off", 400), tmp_path)
    assert figures["jobs"] > 0
    assert 0 <= figures["least"] <= 1


def test_jobs_due_at_one_moment_come_in_order(tmp_path: Path) -> None:
    for peer in ("jobq memory", "jobq lmdb off"):
        figures = measured(Measurement("due", peer, 10_000, 10), tmp_path)
        assert figures["missing"] == figures["misplaced"] == 0


def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.compare", "--quick", "--only", "queue.Queue"]
    command += ["--folder", str(tmp_path / "queues"), "--out", str(tmp_path / "out")]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert "one            queue.Queue" in run.stdout
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [each["measurement"]["payload"] for each in stored["rows"]] == [100, 10_240]
    assert list((tmp_path / "queues").iterdir()) == []
