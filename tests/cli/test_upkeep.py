"""`jobq info`, `verify`, `backup`, `compact` and `schedules`."""

from __future__ import annotations

import re

import pytest

import jobq
from jobq import Worker
from jobq.cli.upkeep import size
from tests.cli.commands import Shell


def lose_a_key(shell: Shell) -> None:
    """Let nobody hold the unique key of job 1, which a bug or a damaged disk might do."""
    with shell.queue() as svc:
        svc.enqueue("mail", unique_key="k\x1b[31m")
        storage = svc._storage
        storage.transact(lambda uow: uow.jobs.unhold([uow.jobs.token(("mail", "k\x1b[31m"))]))


def test_verify_of_a_sound_queue(shell: Shell) -> None:
    shell.done("enqueue", "mail", "x")
    assert shell.done("verify").out == "0 differences\n"
    assert shell.done("verify", "--json").out == ""


def test_verify_says_what_differs_and_mends_it_when_told_to(shell: Shell) -> None:
    lose_a_key(shell)
    found = shell.run("verify")
    assert found.status == 1
    assert "job 1" in found.lines[0]
    assert "\x1b" not in found.out
    assert found.lines[1:] == ["1 difference"]
    [difference] = shell.run("verify", "--json").objects
    assert (difference["kind"], difference["job_id"], difference["repaired"]) == ("unique_key", 1, False)

    mended = shell.done("verify", "--repair")
    assert mended.lines[0].endswith("(repaired)")
    assert mended.lines[1:] == ["1 difference, 0 left"]
    assert shell.done("verify").out == "0 differences\n"


def test_a_backup_opens_as_a_queue(shell: Shell) -> None:
    shell.done("enqueue", "mail", "x")
    assert shell.done("backup", "copy").out == "copied to copy: open it as lmdb:copy\n"
    with jobq.open(f"lmdb://{shell.folder}/copy") as copy:
        assert copy.payload(1) == b"x"
    assert "copy is not empty" in shell.refused(1, "backup", "copy")


def test_compacting_makes_the_file_small(shell: Shell) -> None:
    with shell.queue() as svc:
        ids = svc.enqueue_many([jobq.NewJob("mail", payload=bytes(4_000)) for _ in range(2_000)])
        svc.cancel(ids)
        svc.delete(ids)
    before = (shell.folder / "jobs" / "data.mdb").stat().st_size
    said = shell.done("compact").out
    after = (shell.folder / "jobs" / "data.mdb").stat().st_size
    assert after < before / 4
    assert re.fullmatch(r"[\d.]+ MiB before, [\d.]+ [KM]iB now\n", said)
    assert shell.done("enqueue", "mail").out == "2001\n"


def test_what_another_process_has_open_is_not_compacted(shell: Shell) -> None:
    with shell.queue() as svc:
        svc.enqueue("mail")
        assert "open in another process" in shell.refused(1, "compact")
    assert "need not be" in shell.refused(1, "compact", "--url", "memory://")


def test_info_says_what_a_queue_is_kept_in(shell: Shell) -> None:
    shell.done("enqueue", "mail", "x")
    facts = dict(re.split(r"\s{2,}", line) for line in shell.done("info").lines)
    assert facts["url"] == f"lmdb://{shell.folder}/jobs"
    assert (facts["kind"], facts["job count"], facts["topic count"], facts["sync"]) == ("lmdb", "1", "1", "off")
    [found] = shell.done("info", "--json").objects
    assert (found["job_count"], found["topic_count"]) == (1, 1)
    assert found["details"]["sync"] == "off"
    assert found["details"]["file_size"] >= found["details"]["used_size"] > 0
    [memory] = shell.done("info", "--json", "--url", "memory://").objects
    assert (memory["kind"], memory["job_count"], memory["details"]) == ("memory", 0, {})


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**36, "64.0 GiB")]
)
def test_sizes_as_people_say_them(number: int, said: str) -> None:
    assert size(number) == said


@pytest.mark.parametrize("command", [("verify",), ("backup", "copy"), ("schedules",), ("compact",), ("info",)])
def test_where_there_is_no_queue_none_is_made(shell: Shell, command: tuple[str, ...]) -> None:
    assert "there is no queue at" in shell.refused(75, *command)
    assert list(shell.folder.iterdir()) == []


def install(shell: Shell) -> None:
    """Install a schedule, as a worker does that begins with it in its code."""
    tasks = jobq.Tasks("reports")
    tasks.every(3600, name="hourly")(report)
    with shell.queue() as svc:
        Worker(svc, "reports", tasks=tasks).run(burst=True)


def report() -> None:
    """A task."""


def test_schedules_are_listed_paused_resumed_and_removed(shell: Shell) -> None:
    install(shell)
    titles, row = shell.done("schedules").lines
    assert titles.split() == ["name", "task", "every", "timezone", "next", "last"]
    assert row.split()[0] == "hourly"
    assert "1h" in row.split()

    assert shell.done("schedules", "pause", "hourly").out == "paused hourly\n"
    [found] = shell.done("schedules", "--json").objects
    assert (found["name"], found["spec"], found["paused"], found["last_at"]) == ("hourly", 3600, True, None)
    assert found["next_at"].endswith("Z")
    assert shell.done("schedules").lines[1].split()[-1] == "paused"
    assert shell.done("schedules", "resume", "hourly").out == "resumed hourly\n"
    assert "there is no schedule 'x' in this queue, but: 'hourly'" in shell.refused(75, "schedules", "pause", "x")
    assert shell.done("schedules", "remove", "hourly").out == "removed hourly\n"
    assert "there is no schedule" in shell.refused(75, "schedules")
