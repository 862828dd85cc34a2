"""The group of all commands. The module of one is imported when it is called, or when help is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

import jobq
from jobq.cli.statuses import Interrupted, ReaderGone
from jobq.cli.target import target_options

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Work": {"enqueue": "enqueue", "worker": "worker"},
    "Look": {
        **dict.fromkeys(("topics", "stats", "list", "show", "logs", "dead"), "looking"),
        "watch": "watch",
    },
    "Change": {
        **dict.fromkeys(("cancel", "reset", "reschedule", "delete"), "changing"),
        **dict.fromkeys(("prune", "clear", "pause", "resume"), "sweeping"),
    },
    "Keep up": {
        **dict.fromkeys(("info", "verify", "backup", "compact"), "upkeep"),
        "schedules": "schedules",
        "metrics": "metrics",
        "move": "move",
        "completion": "completion",
    },
}
"""Where each command is, by the section of the help that it stands in: its name, and the module it is in."""

MODULES = {name: module for section in SECTIONS.values() for name, module in section.items()}


ATTRIBUTES = {"list": "list_"}
"""What a command is called in its module where Python has that name for something else."""


LONGEST_HELP = 200
"""Characters of what a command is for, which is wrapped in the help of all, and not to be cut."""


class Commands(click.Group):
    """A group that knows where its commands are."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click.Group."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click.Group; a command is the attribute of its module that has its name."""
        module = MODULES.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(f"jobq.cli.{module}"), ATTRIBUTES.get(cmd_name, cmd_name))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click.Group, which looks for what was meant among commands that are imported."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as problem:
            raise click.NoSuchCommand(problem.command_name, possibilities=MODULES, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Group, which would begin a line on stderr at Ctrl-C, and end the program at a closed pipe."""
        try:
            return super().invoke(ctx)
        except click.UsageError as problem:
            if problem.ctx is None and ctx.invoked_subcommand:  # as of an option without its value
                problem.ctx = click.Context(self, parent=ctx, info_name=ctx.invoked_subcommand)
            raise
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except BrokenPipeError:
            raise ReaderGone from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Group."""
        for title, section in SECTIONS.items():
            rows = [
                (name, command.get_short_help_str(LONGEST_HELP))
                for name in section
                if (command := self.get_command(ctx, name))
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 refused or failed, 2 usage, 75 nothing there. Durations: 90, 1.5s, 10m, 2h, 7d.",
)
@target_options
@click.version_option(jobq.__version__, prog_name="jobq")
def commands() -> None:
    """A job queue without a server: enqueue jobs, run workers, look at what there is."""
