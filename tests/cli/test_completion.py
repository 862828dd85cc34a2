"""`jobq completion`: the scripts in real shells. bash is always tested, zsh and fish where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from jobq.cli.commands import MODULES
from tests.cli.commands import Shell
from tests.cli.terminal import terminal
from tests.clocks import PATIENCE

INTERACTIVE = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SETUP = {
    "bash": "PS1='$ '; eval \"$(jobq completion bash)\"",
    "zsh": "PS1='$ '; autoload -U compinit; compinit -D -u; eval \"$(jobq completion zsh)\"",
    "fish": "function fish_prompt; echo '$ '; end; jobq completion fish | source",
}
INSTALLED = ["bash", *(shell for shell in ("zsh", "fish") if shutil.which(shell))]

TRY = """
eval "$(jobq completion bash)"
COMP_LINE=$1 COMP_POINT=${#1}
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_jobq_completion jobq
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""Ask bash's function as bash does: the line first, then the words that bash makes of it."""


@pytest.fixture
def queue(shell: Shell) -> Shell:
    """A folder with a queue of three topics, which jobq.toml names."""
    with shell.queue() as svc:
        for topic in ("mail", "web:pages", "web:pictures"):
            svc.enqueue(topic)
    (shell.folder / "jobq.toml").write_text(f'url = "{shell.url}"\n')
    return shell


def complete(shell: Shell, path: dict[str, str], line: str, *words: str) -> list[str]:
    """What bash is given for a line that it breaks into these words."""
    command = ["bash", "--norc", "-c", TRY, "bash", line, *words]
    done = subprocess.run(command, cwd=shell.folder, env=path, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash_completes_commands_options_and_choices(queue: Shell, path: dict[str, str]) -> None:
    assert complete(queue, path, "jobq enq", "jobq", "enq") == ["enqueue"]
    assert complete(queue, path, "jobq ", "jobq", "") == list(MODULES)
    assert complete(queue, path, "jobq list --sta", "jobq", "list", "--sta") == ["--status"]
    assert complete(queue, path, "jobq list --status de", "jobq", "list", "--status", "de") == ["delayed", "dead"]
    assert complete(queue, path, "", "jobq", "enq") == ["enqueue"]


def test_bash_completes_topics_of_the_queue(queue: Shell, path: dict[str, str]) -> None:
    assert complete(queue, path, "jobq stats ", "jobq", "stats", "") == ["mail", "web:pages", "web:pictures"]
    assert complete(queue, path, "jobq pause mail we", "jobq", "pause", "mail", "we") == ["web:pages", "web:pictures"]
    assert complete(queue, path, "jobq list --topic m", "jobq", "list", "--topic", "m") == ["mail"]


def test_bash_breaks_words_at_colons_and_is_given_the_rest(queue: Shell, path: dict[str, str]) -> None:
    assert complete(queue, path, "jobq stats web:", "jobq", "stats", "web", ":") == ["pages", "pictures"]
    assert complete(queue, path, "jobq stats web:pa", "jobq", "stats", "web", ":", "pa") == ["pages"]
    words = ("jobq", "list", "--topic", "=", "web", ":", "pi")
    assert complete(queue, path, "jobq list --topic=web:pi", *words) == ["pictures"]


def test_bash_completes_topics_of_the_url_in_the_line(tmp_path: Path, path: dict[str, str]) -> None:
    shell = Shell(tmp_path, "lmdb:other")
    shell.done("enqueue", "elsewhere")
    words = ("--url", "lmdb", ":", "other", "stats", "e")
    assert complete(shell, path, "jobq --url lmdb:other stats e", "jobq", *words) == ["elsewhere"]


@pytest.mark.parametrize("text", [None, 'url = "lmdb:absent"', "broken"])
def test_a_queue_that_cannot_be_opened_completes_nothing_and_says_nothing(
    tmp_path: Path, path: dict[str, str], text: str | None
) -> None:
    if text is not None:
        (tmp_path / "jobq.toml").write_text(text)
    assert complete(Shell(tmp_path, None), path, "jobq stats ", "jobq", "stats", "") == []
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("name", INSTALLED)
def test_the_tab_key(queue: Shell, path: dict[str, str], name: str) -> None:
    with terminal(INTERACTIVE[name], queue.folder, path) as screen:
        screen.type(f" {SETUP[name]}; clear; echo re''ady\r")
        screen.wait_for("ready")
        screen.type("jobq sta\t")
        screen.wait_for("jobq stats")
        screen.type("web:pa\t")
        screen.wait_for("jobq stats web:pages")
        screen.type("\r")
        screen.wait_for("enqueued so far")
        screen.type("exit\r")
        assert screen.end() == 0


def test_a_shell_that_it_does_not_know_is_refused(shell: Shell) -> None:
    said = Shell(shell.folder, None).refused(2, "completion", "tcsh")
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'." in said
