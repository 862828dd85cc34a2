"""What mypy and pyright see of tasks: the programs in `typing/`, one that is right and one that is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clocks import PATIENCE

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "typing"
BIN = Path(sys.executable).parent

Check = Callable[..., list[tuple[str, int]]]

_MARK = re.compile(r"  # type: ignore\[.*\]$")


def run(*command: str) -> str:
    """What a checker says of files; it knows the project as it is in this checkout."""
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE)
    assert done.returncode in (0, 1), done.stderr  # 1: there are errors
    return done.stdout


def mypy(*files: Path) -> list[tuple[str, int]]:
    output = run(str(BIN / "mypy"), *map(str, files))
    return [(Path(file).name, int(line)) for file, line in re.findall(r"^(.*?):(\d+): error", output, re.MULTILINE)]


def pyright(*files: Path) -> list[tuple[str, int]]:
    output = json.loads(run(str(BIN / "pyright"), "--outputjson", "--pythonpath", sys.executable, *map(str, files)))
    return [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        for one in output["generalDiagnostics"]
        if one["severity"] == "error"
    ]


@pytest.mark.parametrize("check", [mypy, pyright], ids=["mypy", "pyright"])
def test_a_checker_sees_each_wrong_argument_and_nothing_else(check: Check, tmp_path: Path) -> None:
    """The marks in the wrong program, which say what is expected, are taken away first."""
    lines = (PROGRAMS / "wrong.py").read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if _MARK.search(line)}
    (tmp_path / "wrong.py").write_text("\n".join(_MARK.sub("", line) for line in lines) + "\n")
    assert len(marked) > 20
    assert set(check(tmp_path / "wrong.py", PROGRAMS / "right.py")) == {("wrong.py", number) for number in marked}
