"""The page docs/cli.md, made from the parser: `python -m jobq.cli.manual > docs/cli.md`.

What people wrote around it is in manual.md, beside this file.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill

import click

from jobq.cli.commands import SECTIONS, commands

PAGE = Path(__file__).with_name("manual.md")
WIDTH = 140
TABLE, COMMON, COMMANDS = "<!-- table of commands -->\n", "<!-- common options -->\n", "<!-- commands -->\n"
"""What the page has where the parts that are made go."""


def manual() -> str:
    """The whole page."""
    context = _context(commands, "jobq", None)
    parts = {
        TABLE: _lines(_table(context)),
        COMMON: _lines(_options(commands.get_params(context), context)),
        COMMANDS: _lines(line for name in commands.list_commands(context) for line in _command(name, context, 3)),
    }
    text = PAGE.read_text(encoding="utf-8")
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, show_default=True, **command.context_settings)


def _child(name: str, context: click.Context) -> click.Context:
    """The context of a command of a group."""
    group = context.command
    command = group.get_command(context, name) if isinstance(group, click.Group) else None
    if command is None:
        raise LookupError(f"{context.command_path} has no command {name}")
    return _context(command, name, context)


def _table(context: click.Context) -> Iterator[str]:
    """All commands by the sections of the help, and what they are for."""
    yield "| | command | |"
    yield "|---|---|---|"
    for title, names in SECTIONS.items():
        for number, name in enumerate(names):
            purpose = _paragraphs(_child(name, context).command)[0]
            yield f"| {'' if number else title} | [{name}](#jobq-{name}) | {_cell(purpose)} |"


def _command(name: str, parent: click.Context, level: int) -> Iterator[str]:
    """A command with its arguments and options, and, if it is a group, with its own commands behind it."""
    context = _child(name, parent)
    command = context.command
    yield f"{'#' * level} {context.command_path}"
    yield ""
    yield "```text"
    yield " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield "```"
    for paragraph in _paragraphs(command):
        yield fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)
        yield ""
    common = {_what(option) for option in parent.find_root().command.get_params(parent.find_root())}
    own = [parameter for parameter in command.get_params(context) if _what(parameter) not in common]
    if described := list(_options(own, context)):
        yield from described
        yield ""
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _command(inner, context, level + 1)


def _what(parameter: click.Parameter) -> tuple[str, ...]:
    """What tells whether two commands have the same option."""
    return (*parameter.opts, getattr(parameter, "help", None) or "")


def _options(parameters: Sequence[click.Parameter], context: click.Context) -> Iterator[str]:
    """A table of those parameters that are described."""
    records = [record for one in parameters if (record := one.get_help_record(context)) and record[1]]
    if not records:
        return
    yield "| option | |"
    yield "|---|---|"
    for name, text in records:
        yield f"| `{_cell(name)}` | {_cell(text)} |"


def _paragraphs(command: click.Command) -> list[str]:
    """The help of a command, each paragraph on one line."""
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _cell(text: str) -> str:
    """Text in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(manual())
