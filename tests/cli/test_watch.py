"""`jobq watch` as a command: in a terminal whose screen is read, and where there is none."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest

from jobq import JobService
from tests.cli.commands import Shell, environment
from tests.cli.terminal import Terminal, terminal
from tests.clocks import PATIENCE

HOSTILE = "\x1b[2J\x1b]0;owned\x07日本語 👍🏽 e\u0301\u202e\r\nsecond"
AT_ONCE = ("--interval", "50ms")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A storage that two processes may have open."""
    return f"lmdb://{tmp_path}/jobs?sync=off"


@pytest.fixture
def svc(shell: Shell) -> Iterator[JobService]:
    """The queue that is watched, in this process."""
    with shell.queue() as opened:
        yield opened


Watching = Callable[..., AbstractContextManager[Terminal]]


@pytest.fixture
def watching(shell: Shell, svc: JobService) -> Watching:
    """Begin to watch in a terminal."""

    def begin(*arguments: str, **environ: str) -> AbstractContextManager[Terminal]:
        return terminal(shell.command("watch", *AT_ONCE, *arguments), shell.folder, environment(**environ))

    return begin


def row(screen: str, *first: str) -> list[str]:
    """The words of the first line that begins with these."""
    rows = [line.split() for line in screen.splitlines()]
    return next((words for words in rows if tuple(words[: len(first)]) == first), [])


# -- in a terminal


def test_the_screen_follows_what_goes_on(svc: JobService, watching: Watching) -> None:
    with watching() as watch:
        watch.wait_for("jobq watch lmdb://", "There is no topic yet", "q or Ctrl-C leaves")
        svc.enqueue("mail", name="send")
        svc.enqueue("mail", delay=3600)
        watch.wait_until(lambda screen: row(screen, "mail")[:6] == ["mail", "1", "1", "0", "0", "0"], "two jobs")
        [job] = svc.reserve("mail", lease=3600)
        watch.wait_until(lambda screen: row(screen, "1", "mail")[2:3] == ["send"], "a running job")
        watch.wait_for("59m 5")
        job.reject(error="no such address\nTraceback")
        screen = watch.wait_for("no such address", "dead 1")
        assert "Traceback" not in screen
        assert "lease left" not in screen
        svc.enqueue("reports")
        svc.pause("reports")
        watch.wait_until(lambda screen: row(screen, "reports")[-1:] == ["paused"], "a paused topic")
        svc.clear("mail")
        svc.delete([1, 2])
        watch.wait_until(lambda screen: not row(screen, "mail"), "no topic mail")


def test_rates_are_shown(svc: JobService, watching: Watching) -> None:
    with watching("--interval", "200ms") as watch:
        watch.wait_for("There is no topic yet")
        svc.enqueue("mail")

        def is_moving(screen: str) -> bool:
            for job in svc.reserve("mail"):
                svc.enqueue("mail")
                job.done()
            speeds = row(screen, "mail")[6:8]
            return len(speeds) == 2 and not {"0", "-"} & set(speeds)

        watch.wait_until(is_moving, "rates")
        watch.wait_until(lambda screen: row(screen, "mail")[6:9] == ["0", "0", "0"], "an end of it")


def test_only_the_topics_asked_for(svc: JobService, watching: Watching) -> None:
    svc.enqueue("other")
    with watching("--topic", "mail", "--topic", "reports") as watch:
        watch.wait_until(lambda screen: row(screen, "mail")[:2] == ["mail", "0"], "a topic that is not there yet")
        svc.enqueue("mail")
        screen = watch.wait_until(lambda screen: row(screen, "mail")[:2] == ["mail", "1"], "a job")
        assert "2 topics" in screen
        assert "other" not in screen


def test_colours(svc: JobService, watching: Watching) -> None:
    svc.enqueue("mail")
    svc.reserve("mail")[0].reject(error="no")
    with watching() as watch:
        watch.wait_for("no", "dead 1")
        assert watch.colours("dead  no") == {"red", "default"}
    with watching(NO_COLOR="1") as watch:
        watch.wait_for("no", "dead 1")
        assert watch.colours("dead  no") == {"default"}
        assert b"[31m" not in watch.written


def test_names_and_errors_that_would_command_the_terminal(svc: JobService, watching: Watching) -> None:
    for _ in range(3):
        svc.enqueue("mail", name=HOSTILE)
    svc.reserve("mail")[0].reject(error=HOSTILE)
    svc.reserve("mail")
    with watching() as watch:
        screen = watch.wait_for(r"\x1b[2J\x1b]0;owned\x07", "running", "failed", "q or Ctrl-C leaves")
        assert screen.splitlines()[0].startswith("jobq watch")
        assert screen.splitlines()[-1] == "q or Ctrl-C leaves"
        assert b"\x1b]0" not in watch.written


def test_any_size_of_the_terminal(svc: JobService, watching: Watching) -> None:
    for number in range(50):
        svc.enqueue(f"topic-{number:02}", name="a-long-name-of-a-handler")
    topics = [f"topic-{number:02}" for number in range(50)]
    for job in svc.reserve(topics, n=40)[:20]:
        job.reject(error="x" * 500)
    with watching("--interval", "10s") as watch:
        watch.wait_for("… and", "q or Ctrl-C leaves")
        for columns, lines in ((40, 10), (160, 70), (20, 3), (100, 30)):
            watch.resize(columns, lines)
            shown = ["jobq watch", "50 topics", *(["… and", "running", "error", "xx…"] if lines > 3 else [])]
            screen = watch.wait_until(partial(is_drawn, columns, shown), f"{columns} columns, {lines} lines")
            assert screen.splitlines()[0].startswith("jobq watch")


def is_drawn(columns: int, shown: Sequence[str], screen: str) -> bool:
    """Whether all this is there, the clock in the right corner, and the hint at the bottom if there is room for it."""
    first, *_, last = screen.splitlines()
    is_whole = len(first) == columns and (screen.count("\n") < 15 or last == "q or Ctrl-C leaves")
    return is_whole and all(word in screen for word in shown)


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        (lambda watch: watch.type("\x03"), 0),
        (lambda watch: watch.type("q"), 0),
        (lambda watch: watch.process.send_signal(signal.SIGINT), 0),
        (lambda watch: watch.process.send_signal(signal.SIGTERM), -signal.SIGTERM),
    ],
    ids=["ctrl-c", "q", "SIGINT", "SIGTERM"],
)
def test_the_terminal_is_given_back(
    svc: JobService, watching: Watching, leave: Callable[[Terminal], None], status: int
) -> None:
    svc.enqueue("mail")
    with watching("--interval", "10s") as watch:
        before = watch.modes
        watch.wait_for("mail")
        assert watch.modes != before
        leave(watch)
        assert watch.end() == status
        assert watch.written.startswith(b"\x1b[?1049h\x1b[?7l\x1b[?25l")
        assert watch.written.endswith(b"\x1b[?7h\x1b[?1049l\x1b[?25h")
        assert watch.modes == before


def test_a_key_that_means_nothing_and_a_stop_change_nothing(svc: JobService, watching: Watching) -> None:
    svc.enqueue("mail")
    with watching("--interval", "10s") as watch:
        watch.wait_for("mail")
        watch.type("x\x1b[A\x1a")
        watch.wait_until(lambda _: watch.written.count(b"\x1b[?1049h") == 2, "the screen anew")
        watch.wait_for("mail", "q or Ctrl-C leaves")
        watch.type("q")
        assert watch.end() == 0


def test_a_terminal_that_is_closed_ends_it(svc: JobService, watching: Watching) -> None:
    with watching() as watch:
        watch.wait_for("There is no topic yet")
        watch.hang_up()
        assert watch.process.wait(PATIENCE) == -signal.SIGHUP


def test_a_terminal_that_cannot_be_painted_gets_lines(svc: JobService, shell: Shell) -> None:
    svc.enqueue("mail")
    command = ["env", "TERM=dumb", *shell.command("watch", *AT_ONCE)]
    with terminal(command, shell.folder, environment()) as watch:
        watch.wait_for(" mail ready=1 ")
        watch.type("\x03")
        assert watch.end() == 0
        assert b"\x1b" not in watch.written


def test_lines_are_erased_before_they_are_written(svc: JobService, watching: Watching) -> None:
    """A terminal whose cursor stays on the last cell of a full line would erase that cell."""
    with watching() as watch:
        watch.wait_for("There is no topic yet", "q or Ctrl-C leaves")
        erased = re.findall(rb"(.{3})\x1b\[[KJ]", watch.written)
        assert len(erased) > 20
        assert set(erased) == {b";1H"}


# -- in a pipe


@contextmanager
def piped(shell: Shell, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Watch into a pipe."""
    command = shell.command("watch", *AT_ONCE, *arguments)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=shell.folder, env=environment(), stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_line_whenever_a_topic_changes(svc: JobService, shell: Shell) -> None:
    svc.enqueue("mail")
    svc.enqueue("idle")
    with piped(shell) as process:
        first = {read_line(process).split()[1] for _ in range(2)}
        assert first == {"mail", "idle"}
        svc.enqueue("mail", delay=60)
        lines = [*takewhile(lambda line: " mail ready=1 delayed=1 " not in line, iter(lambda: read_line(process), ""))]
        assert all(line.split()[2:4] == ["ready=1", "delayed=0"] for line in lines)
        svc.cancel([1, 3])
        svc.delete([1, 3])
        for line in iter(lambda: read_line(process), ""):
            if line.endswith(" mail gone\n"):
                break
        else:
            pytest.fail("the topic stayed")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, "")


def test_objects_for_programs(svc: JobService, shell: Shell) -> None:
    svc.enqueue("mail")
    svc.enqueue("other")
    with piped(shell, "--json", "--topic", "mail") as process:
        first, second = (json.loads(read_line(process)) for _ in range(2))
        assert (first["topic"], first["now"]["ready"], first["enqueued_per_second"]) == ("mail", 1, None)
        assert (second["topic"], second["enqueued_per_second"], second["at"] > first["at"]) == ("mail", 0, True)
        process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM


def test_it_ends_when_nobody_reads(svc: JobService, shell: Shell) -> None:
    svc.enqueue("mail")
    with piped(shell) as process:
        assert "mail" in read_line(process)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == ""


# -- refused


def test_a_queue_that_is_not_there(shell: Shell) -> None:
    assert "there is no queue" in shell.refused(75, "watch")


def test_what_cannot_be_understood(shell: Shell) -> None:
    for interval in ("0", "9ms", "25h"):
        said = shell.refused(2, "watch", "--interval", interval)
        assert "--interval is 10ms at the least, and 1d at the most." in said
    assert "is not allowed" in shell.refused(2, "watch", "--topic", "a b")


def test_it_stands_in_the_help(shell: Shell) -> None:
    assert "Watch topics, rates, running jobs and failures, live" in shell.done("--help").out
