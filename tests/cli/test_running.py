"""The command itself: how it is begun, what it says of itself, and how it ends when something goes wrong."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

import jobq
from jobq.cli.commands import MODULES, commands
from tests.cli.commands import COMMAND, Shell, environment
from tests.clocks import PATIENCE


def python(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture
def anywhere(tmp_path: Path) -> Shell:
    """A folder in which no queue is named."""
    return Shell(tmp_path, None)


def test_there_is_a_command_and_a_module_of_the_same_name(anywhere: Shell) -> None:
    [script] = entry_points(group="console_scripts", name="jobq")
    assert script.value == "jobq.cli:main"
    assert anywhere.done("--version").out == f"jobq, version {jobq.__version__}\n"


def test_help_names_all_commands(anywhere: Shell) -> None:
    said = anywhere.done("--help").out
    for name in MODULES:
        assert f"\n  {name} " in said
    assert "75 nothing there" in said


def test_without_a_command_it_says_which_there_are(anywhere: Shell) -> None:
    ended = subprocess.run(COMMAND, cwd=anywhere.folder, env=environment(), capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == anywhere.done("--help").out


def test_no_help_is_cut(anywhere: Shell) -> None:
    assert "..." not in anywhere.done("--help").out.replace("[ARGS]...", "")


@pytest.mark.parametrize("name", MODULES)
def test_each_command_says_what_it_does_and_takes_a_url(anywhere: Shell, name: str) -> None:
    command = commands.get_command(commands.make_context("jobq", [], resilient_parsing=True), name)
    assert command is not None
    assert command.name == name
    assert command.help
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--debug" in options
    assert ("--url" in options) is (name not in ("move", "completion"))  # of two queues, and of none
    assert [one.name for one in command.params if isinstance(one, click.Option) and not one.help] == []


@pytest.mark.parametrize(
    "words",
    [("enqueue", "mail", "x"), ("topics",), ("metrics",), ("worker", "--topic", "mail", "--burst", "--exec", "cat")],
    ids=" ".join,
)
def test_closed_streams_are_no_failure(shell: Shell, words: tuple[str, ...]) -> None:
    """As of a program that a service manager began with less than a shell does."""
    shell.done("enqueue", "mail", "x")
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *shell.command(*words)]
    subprocess.run(command, cwd=shell.folder, env=environment(), check=True, timeout=PATIENCE)
    assert shell.done("verify").status == 0


def test_options_of_the_queue_may_stand_before_the_command(anywhere: Shell) -> None:
    url = f"lmdb://{anywhere.folder}/a"
    command = [*COMMAND, "--url", url, "enqueue", "mail"]
    subprocess.run(command, env=environment(), cwd=anywhere.folder, check=True, stdin=subprocess.DEVNULL)
    assert (anywhere.folder / "a").is_dir()
    assert anywhere.done("topics", "--url", url).lines[1].split()[0] == "mail"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("enqeue",), "jobq: No such command 'enqeue'. Did you mean 'enqueue'? See 'jobq --help'."),
        (("--verson",), "jobq: No such option '--verson'. Did you mean '--version'? See 'jobq --help'."),
        (("show", "x"), "'x' is no job id: write the number that enqueue printed, as 17. See 'jobq show --help'."),
    ],
)
def test_a_slip_is_said_in_one_line_with_what_was_meant(
    anywhere: Shell, arguments: tuple[str, ...], message: str
) -> None:
    assert anywhere.refused(2, *arguments).endswith(message)


def test_a_url_that_names_no_storage(anywhere: Shell) -> None:
    said = anywhere.refused(1, "topics", "--url", "postgres://me:secret@host/db")
    assert said.startswith("jobq: the scheme 'postgres' names no storage: jobq knows memory://")
    assert "secret" not in said


def test_a_file_that_is_no_queue(anywhere: Shell) -> None:
    (anywhere.folder / "file").write_text("x")
    assert "jobq: " in anywhere.refused(75, "topics", "--url", "lmdb:file")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("click", "the command line needs the package click"),
        ("rich", "this needs the package rich"),
        ("dotenv", "this needs the package python-dotenv"),
    ],
)
def test_without_what_it_needs_it_says_what_to_install(anywhere: Shell, name: str, said: str) -> None:
    if name == "dotenv":
        (anywhere.folder / ".env").write_text("JOBQ_URL=lmdb:jobs\n")
    script = (
        "import sys; sys.modules[sys.argv[1]] = None; sys.argv[1:] = ['topics'];"
        "import jobq; jobq.open('lmdb:jobq-data').enqueue('mail'); from jobq.cli import main; main()"
    )
    command = [sys.executable, "-c", script, name]
    ended = subprocess.run(command, cwd=anywhere.folder, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"jobq: {said}: pip install 'jobq[cli]'"


BUG = """
import sys
from jobq.cli.running import run
from jobq.cli import looking
def broken(svc): raise KeyError("a bug")
looking.JobService.topics = broken
sys.exit(run(sys.argv[1:]))
"""


def test_a_bug_is_one_line_and_shows_where_it_is_with_debug(anywhere: Shell) -> None:
    for more, lines in (([], 1), (["--debug"], None)):
        command = [sys.executable, "-c", BUG, "topics", "--url", "memory://", *more]
        ended = subprocess.run(command, cwd=anywhere.folder, env=environment(), capture_output=True, text=True)
        assert ended.returncode == 1
        assert ended.stderr.endswith("jobq: KeyError: 'a bug' (--debug shows where)\n")
        assert ("Traceback" in ended.stderr) is bool(more)
        assert lines is None or len(ended.stderr.splitlines()) == lines


def test_who_has_read_enough_is_no_failure_to_speak_of(anywhere: Shell) -> None:
    url = f"lmdb://{anywhere.folder}/jobs?sync=off"
    with jobq.open(url) as svc:
        svc.enqueue_many([jobq.NewJob("mail", name="x" * 200) for _ in range(5_000)])
    command = [*COMMAND, "list", "--url", url, "--limit", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(), cwd=anywhere.folder, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 141
