"""Shell commands as documents show them: what is run, in which words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_VARIABLE = re.compile(r"\$\w+|\$\{\w+\}")
_STREAM = re.compile(r"(?<=\s)\d(?=[<>])")
"""The number in `2>`."""
_ASSIGNMENT = re.compile(r"[A-Za-z_]+=\S*", re.DOTALL)
BETWEEN = {"|", "||", "&&", ";", "&"}
"""What stands between two commands."""
BEFORE = {"sudo", "exec", "time", "nohup"}
"""What is followed by the command that it runs."""


def simple_commands(text: str) -> Iterator[list[str]]:
    """The commands of some lines, each in words: those of a pipe, of `xargs` and within `$(…)`, too.

    Redirections, comments and settings of variables before a command are left out. A variable, or what a command within
    prints, is taken to be 1.
    """
    for line in text.replace("\\\n", " ").splitlines():
        for inner in _SUBSTITUTION.findall(line):
            yield from simple_commands(inner)
        yield from _commands_of(_VARIABLE.sub("1", _SUBSTITUTION.sub("1", line)))


def _commands_of(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(_STREAM.sub("", line), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    is_target = False
    for word in [*lexer, ";"]:
        if word in BETWEEN:
            yield from _run_by(words)
            words = []
        elif set(word) <= set("<>&"):
            is_target = True
        elif is_target:
            is_target = False
        else:
            words.append(word)


def _run_by(words: list[str]) -> Iterator[list[str]]:
    """A command and what it runs itself."""
    while words and (words[0] in BEFORE or _ASSIGNMENT.fullmatch(words[0])):
        words = words[1:]
    if not words or words[0] == "export":
        return
    yield words
    if words[0] == "xargs":
        rest = [number for number, word in enumerate(words) if number and not word.startswith("-")]
        if rest:
            yield [*words[rest[0] :], "1"]
