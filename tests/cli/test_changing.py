"""`jobq cancel`, `reset`, `reschedule`, `delete`, `prune`, `clear`, `pause` and `resume`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobq import JobService, NewJob, Status
from jobq.cli.changing import UNFINISHED, change
from jobq.cli.choosing import Choice
from jobq.cli.finding import PAGE
from jobq.cli.statuses import Interrupted
from jobq.repos import LmdbStorage
from tests.cli.commands import COMMAND, Shell, environment
from tests.cli.terminal import Terminal, terminal
from tests.clocks import ManualClock

MANY = 2 * PAGE + 3


def statuses(shell: Shell, topic: str = "mail") -> dict[str, int]:
    """How many jobs a topic has now, by status, those that it has none of left out; `dead` are among the canceled."""
    with shell.queue() as svc:
        return {str(status): number for status, number in svc.stats(topic).now.items() if number}


def fill(shell: Shell, number: int, **keywords: object) -> None:
    with shell.queue() as svc:
        svc.enqueue_many([NewJob("mail", **keywords) for _ in range(number)])  # type: ignore[arg-type]


def finish(svc: JobService, verb: str, number: int) -> None:
    """Have jobs done, or make dead letters of them."""
    jobs = svc.reserve("mail", n=number)
    svc.done(jobs) if verb == "done" else svc.reject(jobs, "no")


@contextmanager
def asked(shell: Shell, *arguments: str) -> Iterator[Terminal]:
    """A command in a terminal that asks."""
    with terminal(shell.command(*arguments), shell.folder, environment()) as screen:
        screen.wait_for("[y/N]")
        yield screen


@pytest.mark.parametrize(
    ("arguments", "said", "before", "after"),
    [
        (("cancel", "1", "2"), "canceled 2 jobs", "ready", {"canceled": 2, "ready": 1}),
        (("cancel", "1", "1"), "canceled 1 job", "ready", {"canceled": 1, "ready": 2}),
        (("cancel", "--topic", "mail"), "canceled 3 jobs", "reserved", {"canceled": 3}),
        (("reschedule", "1", "--delay", "1h"), "rescheduled 1 job", "ready", {"delayed": 1, "ready": 2}),
        (("reschedule", "--topic", "mail", "--at", "2100-01-01"), "rescheduled 3 jobs", "ready", {"delayed": 3}),
        (("reschedule", "--topic", "mail", "--delay", "0"), "rescheduled 3 jobs", "delayed", {"ready": 3}),
        (("reset", "--status", "done"), "reset 3 jobs", "done", {"ready": 3}),
        (("reset", "--topic", "mail"), "reset 3 jobs", "dead", {"ready": 3}),
        (("reset", "2"), "reset 1 job", "delayed", {"ready": 1, "delayed": 2}),
        (("delete", "--status", "dead"), "deleted 3 jobs", "dead", {}),
        (("delete", "--topic", "mail"), "deleted 3 jobs", "done", {}),
        (("clear", "mail"), "canceled 3 jobs", "ready", {"canceled": 3}),
        (("prune", "--older-than", "0"), "deleted 3 jobs", "done", {}),
        (("prune",), "deleted 0 jobs", "done", {"done": 3}),
    ],
)  # fmt: skip
def test_what_a_verb_does(
    shell: Shell, arguments: tuple[str, ...], said: str, before: str, after: dict[str, int]
) -> None:
    fill(shell, 3, delay=3600 if before == "delayed" else None)
    with shell.queue() as svc:
        if before in ("done", "dead"):
            finish(svc, before, 3)
        elif before == "reserved":
            svc.reserve("mail", n=3)
    yes = () if arguments == ("prune",) else ("--yes",)
    assert shell.done(*arguments, *yes).out == f"{said}\n"
    assert statuses(shell) == after


def test_why_jobs_are_canceled_is_kept(shell: Shell) -> None:
    fill(shell, 1)
    shell.done("cancel", "1", "--note", "not needed")
    assert shell.done("show", "1", "--json").objects[0]["note"] == "not needed"


def test_canceled_and_dead_are_two_kinds_here(shell: Shell) -> None:
    fill(shell, 3)
    with shell.queue() as svc:
        finish(svc, "dead", 2)
        svc.cancel(3)
    assert shell.refused(75, "delete", "--status", "done") == "jobq: there is no such job to delete"
    assert shell.done("delete", "--status", "canceled").out == "deleted 1 job\n"
    assert shell.done("reset", "--status", "dead", "--yes").out == "reset 2 jobs\n"


@pytest.mark.parametrize("verb", ["cancel", "reschedule", "delete"])
def test_more_than_a_page_is_changed_and_each_job_once(shell: Shell, verb: str) -> None:
    fill(shell, MANY)
    if verb == "delete":
        with shell.queue() as svc:
            svc.cancel(range(1, MANY + 1))
    more = ("--delay", "0") if verb == "reschedule" else ()
    did = {"cancel": "canceled", "reschedule": "rescheduled", "delete": "deleted"}[verb]
    assert shell.done(verb, "--topic", "mail", "-y", *more).out == f"{did} {MANY:,} jobs\n"


def test_jobs_that_move_on_while_they_are_rescheduled_are_counted_once(shell: Shell) -> None:
    fill(shell, 3)
    fill(shell, 2, delay=60)
    for arguments in (
        ("--delay", "1h"),
        ("--delay", "2h"),
        ("--status", "delayed", "--status", "ready", "--delay", "0"),
    ):
        assert shell.done("reschedule", "--topic", "mail", "-y", *arguments).out == "rescheduled 5 jobs\n"


def test_older_than(tmp_path: Path) -> None:
    shell = Shell(tmp_path, f"lmdb://{tmp_path}/jobs?sync=off")
    clock = ManualClock(datetime.now(UTC) - timedelta(days=2))
    with JobService(LmdbStorage(tmp_path / "jobs", sync="off", clock=clock)) as svc:
        svc.enqueue_many([NewJob("mail"), NewJob("mail")])
    fill(shell, 1)
    assert shell.refused(75, "cancel", "--older-than", "7d") == "jobq: there is no such job to cancel"
    assert shell.done("cancel", "--older-than", "1d", "-y").out == "canceled 2 jobs\n"
    assert statuses(shell) == {"canceled": 2, "ready": 1}
    assert shell.refused(75, "delete", "--older-than", "1h").endswith("no such job to delete")  # finished just now
    assert shell.done("prune", "--older-than", "1h").out == "deleted 0 jobs\n"
    assert shell.done("delete", "--older-than", "0", "-y").out == "deleted 2 jobs\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cancel",), "Say which jobs: by their ids, or by --topic, --status and --older-than."),
        (("cancel", "1", "--topic", "mail"), "Say which jobs: by their ids, or by"),
        (("cancel", "--status", "done"), "'done' is not one of 'ready', 'delayed', 'reserved'."),
        (("delete", "--status", "ready"), "'ready' is not one of 'done', 'canceled', 'dead'."),
        (("reset", "--status", "ready"), "'ready' is not one of 'dead', 'canceled', 'done', 'delayed'."),
        (("reschedule", "1"), "Say when: --at a time, or after a --delay."),
        (("reschedule", "1", "--at", "2100-01-01", "--delay", "1"), "Say when: --at a time, or after a --delay."),
        (("cancel", "--older-than", "old"), "'old' is no duration"),
        (("cancel", "--older-than", "9" * 20), "a duration must be at most 3162240000 seconds (100 years), not 1"),
        (("prune", "--older-than", "9" * 400), "a duration must be a finite number of seconds, not inf."),
        (("reschedule", "1", "--delay", "200000d"), "a duration must be at most 3162240000 seconds (100 years)"),
        (("reschedule", "1", "--at", "0001-01-01T00:00+23:00"), "is no time: write it as 2030-01-31T08:00 (local)"),
        (("reschedule", "1", "--at", "9999-12-31T23:59-23:00"), "is no time: write it as 2030-01-31T08:00 (local)"),
        (("clear",), "Missing argument 'TOPIC'."),
        (("pause",), "Missing argument 'TOPICS...'."),
    ],
)
def test_what_cannot_be_understood(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    said = shell.refused(2, *arguments)
    assert message in said
    assert said.endswith(f" See 'jobq {arguments[0]} --help'.")


def test_ids_are_changed_all_or_none(shell: Shell) -> None:
    fill(shell, 2)
    assert shell.refused(75, "cancel", "1", "2", "9", "--yes").startswith("jobq: there is no job 9")
    assert statuses(shell) == {"ready": 2}
    shell.done("cancel", "1")
    assert shell.refused(1, "cancel", "1").startswith("jobq: job 1 is canceled: cancel needs it")
    assert shell.refused(1, "delete", "1", "2", "--yes").startswith("jobq: job 2 is ready: delete needs it")
    assert statuses(shell) == {"canceled": 1, "ready": 1}


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (("cancel", "--topic", "mail"), "Cancel 2 jobs?"),
        (("cancel", "1", "2"), "Cancel 2 jobs?"),
        (("clear", "mail"), "Cancel 2 jobs of topic mail?"),
        (("prune", "--older-than", "0"), "Delete 2 finished jobs?"),
    ],
)
def test_without_a_terminal_there_is_nobody_to_ask(shell: Shell, arguments: tuple[str, ...], question: str) -> None:
    fill(shell, 2)
    if arguments[0] == "prune":
        shell.done("cancel", "1", "2", "--yes")
    before = statuses(shell)
    said = f"jobq: {question} There is nobody to ask, so nothing was changed: --yes says yes."
    assert shell.refused(1, *arguments) == said
    assert statuses(shell) == before


@pytest.mark.parametrize("answer", ["y\r", "yes\r", "what\rY\r"])
def test_an_answer_that_is_yes(shell: Shell, answer: str) -> None:
    fill(shell, 3)
    with asked(shell, "cancel", "--topic", "mail") as screen:
        assert "Cancel 3 jobs? [y/N]" in screen.screen
        screen.type(answer)
        assert screen.end() == 0
        assert "canceled 3 jobs" in screen.screen
    assert statuses(shell) == {"canceled": 3}


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ("n\r", 1, "jobq: nothing was changed"),
        ("\r", 1, "jobq: nothing was changed"),
        ("\x04", 1, "jobq: nothing was changed"),
        ("\x03", 130, "jobq: interrupted: nothing was changed"),
    ],
)
def test_an_answer_that_is_no(shell: Shell, answer: str, status: int, said: str) -> None:
    fill(shell, 3)
    with asked(shell, "clear", "mail") as screen:
        assert "Cancel 3 jobs of topic mail? [y/N]" in screen.screen
        screen.type(answer)
        assert screen.end() == status
        assert screen.screen.rstrip().splitlines()[-1] == said
        assert "Traceback" not in screen.screen
    assert statuses(shell) == {"ready": 3}


def test_one_job_is_changed_without_asking(shell: Shell) -> None:
    fill(shell, 1)
    assert shell.done("cancel", "--topic", "mail").out == "canceled 1 job\n"


def test_what_changes_between_the_question_and_the_answer(tmp_path: Path) -> None:
    shell = Shell(tmp_path, f"lmdb://{tmp_path}/jobs?sync=off")
    fill(shell, 3)
    with asked(shell, "cancel", "--topic", "mail") as screen, shell.queue() as svc:
        svc.done(svc.reserve("mail"))
        svc.enqueue_many([NewJob("mail"), NewJob("mail")])
        screen.type("y\r")
        assert screen.end() == 0
        assert "canceled 4 jobs" in screen.screen
    assert statuses(shell) == {"done": 1, "canceled": 4}


def test_a_queue_that_one_program_has_for_itself_is_refused(tmp_path: Path) -> None:
    shell = Shell(tmp_path, f"lmdb://{tmp_path}/jobs?sync=off&topics=memory")
    fill(shell, 1)
    with shell.queue():
        assert f"{tmp_path}/jobs" in shell.refused(1, "cancel", "1")
    assert statuses(shell) == {"ready": 1}


def test_jobs_that_others_change_meanwhile_are_left_and_named(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    fill(shell, 3)
    with shell.queue() as svc:

        def cancel(ids: list[int]) -> None:
            if svc.status(1) == Status.READY:  # what another process does, at the worst moment
                svc.done(svc.reserve("mail"))
                svc.cancel(2)
                svc.delete(2)
            svc.cancel(ids)

        change(svc, Choice((), "mail", UNFINISHED, None), "cancel", "canceled", cancel, yes=True)
    said, problem = capsys.readouterr()
    assert said == "canceled 1 job\n"
    assert problem.startswith("jobq: 2 jobs left unchanged, the last because job")
    assert statuses(shell) == {"done": 1, "canceled": 1}


def test_however_many_are_left_they_are_said_in_one_line(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    fill(shell, MANY)
    with shell.queue() as svc:

        def cancel(ids: list[int]) -> None:
            if svc.status(ids[-1]) == Status.READY:  # the other command is always a page ahead
                svc.cancel(ids)
            svc.cancel(ids)

        change(svc, Choice((), "mail", UNFINISHED, None), "cancel", "canceled", cancel, yes=True)
    said, problem = capsys.readouterr()
    assert said == "canceled 0 jobs\n"
    needs = "cancel needs it ready or delayed or reserved"
    last = MANY - MANY % PAGE + 1
    assert problem == f"jobq: {MANY:,} jobs left unchanged, the last because job {last} is canceled: {needs}\n"


def test_a_key_that_is_taken_leaves_a_dead_letter_where_it_is(shell: Shell) -> None:
    fill(shell, 1, unique_key="k")
    with shell.queue() as svc:
        finish(svc, "dead", 1)
    fill(shell, 1, unique_key="k")
    with shell.queue() as svc:
        svc.enqueue("mail", priority=-1)
        finish(svc, "dead", 1)
    outcome = shell.run("reset", "--topic", "mail", "-y")
    assert (outcome.status, outcome.out) == (0, "reset 1 job\n")
    assert "1 job left unchanged" in outcome.err
    assert "'k'" in outcome.err


def test_ctrl_c_says_how_far_it_came(shell: Shell) -> None:
    fill(shell, PAGE + 1)
    pages: list[Sequence[int]] = []
    with shell.queue() as svc:

        def cancel(ids: list[int]) -> None:
            if pages:
                raise KeyboardInterrupt
            pages.append(ids)
            svc.cancel(ids)

        choice = Choice((), "mail", UNFINISHED, None)
        with pytest.raises(Interrupted, match=f"^interrupted: canceled {PAGE} jobs of {PAGE + 1}$"):
            change(svc, choice, "cancel", "canceled", cancel, yes=True)
    assert statuses(shell) == {"canceled": PAGE, "ready": 1}


def test_pausing_and_resuming(shell: Shell) -> None:
    fill(shell, 2)
    fill(shell, 1, delay=60)
    assert shell.done("pause", "mail", "web").lines == ["paused mail: 3 jobs waiting", "paused web: 0 jobs waiting"]
    with shell.queue() as svc:
        assert svc.reserve("mail") == []
        svc.enqueue("mail")
    assert shell.done("resume", "mail").out == "resumed mail: 4 jobs waiting\n"
    with shell.queue() as svc:
        assert len(svc.reserve("mail", n=9)) == 3
    assert shell.refused(75, "resume", "mail") == "jobq: topic mail is not paused"


def test_what_is_not_there(shell: Shell) -> None:
    assert "/jobs" in shell.refused(75, "cancel", "1")
    shell.queue().close()
    assert shell.refused(75, "clear", "mail") == "jobq: no job waits in topic mail"
    assert shell.refused(75, "reset", "--topic", "mail") == "jobq: there is no such job to reset"
    assert shell.refused(75, "reschedule", "7", "--delay", "1").startswith("jobq: there is no job 7")
    assert shell.refused(75, "resume", "mail") == "jobq: topic mail is not paused"
    assert shell.done("prune").out == "deleted 0 jobs\n"


def test_in_memory_there_is_nothing_to_change(shell: Shell) -> None:
    memory = Shell(shell.folder, "memory://x")
    assert memory.refused(75, "cancel", "--topic", "mail") == "jobq: there is no such job to cancel"
    assert memory.refused(75, "cancel", "1").startswith("jobq: there is no job 1")
    assert memory.done("pause", "mail").out == "paused mail: 0 jobs waiting\n"


def test_a_time_is_local_unless_it_says_otherwise(shell: Shell) -> None:
    fill(shell, 1)
    shell.done("reschedule", "1", "--at", "2100-06-01T08:00", TZ="UTC-2")
    assert shell.done("show", "1", "--json").objects[0]["run_at"] == "2100-06-01T06:00:00Z"
    soon = datetime.now(UTC) + timedelta(days=1)
    shell.done("reschedule", "1", "--at", soon.isoformat())
    assert datetime.fromisoformat(shell.done("show", "1", "--json").objects[0]["run_at"]) == soon


BREAKING_IN = """
import sys
from jobq.cli import sweeping
from jobq.cli.running import run
whole = sweeping.JobService.{verb}
def broken(svc, *arguments, **keywords):
    whole(svc, *arguments, **keywords)
    raise KeyboardInterrupt
sweeping.JobService.{verb} = broken
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("clear", "mail"), "interrupted: 0 jobs waiting still, and the same command goes on"),
        (("prune",), "interrupted: what is deleted stays so, and the same command goes on"),
    ],
)
def test_ctrl_c_in_a_topic_as_a_whole_says_how_to_go_on(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    fill(shell, 2)
    script = BREAKING_IN.format(verb=arguments[0])
    command = [sys.executable, "-c", script, *shell.command(*arguments, "--yes")[len(COMMAND) :]]
    ended = subprocess.run(command, cwd=shell.folder, env=environment(), capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", f"jobq: {said}\n")
