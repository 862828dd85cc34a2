"""What the documents say is true: their programs run and print what they say, their commands and links exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import click
import pytest

import jobq
from jobq.cli.commands import commands as jobq_commands
from tests.clocks import PATIENCE
from tests.shell_lines import simple_commands

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("JOBQ_")}
ENVIRONMENT["PYTHONPATH"] = str(Path(jobq.__file__).parent.parent)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

TOOLS = {"cat", "echo", "eval", "find", "gzip", "head", "jq", "printf", "seq", "sort", "tail", "wc", "xargs"}
"""Programs of others that shell commands of the documents may run."""

_BLOCK = re.compile(
    r"(<!-- continues -->\n)?^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
_SAID = re.compile(r"^ *print\(.*\)  +# (.*)$", re.MULTILINE)
_COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


_CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PROMPT = re.compile(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", re.MULTILINE)
MARK = "---- the next command ----"


class Program(NamedTuple):
    """The Python blocks of a document that are one program, and what they say that it prints."""

    where: str
    code: str
    printed: str


def programs(document: Path) -> list[Program]:
    """The programs of a document: a block, and the blocks behind it that are marked as going on from it.

    What a block prints is said in a block of text behind it, behind what comments at its lines `print(…)` say.
    """
    text = document.read_text()
    found: list[Program] = []
    for block in _BLOCK.finditer(text):
        continues, code, output = block.groups()
        printed = "".join(f"{said}\n" for said in _SAID.findall(code)) + (output or "")
        if continues:
            before = found.pop()
            found.append(Program(before.where, before.code + code, before.printed + printed))
        else:
            line = text.count("\n", 0, block.start()) + 1
            found.append(Program(f"{document.name}:{line}", code, printed))
    return found


ALL = [program for document in DOCUMENTS for program in programs(document)]
ENDLESS = [program for program in ALL if "    worker.run()" in program.code]
PROGRAMS = [program for program in ALL if program not in ENDLESS]
TESTS = [program for program in PROGRAMS if "\ndef test_" in program.code]


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, in a Python of its own, as a user would; a warning of Python's is an error."""
    file = folder / "example.py"
    file.write_text(code)
    command = [sys.executable, "-W", "error", file.name]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)


def ids(some: list[Program]) -> list[str]:
    return [program.where for program in some]


def commands(page: Path) -> list[list[str]]:
    """The shell commands of a page, in words."""
    return list(simple_commands("".join(_COMMANDS.findall(page.read_text()))))


@pytest.mark.parametrize("program", PROGRAMS, ids=ids(PROGRAMS))
def test_a_program_prints_what_the_document_says(program: Program, tmp_path: Path) -> None:
    outcome = run(program.code, tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout == program.printed


@pytest.mark.parametrize("program", TESTS, ids=ids(TESTS))
def test_a_test_that_the_document_shows_passes(program: Program, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=program.code)
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=program.code.count("\ndef test_"))


@pytest.mark.parametrize("program", ENDLESS, ids=ids(ENDLESS))
def test_a_worker_that_the_document_shows_works_until_it_is_stopped(program: Program, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(program.code)
    command = [sys.executable, "-W", "error", "work.py"]
    pipe = subprocess.PIPE
    with (
        jobq.open(f"lmdb://{tmp_path}/queue") as svc,
        subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True) as process,
    ):
        try:
            svc.wait_for(svc.enqueue("mail", name="welcome", payload="ada@example.org"), timeout=PATIENCE)
            process.terminate()
            assert process.communicate(timeout=PATIENCE) == ("welcome, ada@example.org\n", "")
        finally:
            process.kill()
    assert process.returncode == 0


SESSIONS = [
    pytest.param(session, id=f"{page.name}:{number}")
    for page in DOCUMENTS
    for number, session in enumerate(_CONSOLE.findall(page.read_text()))
]


@pytest.mark.parametrize("session", SESSIONS)
def test_a_session_in_a_shell_prints_what_the_document_says(session: str, tmp_path: Path) -> None:
    """What a document shortens by … may be anything within a line."""
    steps = [(command.replace("\n> ", "\n"), said) for command, said in _PROMPT.findall(session)]
    assert "".join(step[0] for step in _PROMPT.finditer(session)) == session
    (tmp_path / "jobq").write_text(f'#!/bin/sh\nexec {sys.executable} -m jobq "$@"\n')
    (tmp_path / "jobq").chmod(0o755)
    environment = ENVIRONMENT | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "NO_COLOR": "1"}
    script = "exec 2>&1\n" + f"echo '{MARK}'\n".join(command for command, _ in steps)
    done = subprocess.run(["bash"], input=script, cwd=tmp_path, env=environment, capture_output=True, text=True)
    printed = done.stdout.split(f"{MARK}\n")
    assert len(printed) == len(steps)
    for (command, said), real in zip(steps, printed, strict=True):
        pattern = ".*".join(map(re.escape, said.split("…")))
        assert re.fullmatch(pattern, real), f"{command} printed\n{real}"


def test_no_python_block_is_left_out() -> None:
    for document in DOCUMENTS:
        blocks = document.read_text().count("```python\n")
        assert len(_BLOCK.findall(document.read_text())) == blocks, document.name
    assert PROGRAMS[0].where.startswith("README.md")
    assert TESTS
    assert ENDLESS
    assert SESSIONS


def test_the_first_program_of_the_readme_is_short_and_works_again_in_the_same_folder(tmp_path: Path) -> None:
    first = PROGRAMS[0]
    assert len([line for line in first.code.splitlines() if line]) <= 10
    assert [run(first.code, tmp_path).stdout for _ in range(2)] == [first.printed] * 2
    assert (tmp_path / "queue").is_dir()


def test_the_first_program_of_the_readme_works_when_pasted_into_the_interpreter(tmp_path: Path) -> None:
    session = subprocess.run(
        [sys.executable, "-i"],
        input=PROGRAMS[0].code + "\n",
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert PROGRAMS[0].printed in session.stdout
    assert "Error" not in session.stderr


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_commands_exist(page: Path) -> None:
    for program, *arguments in commands(page):
        assert [word for word in arguments if word.endswith(".py") and not (ROOT / word).is_file()] == []
        if program == "jobq":
            assert_parsed(arguments)
        elif program == "pip":
            assert_installable(arguments[-1])
        elif program.startswith(".venv/bin/"):
            assert (Path(sys.executable).parent / Path(program).name).exists(), program
        elif program not in TOOLS:
            assert program.startswith("scripts/"), program
            assert os.access(ROOT / program, os.X_OK), program


def assert_parsed(arguments: list[str]) -> list[str]:
    """Arguments of `jobq` that its parser takes; nothing is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click.Command, "invoke", lambda command, context: None)
        jobq_commands.main(list(arguments), "jobq", standalone_mode=False)
    return arguments


def assert_installable(requirement: str) -> None:
    """The project, or its checkout, with extras that there are."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    name, *extras = re.split(r"[\[\],]", requirement.rstrip("]"))
    assert name in (project["name"], ".")
    assert set(extras) <= set(project["optional-dependencies"])


def test_the_readme_names_both_commands() -> None:
    named = {word for words in commands(DOCUMENTS[0]) for word in words}
    assert {"scripts/demo", "scripts/test"} <= named


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_to_files(page: Path) -> None:
    targets = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[([0-9][^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == jobq.__version__


def test_the_picture_is_well_formed_and_says_what_it_shows() -> None:
    picture = ElementTree.parse(ROOT / "design.svg").getroot()
    names = {"svg": "http://www.w3.org/2000/svg"}
    texts = " ".join("".join(text.itertext()) for text in picture.iterfind(".//svg:text", names))
    for word in ("Ready", "Delayed", "Reserved", "Done", "Canceled", "JobService", "JobRepository", "TopicRepository"):
        assert word in texts
    assert picture.findtext("svg:title", namespaces=names)
    assert picture.findtext("svg:desc", namespaces=names)
