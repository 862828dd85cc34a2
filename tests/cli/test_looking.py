"""`jobq topics`, `stats`, `list`, `show`, `logs` and `dead`: tables for people, JSON for programs."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobq import JobInfo, JobOptions, NewJob, TopicStats
from jobq.cli.finding import PAGE
from tests.cli.commands import Shell, environment
from tests.cli.terminal import Terminal, terminal
from tests.clocks import PATIENCE

HOSTILE = "\x1b[31m[red]x[/red]\r\n\x9b2J\u202e"
SHOWN = "\\x1b[31m[red]x[/red]\\r \\x9b2J\\u202e"
"""How that is shown: on one line, as what it is."""


@pytest.fixture
def stocked(shell: Shell) -> Shell:
    """A queue with a job in each status: 1 done, 2 dead, 3 reserved, 4 ready, 5 delayed, 6 canceled."""
    with shell.queue() as svc:
        svc.enqueue("mail", payload=b"\xff\x00", unique_key=HOSTILE, name=HOSTILE)
        svc.enqueue("mail", payload=HOSTILE, max_retries=0)
        svc.enqueue("mail", name="slow", lease=3600)
        first, second, _ = svc.reserve("mail", n=3)
        first.log(f"one\n{HOSTILE}")
        first.log("two")
        first.done({"sent": 3})
        second.reject(f"[bold]no[/bold] {HOSTILE}\nmore")
        svc.enqueue("mail", priority=-7)
        svc.enqueue("web:x", delay=7170)
        svc.cancel(svc.enqueue("web:x"), note="not needed")
        svc.pause("web:x")
    return shell


@contextmanager
def on_terminal(shell: Shell, *arguments: str, **environ: str) -> Iterator[Terminal]:
    with terminal(shell.command(*arguments), shell.folder, environment(**environ)) as screen:
        assert screen.end() == 0, screen.screen
        yield screen


def words(line: str) -> list[str]:
    return line.split()


def test_topics_and_their_counts(stocked: Shell) -> None:
    head, mail, web = stocked.done("topics").lines
    assert words(head) == "topic ready delayed reserved done canceled dead oldest".split()
    assert words(mail)[:7] == ["mail", "1", "0", "1", "1", "0", "1"]
    assert words(web) == ["web:x", "0", "1", "0", "0", "1", "0", "-", "paused"]


def test_topics_as_json_have_all_counters(stocked: Shell) -> None:
    mail, web = stocked.done("topics", "--json").objects
    assert mail.keys() == {field.name for field in fields(TopicStats)}
    assert mail["now"] == {"ready": 1, "delayed": 0, "reserved": 1, "done": 1, "canceled": 1}
    assert (web["topic"], web["paused"], web["oldest_ready_age"]) == ("web:x", True, None)
    assert [found["topic"] for found in stocked.done("stats", "--json").objects] == ["mail", "web:x"]


def test_the_counters_of_a_topic(stocked: Shell) -> None:
    facts = dict(line.split(maxsplit=2)[:2] for line in stocked.done("stats", "web:x").lines)
    assert facts["topic"] == "web:x"
    assert facts["paused"] == "yes"
    lines = stocked.done("stats", "mail").lines
    assert {"dead now         1", "enqueued so far  4", "reserved so far  3"} <= set(lines)
    assert stocked.done("stats", "mail", "--json").objects[0]["enqueued"] == 4
    table = stocked.done("stats").lines
    assert words(table[1])[:8] == ["mail", "4", "3", "1", "0", "0", "0", "1"]


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_what_is_not_there(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert "/jobs" in shell.refused(75, "topics", *arguments)
    shell.queue().close()
    assert shell.refused(75, "topics", *arguments) == "jobq: there is no topic: `jobq enqueue TOPIC` makes one"
    assert shell.refused(75, "stats", "mail", *arguments) == "jobq: there is no topic mail: `jobq topics` lists them"
    assert shell.refused(75, "list", *arguments) == "jobq: there is no such job"
    assert shell.refused(75, "dead", "--topic", "mail", *arguments) == "jobq: there is no such job in topic mail"
    assert shell.refused(75, "show", "7", *arguments).startswith("jobq: there is no job 7: it was never enqueued")
    assert shell.refused(75, "logs", "7", *arguments).startswith("jobq: there is no job 7")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "x"), "'x' is no job id: write the number that enqueue printed, as 17."),
        (("show",), "Missing argument 'ID'."),
        (
            ("list", "--status", "gone"),
            "'gone' is not one of 'ready', 'delayed', 'reserved', 'done', 'canceled', 'dead'.",
        ),
        (("show", "1", "--payload", "--json"), "--payload writes it as it is, and --json has it as text: give one of"),
        (("list", "--limit", "-1"), "-1 is not in the range x>=0."),
        (("list", "--topic", "a b"), "topic 'a b' is not allowed"),
    ],
)
def test_what_cannot_be_understood(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    assert message in shell.refused(2, *arguments)


def test_a_table_of_jobs_is_one_table_whatever_their_statuses(stocked: Shell) -> None:
    head, *rows = stocked.done("list").lines
    assert words(head) == "id topic status prio name when try why".split()
    assert [words(row)[0] for row in rows] == ["4", "5", "3", "1", "6", "2"]
    column = head.index("status")
    shown = [row[column:].split()[0] for row in rows]
    assert shown == ["ready", "delayed", "reserved", "done", "canceled", "dead"]


def test_the_rows_of_some_jobs(stocked: Shell) -> None:
    rows = stocked.done("list", "--topic", "web:x").lines[1:]
    assert words(rows[0])[:4] == ["5", "web:x", "delayed", "0"]
    assert "in 1h 59m" in rows[0]
    assert rows[1].endswith("not needed")
    [_, row] = stocked.done("list", "--status", "reserved").lines
    assert words(row)[:6] == ["3", "mail", "reserved", "0", "slow", "runs"]
    [_, row] = stocked.done("dead").lines
    assert row.endswith("[bold]no[/bold] \\x1b[31m[red]x[/red]")
    assert words(stocked.done("list", "--status", "done", "--status", "done").lines[-1])[0] == "1"
    assert len(stocked.done("list", "--status", "done", "--status", "done").lines) == 2


def test_jobs_as_json_have_all_fields(stocked: Shell) -> None:
    found = {job["id"]: job for job in stocked.done("list", "--json").objects}
    assert list(found) == [4, 5, 3, 1, 6, 2]
    names = {field.name for field in fields(JobInfo) if not field.name.startswith("_")}
    for job in found.values():
        assert job.keys() == names
        assert job["options"].keys() == {field.name for field in fields(JobOptions)}
        assert datetime.fromisoformat(job["created_at"]).tzinfo == UTC
    assert (found[1]["name"], found[1]["unique_key"], found[1]["result"]) == (HOSTILE, HOSTILE, {"sent": 3})
    assert (found[2]["cancel_reason"], found[6]["cancel_reason"]) == ("rejected", "requested")
    assert (found[4]["priority"], found[6]["note"]) == (-7, "not needed")
    [dead] = stocked.done("dead", "--json").objects
    assert dead == found[2]


def test_all_of_a_job(stocked: Shell) -> None:
    said = stocked.done("show", "1").out
    facts = {line[:12].strip(): line[12:] for line in said.splitlines()}
    assert (facts["status"], facts["attempts"], facts["base64"]) == ("done", "1", "/wA=")
    assert (facts["name"], facts["unique key"], facts["result"]) == (SHOWN, SHOWN, "{'sent': 3}")
    assert "note" not in facts
    assert "status      dead (rejected)\n" in stocked.done("show", "2").out
    [job] = stocked.done("show", "1", "--json").objects
    assert (job["payload_base64"], job["id"]) == ("/wA=", 1)
    assert stocked.done("show", "2", "--json").objects[0]["payload"] == HOSTILE


def test_how_often_a_job_was_tried(shell: Shell) -> None:
    with shell.queue() as svc:
        svc.enqueue("mail", min_backoff=0)
        for _ in range(3):
            svc.reserve("mail")[0].retry(0)
        svc.reserve("mail")[0].done()
        svc.reset(1)
        svc.reserve("mail")[0].retry(0)
    assert "attempts  5, retried once, reset once" in shell.done("show", "1").out.replace("    ", "  ")


def test_a_payload_byte_by_byte(stocked: Shell) -> None:
    command = stocked.command("show", "1", "--payload")
    done = subprocess.run(command, cwd=stocked.folder, env=environment(), capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\xff\x00", b"")


def test_a_log_whose_further_lines_cannot_pass_for_others(stocked: Shell) -> None:
    lines = stocked.done("logs", "1").lines
    assert lines[0].endswith(" one")
    assert lines[1] == " " * 20 + "\\x1b[31m[red]x[/red]"
    assert lines[-1].endswith(" two")
    assert all(line[:20].isspace() for line in lines[1:-1])
    assert [line["message"] for line in stocked.done("logs", "1", "--json").objects] == [f"one\n{HOSTILE}", "two"]
    assert stocked.done("logs", "4").out == ""


def test_a_log_says_what_it_dropped(shell: Shell) -> None:
    with shell.queue() as svc:
        svc.enqueue("mail")
        [job] = svc.reserve("mail")
        for number in range(103):
            job.log(str(number))
        job.release()
    outcome = shell.run("logs", "1", "--json")
    assert (outcome.status, outcome.err) == (0, "jobq: 3 older lines were dropped\n")
    assert len(outcome.objects) == 100


def test_nothing_commands_the_terminal(stocked: Shell) -> None:
    for arguments in (("list",), ("dead",), ("show", "1"), ("show", "2"), ("logs", "1")):
        out = stocked.done(*arguments).out
        assert all(character.isprintable() or character == "\n" for character in out), arguments


@pytest.fixture
def many(shell: Shell) -> Shell:
    """A queue with more than two pages of jobs."""
    with shell.queue() as svc:
        svc.enqueue_many([NewJob("bulk", json=number) for number in range(2 * PAGE + 3)])
    return shell


def test_a_table_ends_after_a_hundred_and_says_so(many: Shell) -> None:
    outcome = many.run("list")
    assert (outcome.status, len(outcome.lines)) == (0, 101)
    assert outcome.err == "jobq: 100 jobs shown, and there are more: --limit 0 shows all\n"
    outcome = many.run("list", "--limit", str(PAGE + 1), "--json")
    assert ([job["id"] for job in outcome.objects], len(outcome.err.splitlines())) == (list(range(1, PAGE + 2)), 1)
    everything = str(2 * PAGE + 3)
    assert len(many.done("list", "--limit", everything, "--json").lines) == 2 * PAGE + 3


def test_all_pages(many: Shell) -> None:
    assert [job["id"] for job in many.done("list", "--json").objects] == list(range(1, 2 * PAGE + 4))
    lines = many.done("list", "--limit", "0").lines
    assert len(lines) == 2 * PAGE + 4
    assert [words(line)[0] for line in lines[-2:]] == [str(2 * PAGE + 2), str(2 * PAGE + 3)]


def test_a_reader_that_has_enough(many: Shell) -> None:
    command = many.command("list", "--json")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=many.folder, env=environment(), stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b'"id": 1,' in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 141


def test_colours_on_a_terminal_only(stocked: Shell) -> None:
    with on_terminal(stocked, "list", "--status", "dead") as screen:
        assert screen.colours("dead") == {"red"}
        assert screen.colours("mail") == {"default"}
    with on_terminal(stocked, "list", "--status", "dead", NO_COLOR="1") as screen:
        assert screen.colours("dead") == {"default"}
    assert "\x1b" not in stocked.done("list", TERM="xterm-256color", FORCE_COLOR="1").out


def test_long_names_are_cut_where_a_terminal_is_narrow(shell: Shell, tmp_path: Path) -> None:
    with shell.queue() as svc:
        svc.enqueue("mail", name="n" * 200)
        svc.reserve("mail")[0].reject("e" * 200)
    with on_terminal(shell, "list") as screen:
        head, row, *rest = screen.screen.rstrip().splitlines()
    assert words(head)[-1] == "why"
    assert words(row)[:3] == ["1", "mail", "dead"]
    assert row.count("…") == 2
    assert rest == []
    assert "n" * 200 in shell.done("list").out


def test_no_column_is_lost_where_a_terminal_is_narrower_than_a_table(stocked: Shell) -> None:
    for command in ("topics", "list"):
        with terminal(
            ["sh", "-c", f"stty cols 30; {shlex.join(stocked.command(command))}"], stocked.folder, environment()
        ) as screen:
            assert screen.end() == 0
        written = re.sub(r"\x1b\[[\d;]*m", "", screen.written.decode()).splitlines()
        plain = stocked.done(command).lines
        assert words(written[0]) == words(plain[0])
        assert [words(line)[:4] for line in written] == [words(line)[:4] for line in plain]
