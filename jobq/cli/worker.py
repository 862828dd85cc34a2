"""`jobq worker`: runs the tasks, or the worker, of a program; or another program for each job."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from jobq.cli.metrics import ADDRESS
from jobq.cli.parameters import DURATION, TOPIC
from jobq.cli.reporting import LEVELS, report
from jobq.cli.target import Target, target_options
from jobq.cli.telemetry import Tracing, measured, tracing

if TYPE_CHECKING:
    from jobq.metrics import Address

EXEC = "--exec"
OF_PROGRAMS = {"time_limit": "--time-limit"}
OF_OBJECTS = {"executor": "--executor", "max_jobs": "--max-jobs"}
"""Options that go with --exec alone, or with MODULE:OBJECT alone."""


class WorkerCommand(click.Command):
    """A command whose --exec takes all that stands behind it, whatever that looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command."""
        end = args.index(EXEC) + 2 if EXEC in args else len(args)
        rest = super().parse_args(ctx, args[:end])
        ctx.params["arguments"] = tuple(args[end:])
        return rest


@click.command(cls=WorkerCommand)
@click.argument("app", metavar="[MODULE:OBJECT]", required=False)
@click.option("--topic", "topics", type=TOPIC, multiple=True, help="Serve this topic; others may follow, in order.")
@click.option("--concurrency", "-c", type=click.IntRange(1, 10_000), help="How many jobs run at once; 1 unless set.")
@click.option("--executor", type=click.Choice(["thread", "process"]), help="Where handlers run; thread unless set.")
@click.option("--burst", is_flag=True, help="End as soon as nothing is left to do.")
@click.option("--lease", type=DURATION, help="How long jobs are reserved, and renewed; 30s unless set.")
@click.option("--grace", type=DURATION, help="How long running jobs have to end at SIGTERM or Ctrl-C; 30s unless set.")
@click.option("--max-jobs", type=click.IntRange(min=1), help="Replace a child process after so many jobs.")
@click.option("--time-limit", type=DURATION, help="How long a program of --exec may run.")
@click.option("--log-level", type=click.Choice(LEVELS), help="What is written to stderr; info unless set.")
@click.option("--metrics", type=ADDRESS, metavar="ADDRESS", help="Serve metrics for Prometheus, as at 127.0.0.1:9464.")
@click.option("--tracing", "is_traced", is_flag=True, help="Trace jobs by OpenTelemetry, as the environment says how.")
@click.option(EXEC, "program", metavar="PROG ARG…", help="Run a program for each job. It stands last.")
@target_options
@click.pass_obj
def worker(
    target: Target,
    /,
    app: str | None,
    program: str | None,
    arguments: Sequence[str],
    burst: bool,
    log_level: str | None,
    metrics: Address | None,
    is_traced: bool,
    **options: Any,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C.

    MODULE:OBJECT is a jobq.Worker or jobq.Tasks (or a list of Tasks), as shop.tasks:tasks for `tasks` in shop/tasks.py;
    modules are looked for in the current folder first. Topics are by default those of the tasks.

    With --exec a program is run for each job, never by a shell: the payload is its standard input, and JOBQ_JOB_ID,
    JOBQ_JOB_TOPIC, JOBQ_JOB_NAME and JOBQ_JOB_ATTEMPT are in its environment. Exit status 0 is done, 75 gives the job
    back for a while; after any other it is tried again, and the end of stderr is kept as its error.

    The first signal waits for running jobs, the second gives them back at once.
    """
    from jobq.cli import workers  # here, as help needs none of what runs jobs
    from jobq.cli.loading import load

    settings = target.settings()
    given = {name: value for name, value in options.items() if value not in (None, ())}
    setup = {name: value for name, value in settings.worker.items() if name != "app"} | given
    traces = tracing() if is_traced else Tracing()
    if program is not None:
        _refuse(app, given, OF_OBJECTS)
        limit = setup.pop("time_limit", None)
        suitable = {name: value for name, value in setup.items() if name not in OF_OBJECTS}  # the settings may say more
        made = workers.of_program(target, settings, [program, *arguments], limit, suitable, traces)
    else:
        app = app or settings.worker.get("app")
        if app is None:
            raise click.UsageError("Say what runs the jobs: MODULE:OBJECT, or --exec PROG ARG….")
        _refuse(None, given, OF_PROGRAMS)
        if settings.url is not None:  # it is then what jobq.open() opens, in the module and in its child processes
            os.environ.update(target.environment(settings))
        made = workers.of_object(target, settings, load(app), app, setup, traces)
    report(log_level)
    with made as found, measured(found, metrics):
        traces.tell_if_in_vain()
        found.run(burst=burst)


def _refuse(app: str | None, given: Mapping[str, Any], others: Mapping[str, str]) -> None:
    """Refuse what does not go with what is run."""
    if app is not None:
        raise click.UsageError(f"Jobs are run by MODULE:OBJECT, here {app}, or by --exec: give one of them.")
    for name, option in others.items():
        if name in given:
            suitable = EXEC if others is OF_PROGRAMS else "MODULE:OBJECT"
            raise click.UsageError(f"{option} goes with {suitable}.")
