"""`jobq enqueue`: payloads from everywhere, options, and what is refused."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from jobq.cli.payloads import BATCH
from tests.cli.commands import Shell, environment
from tests.clocks import PATIENCE


def payloads(shell: Shell, topic: str = "mail") -> list[bytes]:
    with shell.queue() as svc:
        return [job.payload for job in svc.reserve(topic, n=10_000)]


def test_the_id_is_printed(shell: Shell) -> None:
    assert [shell.done("enqueue", "mail", "hello").out for _ in range(2)] == ["1\n", "2\n"]
    assert shell.done("enqueue", "mail", "x", "--json").objects == [{"id": 3}]
    assert shell.done("enqueue", "mail", "x", "-q").out == ""
    assert payloads(shell) == [b"hello", b"hello", b"x", b"x"]


@pytest.mark.parametrize("more", [(), ("-",)])
def test_a_payload_from_standard_input_is_taken_byte_by_byte(shell: Shell, more: tuple[str, ...]) -> None:
    raw = bytes(range(256)) + b"\r\n"
    shell.done("enqueue", "mail", *more, stdin=raw)
    assert payloads(shell) == [raw]


def test_a_payload_from_a_file(shell: Shell) -> None:
    (shell.folder / "one").write_bytes(b"\0\n")
    shell.done("enqueue", "mail", "--file", "one")
    assert payloads(shell) == [b"\0\n"]


def test_an_argument_that_is_no_text_is_taken_as_it_is(shell: Shell) -> None:
    command = [word.encode() for word in shell.command("enqueue", "mail")]
    subprocess.run([*command, b"\xff\xfe"], env=environment(), cwd=shell.folder, check=True, stdout=subprocess.DEVNULL)
    assert payloads(shell) == [b"\xff\xfe"]


def test_without_a_payload_and_a_pipe_it_is_empty(shell: Shell) -> None:
    with Path("/dev/null").open("rb") as nothing:
        command = shell.command("enqueue", "mail")
        done = subprocess.run(command, env=environment(), cwd=shell.folder, stdin=nothing, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"1\n")
    assert payloads(shell) == [b""]


def test_a_job_for_each_line(shell: Shell) -> None:
    outcome = shell.done("enqueue", "mail", "--lines", stdin=b"one\r\n\ntwo\xff")
    assert outcome.lines == ["1", "2", "3"]
    assert payloads(shell) == [b"one", b"", b"two\xff"]


def test_lines_of_a_file_in_batches(shell: Shell) -> None:
    lines = [b"%d" % number for number in range(2 * BATCH + 1)]
    (shell.folder / "many").write_bytes(b"\n".join(lines))
    outcome = shell.done("enqueue", "mail", "--lines", "--file", "many", "--json")
    assert [found["id"] for found in outcome.objects] == list(range(1, len(lines) + 1))
    assert payloads(shell) == lines


def test_options_of_a_job(shell: Shell) -> None:
    shell.done(
        "enqueue", "mail", "x", "--delay", "1h", "--priority", "-3", "--name", "send", "--unique", "k",
        "--max-retries", "forever", "--lease", "10m", "--header", "tenant=a=b", "--header", "x=",
    )  # fmt: skip
    shell.done("enqueue", "mail", "--at", "2100-01-01T00:00Z", "--max-retries", "2")
    with shell.queue() as svc:
        first, second = svc.get(1), svc.get(2)
    assert (first.status, first.priority, first.name, first.unique_key) == ("delayed", -3, "send", "k")
    assert first.headers == {"tenant": "a=b", "x": ""}
    assert (first.options.max_retries, first.options.lease) == (None, 600)
    assert 3590 < (first.run_at - first.created_at).total_seconds() <= 3600
    assert (second.run_at.isoformat(), second.options.max_retries) == ("2100-01-01T00:00:00+00:00", 2)


def test_a_key_that_is_taken(shell: Shell) -> None:
    shell.done("enqueue", "mail", "a", "--unique", "k")
    said = shell.refused(1, "enqueue", "mail", "b", "--unique", "k")
    assert said.startswith("jobq: ")
    assert "'k'" in said
    assert shell.done("enqueue", "mail", "b", "--unique", "k", "--on-duplicate", "keep").out == "1\n"
    assert shell.done("enqueue", "mail", "c", "--unique", "k", "--on-duplicate", "replace").out == "1\n"
    assert payloads(shell) == [b"c"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a b",), "topic 'a b' is not allowed: 1 to 128 of A-Z a-z 0-9 . _ : - , beginning with a letter or digit."),
        (("mail", "--delay", "soon"), "'soon' is no duration: write seconds, as 90 or 1.5s, or 500ms, 10m, 2h"),
        (("mail", "--at", "soon"), "'soon' is no time: write it as 2030-01-31T08:00 (local), or 2030-01-31T08:00Z."),
        (("mail", "--priority", "40000"), "40000 is not in the range -32768<=x<=32767."),
        (("mail", "--max-retries", "-1"), "'-1' is no number of retries: write a whole number, or forever."),
        (("mail", "--delay", "1", "--at", "2100-01-01"), "--delay and --at exclude each other: give one of them."),
        (("mail", "x", "--file", "y"), "The payload is PAYLOAD, or a --file, or --lines of one: give one of them."),
        (("mail", "x", "--lines"), "The payload is PAYLOAD, or a --file, or --lines of one: give one of them."),
        (("mail", "--lines", "--unique", "k"), "--unique is for one job: with --lines all would have the same key."),
        (("mail", "--json", "--quiet"), "--quiet prints no ids, and --json prints them: give one of them."),
        (("mail", "--delay"), "Option '--delay' requires an argument."),
        (("mail", "--on-duplicate", "keep"), "--on-duplicate goes with --unique KEY."),
        (("mail", "--header", "x=1", "--header", "x=2"), "--header names one twice: each has one text."),
        (("mail", "--header", "x"), "--header takes NAME=TEXT, not 'x'."),
        (("mail", "--unknown"), "No such option '--unknown'."),
        ((), "Missing argument 'TOPIC'."),
    ],
)
def test_what_cannot_be_understood_is_said_in_one_line(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    said = shell.refused(2, "enqueue", *arguments)
    assert said.startswith("jobq enqueue: ")
    assert message in said
    assert said.endswith(" See 'jobq enqueue --help'.")
    assert not (shell.folder / "jobs").exists()


def test_what_the_queue_refuses_is_said_in_one_line(shell: Shell) -> None:
    for more in ((), ("--lines",)):
        assert shell.refused(1, "enqueue", "mail", "-f", "absent", *more) == "jobq: absent: No such file or directory"
    assert "the payload is over the limit of 1048576" in shell.refused(1, "enqueue", "mail", stdin=bytes(2**20 + 1))
    assert not (shell.folder / "jobs").exists()
    assert "JobqError" not in shell.refused(1, "enqueue", "mail", "--name", "x" * 300)


@pytest.mark.parametrize("lines", [(), ("--lines",)])
def test_what_has_no_end_is_refused_before_it_fills_the_memory(shell: Shell, lines: tuple[str, ...]) -> None:
    said = shell.refused(1, "enqueue", "mail", "--file", "/dev/zero", *lines)
    assert "the payload is over the limit of 1048576 bytes: store it elsewhere and enqueue its address" in said


def test_lines_are_no_more_at_once_than_the_queue_takes(shell: Shell) -> None:
    lines = [b"%d" % number for number in range(20)]
    limits = {"JOBQ_LIMITS_BATCH": "3", "JOBQ_LIMITS_BATCH_BYTES": "5"}
    assert len(shell.done("enqueue", "mail", "--lines", stdin=b"\n".join(lines), **limits).lines) == 20
    assert payloads(shell) == lines


def test_lines_say_how_far_they_came(shell: Shell) -> None:
    lines = b"x\n" * (BATCH + 10)
    outcome = shell.run("enqueue", "mail", "--lines", "-q", stdin=lines, JOBQ_LIMITS_DEPTH=str(BATCH))
    assert outcome.status == 1
    assert outcome.err.endswith(f"({BATCH:,} lines enqueued: go on with line {BATCH + 1})\n")
    assert len(payloads(shell)) == BATCH


def test_ctrl_c_in_lines_says_how_far_they_came(shell: Shell) -> None:
    pipe = subprocess.PIPE
    command = shell.command("enqueue", "mail", "--lines")
    with subprocess.Popen(
        command, env=environment(), cwd=shell.folder, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"x\n" * (2 * BATCH) + b"begun")
        process.stdin.flush()
        assert process.stdout.readline() == b"1\n"
        for _ in range(2 * BATCH - 1):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, b"jobq: interrupted: 2,000 lines enqueued: go on with line 2001\n")
    assert len(payloads(shell)) == 2 * BATCH
