"""Which queue a command is for: --url, JOBQ_ variables, .env, jobq.toml; and what is said if they are wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import jobq
from tests.cli.commands import Shell


@pytest.fixture
def bare(tmp_path: Path) -> Shell:
    """A folder in which commands find their queue by themselves."""
    return Shell(tmp_path, None)


def queue(shell: Shell, name: str) -> str:
    """The URL of a queue in the folder, with a topic of the same name."""
    with jobq.open(f"lmdb://{shell.folder}/{name}?sync=off") as svc:
        svc.enqueue(name)
    return f"lmdb:{name}"


def meant(shell: Shell, *arguments: str, **environ: str) -> str:
    """The only topic of the queue that a command is for."""
    outcome = shell.run("topics", "--json", *arguments, stdin=b"", **environ)
    assert (outcome.status, outcome.err) == (0, ""), outcome
    [found] = outcome.objects
    return str(found["topic"])


def test_what_stands_nearest_to_the_command_holds(bare: Shell) -> None:
    (bare.folder / "jobq.toml").write_text(f'url = "{queue(bare, "of-file")}"\n')
    assert meant(bare) == "of-file"
    (bare.folder / ".env").write_text(f"OTHER=1\nexport JOBQ_URL={queue(bare, 'of-dotenv')}  # for all here\n")
    assert meant(bare) == "of-dotenv"
    of_environment = queue(bare, "of-environment")
    assert meant(bare, JOBQ_URL=of_environment) == "of-environment"
    assert meant(bare, "--url", queue(bare, "of-argument"), JOBQ_URL=of_environment) == "of-argument"
    assert meant(bare, JOBQ_URL="") == "of-file"


def test_options_may_stand_before_the_command_too(bare: Shell) -> None:
    url = queue(bare, "jobs")
    command = Shell(bare.folder, None).run("--url", url, "topics", "--json")
    assert [found["topic"] for found in command.objects] == ["jobs"]
    nearer = Shell(bare.folder, None).run("--url", "lmdb:absent", "topics", "--json", "--url", url)
    assert [found["topic"] for found in nearer.objects] == ["jobs"]


def test_a_project_file_of_a_folder_above(bare: Shell) -> None:
    queue(bare, "of-project")
    (bare.folder / "pyproject.toml").write_text('[tool.jobq]\nurl = "lmdb:of-project"\n')
    inner = bare.folder / "src" / "app"
    inner.mkdir(parents=True)
    assert meant(Shell(inner, None)) == "of-project"


def test_several_queues(bare: Shell) -> None:
    main, reports = queue(bare, "main"), queue(bare, "reports")
    (bare.folder / "jobq.toml").write_text(f'url = "{main}"\n[queues.reports]\nurl = "{reports}"\n')
    assert meant(bare) == "main"
    assert meant(bare, "--queue", "reports") == "reports"
    assert meant(bare, "--queue", "reports", JOBQ_URL=main) == "reports"
    assert meant(bare, JOBQ_QUEUE="reports") == "reports"
    assert bare.refused(1, "topics", "--queue", "report").endswith("has no queue 'report': it has reports")


def test_a_file_that_is_named(bare: Shell) -> None:
    elsewhere = bare.folder / "etc"
    elsewhere.mkdir()
    (elsewhere / "queue.toml").write_text('url = "lmdb:jobs"\n')
    queue(Shell(elsewhere, None), "jobs")
    assert meant(bare, "--config", "etc/queue.toml") == "jobs"
    assert meant(bare, JOBQ_CONFIG="etc/queue.toml") == "jobs"
    said = bare.refused(1, "topics", "--config", "absent.toml")
    assert said == f"jobq: {bare.folder}/absent.toml cannot be read: No such file or directory"


def test_options_of_the_file_are_those_of_new_jobs(bare: Shell) -> None:
    (bare.folder / "jobq.toml").write_text(
        'url = "lmdb:jobs"\nsync = "off"\n[limits]\ndepth = 1\n'
        '[options]\nmax_retries = 3\n[topics.mail]\nlease = "10m"\n'
    )
    bare.done("enqueue", "mail")
    [job] = bare.done("list", "--json").objects
    assert (job["options"]["max_retries"], job["options"]["lease"]) == (3, 600)
    assert "depth" in bare.refused(1, "enqueue", "mail")


def test_without_any_the_queue_is_in_the_folder_and_that_is_said(bare: Shell) -> None:
    outcome = bare.run("enqueue", "mail")
    where = bare.folder / "jobq-data"
    said = f"jobq: neither --url nor JOBQ_URL nor jobq.toml names a queue: it is lmdb:jobq-data, {where}\n"
    assert outcome == (0, "1\n", said)
    assert where.is_dir()


def test_looking_makes_no_queue(bare: Shell) -> None:
    outcome = bare.run("topics", "--url", "lmdb:absent")
    assert (outcome.status, outcome.out) == (75, "")
    assert "absent" in outcome.err
    assert os.listdir(bare.folder) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("urll = 'lmdb:x'", "jobq.toml: unknown key 'urll' (did you mean 'url'?): it knows url, sync, max_size"),
        ("[topics.mail]\nleese = 3", "jobq.toml: topics.mail: unknown key 'leese' (did you mean 'lease'?)"),
        ("[options]\nlease = 'soon'", "options: lease = 'soon': 'soon' is no duration: write seconds"),
        ("url = 'lmdb:x'\nsync = 'fulll'", "sync = 'fulll': must be one of full, normal, off"),
        ("url = 'redis://h'", "the scheme 'redis' names no storage"),
        ("url = ", "jobq.toml is no TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(bare: Shell, text: str, message: str) -> None:
    (bare.folder / "jobq.toml").write_text(text)
    assert message in bare.refused(1, "enqueue", "mail")


def test_what_is_wrong_in_a_variable_is_one_line(bare: Shell) -> None:
    said = bare.refused(1, "topics", JOBQ_ULR="memory://")
    assert said.startswith("jobq: environment: unknown key 'JOBQ_ULR' (did you mean 'JOBQ_URL'?)")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"A=1\nJOBQ_URL 'lmdb:secret'\n", "jobq: .env, line 2: write a setting as JOBQ_URL=lmdb:jobs"),
        (b"JOBQ_URL='lmdb:secret\n", "jobq: .env, line 1: write a setting as JOBQ_URL=lmdb:jobs"),
        (
            b"JOBQ_ULR=lmdb:secret\n",
            "jobq: .env: unknown key 'JOBQ_ULR' (did you mean 'JOBQ_URL'?): names that begin with JOBQ_ are settings",
        ),
        (b"JOBQ_URL=\xff\n", "jobq: .env is no text in UTF-8: invalid start byte at byte 9"),
    ],
)
def test_a_broken_dotenv_is_one_line_that_shows_no_value(bare: Shell, written: bytes, message: str) -> None:
    (bare.folder / ".env").write_bytes(written)
    said = bare.refused(1, "topics")
    assert said.startswith(message)
    assert "secret" not in said


def test_what_others_write_into_a_dotenv_is_passed_over(bare: Shell) -> None:
    url = queue(bare, "jobs")
    (bare.folder / ".env").write_text(f"what is this\nDB='open\nURL=1\nJOBQ_URL={url}\n[section]\n")
    assert meant(bare) == "jobs"


def test_a_queue_in_memory_is_another_one_in_each_process(bare: Shell) -> None:
    assert bare.done("enqueue", "mail", "--url", "memory://x").out == "1\n"
    assert "there is no topic" in bare.refused(75, "topics", "--url", "memory://x")


@pytest.mark.parametrize("option", ["--url", "--queue"])
def test_an_option_that_is_empty_is_no_wish_for_the_default(bare: Shell, option: str) -> None:
    with jobq.open(f"lmdb://{bare.folder}/jobq-data") as svc:
        svc.enqueue("mail")
    said = bare.refused(2, "cancel", "--topic", "mail", option, "")
    assert f"Invalid value for '{option}': it is empty" in said
    assert bare.run("topics", "--json").objects[0]["now"]["ready"] == 1
