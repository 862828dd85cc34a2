"""`jobq metrics`: what Prometheus reads."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from jobq.cli.parameters import Parsed
from jobq.cli.target import Target, target_options

if TYPE_CHECKING:
    from jobq.metrics import Address


def _parse(text: str) -> Address:
    from jobq.metrics import parse_address  # here, as what it belongs to takes time to import

    return parse_address(text)


ADDRESS = Parsed("address", _parse)


@click.command()
@click.option("--listen", type=ADDRESS, metavar="ADDRESS", help="Serve them over HTTP, as at 127.0.0.1:9464.")
@target_options
@click.pass_obj
def metrics(target: Target, /, listen: Address | None) -> None:
    """Print the counters of all topics as Prometheus reads them, or serve them until it is stopped."""
    from jobq.metrics import registry_of, render, serve

    with target.open() as svc:
        if listen is None:
            sys.stdout.write(render(svc))
            return
        with serve(registry_of(svc), *listen) as server, stop_signal() as stopped:
            print(f"jobq: metrics of {svc.url} at {server.url}", file=sys.stderr, flush=True)
            stopped.wait()


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """What is set by SIGTERM and Ctrl-C, which end what runs until it is stopped."""
    stopped = threading.Event()
    former = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
