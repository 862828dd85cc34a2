"""What the tests of the documents read of shell commands."""

from __future__ import annotations

import click
import pytest

from tests.shell_lines import simple_commands
from tests.test_readme import assert_parsed


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("jobq topics  # all", [["jobq", "topics"]]),
        ("A=1 JOBQ_URL=lmdb:x jobq topics", [["jobq", "topics"]]),
        ("export JOBQ_URL=lmdb:x", []),
        ("jobq dead --json | jq '.id | 1' | head", [["jobq", "dead", "--json"], ["jq", ".id | 1"], ["head"]]),
        ("jobq list > out.txt 2>/dev/null && echo ok", [["jobq", "list"], ["echo", "ok"]]),
        ("jobq list >> out 2>&1; jobq topics", [["jobq", "list"], ["jobq", "topics"]]),
        ("jobq list --json | xargs -r jobq reset -y", [["jobq", "list", "--json"],
                                                       ["xargs", "-r", "jobq", "reset", "-y"],
                                                       ["jobq", "reset", "-y", "1"]]),
        ('eval "$(jobq completion bash)"', [["jobq", "completion", "bash"], ["eval", "1"]]),
        ("id=$(jobq enqueue mail)", [["jobq", "enqueue", "mail"]]),
        ("jobq enqueue mail \\\n  --delay 1h", [["jobq", "enqueue", "mail", "--delay", "1h"]]),
        ('jobq show "$id" > ${file}', [["jobq", "show", "1"]]),
        ("sudo jobq topics &", [["jobq", "topics"]]),
        ("jobq enqueue mail < file", [["jobq", "enqueue", "mail"]]),
    ],
)  # fmt: skip
def test_commands_of_a_line(text: str, commands: list[list[str]]) -> None:
    assert list(simple_commands(text)) == commands


@pytest.mark.parametrize("line", ["topics", "--url lmdb:x list --status dead -n 5", "reset 1 2", "reset --help", "-h"])
def test_a_line_of_the_command_that_is_right(line: str) -> None:
    assert assert_parsed(line.split()) == line.split()


@pytest.mark.parametrize(
    "line", ["", "topic", "topics --jsn", "list --status gone", "show", "show x", "pause", "show 1 2"]
)
def test_a_line_of_the_command_that_is_wrong(line: str) -> None:
    with pytest.raises(click.UsageError):
        assert_parsed(line.split())
