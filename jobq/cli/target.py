"""Which queue a command is for: the options that every command takes, the environment and the file of settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from jobq.cli.dotfile import read_dotfile
from jobq.opening import open as open_service
from jobq.service import JobService
from jobq.settings import Settings, absolute_url, read_settings

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "lmdb:jobq-data"


@dataclass
class Target:
    """What the command line says of the queue; each command gets it as its first argument.

    url: of the storage; queue: which one of the file; config: the file. None: what the settings say. debug: whether
    failures show where they come from.
    """

    url: str | None = None
    queue: str | None = None
    config: Path | None = None
    debug: bool = False

    def settings(self) -> Settings:
        """The settings that hold. Raises ConfigError."""
        # A variable of this process goes before the same one of the file, also if it is empty.
        environment = {**read_dotfile(Path(".env")), **os.environ}
        return read_settings(environment, Path.cwd(), url=self.url, queue=self.queue, config=self.config)

    def open(self, *, create: bool = False, settings: Settings | None = None, **more: Any) -> JobService:
        """Open the queue. create: make it if there is none. settings: those that were read already. more: see open.

        Raises StorageNotFound if there is none, and what `jobq.open` raises.
        """
        found = settings or self.settings()
        if found.url is None:
            _tell_default()
        return open_service(
            found.url or DEFAULT_URL,
            defaults=found.defaults,
            topic_defaults=found.topic_defaults,
            limits=found.limits,
            create=create,
            **more,
        )

    def environment(self, settings: Settings) -> Mapping[str, str]:
        """The variables by which commands in any folder mean the same queue, and read the same file."""
        named = {"JOBQ_URL": absolute_url(settings.url or DEFAULT_URL, Path.cwd())}
        if self.queue:
            named["JOBQ_QUEUE"] = self.queue
        if self.config:
            named["JOBQ_CONFIG"] = str(self.config.absolute())
        return named


def _tell_default() -> None:
    where = Path(DEFAULT_URL.partition(":")[2]).absolute()
    print(
        f"jobq: neither --url nor JOBQ_URL nor jobq.toml names a queue: it is {DEFAULT_URL}, {where}", file=sys.stderr
    )


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value == "":  # as of a variable that is not set, where the default would be another queue
        raise click.BadParameter("it is empty: leave the option out, or give it a value.", context, parameter)
    if value and parameter.name:
        setattr(context.ensure_object(Target), parameter.name, value)


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_keep, help="Show where a failure comes from."
)


def target_options(function: F) -> F:
    """Add the options that say which queue is meant; what stands nearest to the command holds."""
    option = partial(click.option, expose_value=False, callback=_keep)
    function = debug_option(function)
    for added in (
        option("--config", type=click.Path(path_type=Path), metavar="FILE", help="A jobq.toml to read."),
        option("--queue", metavar="NAME", help="Which queue of jobq.toml is meant: [queues.NAME]."),
        option("--url", metavar="URL", help="Storage of the queue, as lmdb:jobs or lmdb:///var/lib/app/jobs."),
    ):
        function = added(function)
    return function
