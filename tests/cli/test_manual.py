"""docs/cli.md is what the parser says now, and its first session does what is written there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from jobq.cli.commands import MODULES, Commands, commands
from jobq.cli.manual import manual
from tests.cli.commands import ROOT
from tests.clocks import PATIENCE

PAGE = ROOT / "docs" / "cli.md"
_SESSION = re.compile(r"^```sh\n([^`]*)^```\n```text\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_page_is_what_the_parser_says_now() -> None:
    assert PAGE.read_text() == manual(), "make it anew: python -m jobq.cli.manual > docs/cli.md"


def test_all_parts_are_made() -> None:
    assert re.findall(r"<!--.*-->", manual().partition("\n")[2]) == []


@pytest.mark.parametrize("name", MODULES)
def test_each_command_is_there_with_all_its_options(name: str) -> None:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    section = manual().partition(f"### jobq {name}\n")[2].partition("\n### ")[0]
    options = [option for one in command.params if isinstance(one, click.Option) for option in one.opts]
    everywhere = [option for one in commands.params for option in one.opts]
    assert [option for option in options if option not in everywhere and option not in section] == []
    assert f"[{name}](#jobq-{name})" in manual()


def test_commands_of_a_group_stand_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.group()
    def schedules() -> None:
        """Look at schedules."""

    @schedules.command("pause")
    @click.argument("name")
    @click.option("--for", "for_", default=3, help="How long, a|b.")
    def _pause(name: str, for_: int) -> None:
        """Let the ticks of one pass."""

    monkeypatch.setattr(Commands, "get_command", lambda self, context, name: schedules)
    section = manual().partition("\n### jobq list\n")[2].partition("\n### ")[0]
    assert "Look at schedules." in section
    assert (
        "#### jobq list pause\n\n```text\njobq list pause [OPTIONS] NAME\n```\nLet the ticks of one pass.\n" in section
    )
    assert "| `--for INTEGER` | How long, a\\|b. [default: 3] |" in section


def test_the_first_session_prints_what_the_page_says(tmp_path: Path, path: dict[str, str]) -> None:
    [(session, printed)] = _SESSION.findall(PAGE.read_text())
    done = subprocess.run(
        ["bash", "-e", "-c", session], cwd=tmp_path, env=path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", printed)
