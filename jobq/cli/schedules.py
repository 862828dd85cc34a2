"""`jobq schedules`: what workers enqueue at its time."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from jobq.cli.parameters import json_option
from jobq.cli.printing import Rows, local, print_json, short, styled
from jobq.cli.statuses import NothingThere
from jobq.cli.target import Target, target_options
from jobq.service import JobService

if TYPE_CHECKING:
    from jobq.tasks import Schedules


@click.group(invoke_without_command=True, subcommand_metavar="[COMMAND] [ARGS]...")
@json_option
@target_options
@click.pass_context
def schedules(context: click.Context, as_json: bool) -> None:
    """List the schedules that workers have installed; pause, resume or remove one."""
    if context.invoked_subcommand is not None:
        return
    with context.ensure_object(Target).open() as svc:
        found = _of(svc).list()
    if not found:
        raise NothingThere("there is no schedule: a worker installs those of its tasks, @tasks.every(…), as it begins")
    if as_json:
        for one in found:
            print_json({name: value for name, value in asdict(one).items() if name != "is_known"})
        return
    table = Rows("name", "task", "every", "timezone", "next", "last", "")
    table.add(
        [
            one.name,
            one.task,
            one.spec if isinstance(one.spec, str) else short(one.spec),
            one.timezone,
            local(one.next_at),
            local(one.last_at),
            styled("paused" if one.paused else ""),
        ]
        for one in found
    )


def _of(svc: JobService) -> Schedules:
    from jobq.tasks import Schedules  # here, as help needs no tasks

    return Schedules(svc)


@schedules.command()
@click.argument("name")
@target_options
@click.pass_obj
def pause(target: Target, /, name: str) -> None:
    """Let the ticks of a schedule pass, until it is resumed."""
    with target.open() as svc:
        _of(svc).pause(name)
    print(f"paused {name}")


@schedules.command()
@click.argument("name")
@target_options
@click.pass_obj
def resume(target: Target, /, name: str) -> None:
    """Let a paused schedule go on with the ticks after now."""
    with target.open() as svc:
        _of(svc).resume(name)
    print(f"resumed {name}")


@schedules.command()
@click.argument("name")
@target_options
@click.pass_obj
def remove(target: Target, /, name: str) -> None:
    """Forget a schedule; a worker that has it in its code installs it anew as it begins."""
    with target.open() as svc:
        _of(svc).remove(name)
    print(f"removed {name}")
