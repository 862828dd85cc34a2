"""The payloads of `jobq enqueue`: an argument, or what is read, of which never more is kept than a job may have."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from jobq.errors import PayloadTooLarge
from jobq.model.options import Limits

BATCH = 1_000
CHUNK = 1024 * 1024
"""A batch of lines is so many jobs at the most, and what is read at once, in bytes."""


def single(argument: str | None, file: Path | None, limits: Limits) -> bytes:
    """The payload of one job; arguments are bytes that need not be text.

    Raises PayloadTooLarge before all is read, which may have no end; OSError if the file cannot be opened, and
    ClickException if it cannot be read.
    """
    if file is None and argument != "-" and (argument is not None or not _is_piped_in()):
        return os.fsencode(argument or "")
    read = bytearray()
    with source(file) as opened:
        while chunk := _read(opened):
            read += chunk
            _check_size(read, limits)
    return bytes(read)


@contextmanager
def source(file: Path | None) -> Iterator[BinaryIO]:
    """What is read: a file, or standard input."""
    if file is None:
        yield sys.stdin.buffer
    else:
        with file.open("rb") as opened:
            yield opened


def batches(opened: BinaryIO, limits: Limits) -> Iterator[list[bytes]]:
    """The lines without their ends, in batches: what is there, but bounded, so that a slow pipe holds up none.

    Raises PayloadTooLarge for a line that does not end; ClickException if there is nothing to read from.
    """
    rest = b""
    while chunk := _read(opened):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from _parts([line.removesuffix(b"\r") for line in lines], limits)
        _check_size(rest, limits)
    if rest:
        yield [rest]


def _parts(lines: list[bytes], limits: Limits) -> Iterator[list[bytes]]:
    """Lines in parts that one call may enqueue."""
    most = min(BATCH, limits.batch)
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and (len(part) == most or size + len(line) > limits.batch_bytes):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield part


def _read(opened: BinaryIO) -> bytes:
    """Some bytes, as soon as there are any; none at the end."""
    try:
        return os.read(opened.fileno(), CHUNK)
    except OSError as problem:
        what = "standard input" if opened is sys.stdin.buffer else opened.name
        raise click.ClickException(f"{what} cannot be read: {problem.strerror}") from problem


def _check_size(read: bytes | bytearray, limits: Limits) -> None:
    if len(read) > limits.payload:
        raise PayloadTooLarge(
            f"the payload is over the limit of {limits.payload} bytes: store it elsewhere and enqueue its address, or "
            "raise limits.payload in jobq.toml"
        )


def _is_piped_in() -> bool:
    """Whether standard input is a pipe or a file; what services and cron give is neither, and may never end."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
