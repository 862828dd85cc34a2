"""A disk that is full for real, a small tmpfs: verbs say so, nothing acknowledged is lost, no process dies of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobq import StorageError, StorageFull
from jobq.repos.lmdb.failures import system_error, translated
from tests.lmdb import namespaces
from tests.lmdb.namespaces import MOUNT

ACT = """
import sys, pathlib
from tests.lmdb.small_disk import ACTS
ACTS[sys.argv[1]](pathlib.Path(sys.argv[2]), *sys.argv[3:])
"""


def act(tmp_path: Path, name: str, *arguments: str) -> str:
    """What an act of small_disk prints, on a disk of its own that nobody else sees."""
    shell = f"mount -t tmpfs -o size=8m none {tmp_path}"
    return namespaces.run(MOUNT, ACT, name, tmp_path, *arguments, shell=shell)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_and_a_full_quota_are_storage_full(tmp_path: Path, code: int) -> None:
    problem = OSError(code, os.strerror(code))
    assert isinstance(translated(problem, str(tmp_path)), StorageFull)
    assert isinstance(system_error(problem, "x cannot be written"), StorageFull)


@pytest.mark.parametrize(("blocks_left", "error"), [(10, StorageFull), (10**6, StorageError)])
def test_an_input_output_error_is_a_full_disk_only_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks_left: int, error: type[StorageError]
) -> None:
    """LMDB says so of a write that the system cut short."""
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_blocks=10**7, f_bavail=blocks_left, f_frsize=4096))
    assert type(translated(OSError(errno.EIO, "Input/output error"), str(tmp_path))) is error


@pytest.mark.parametrize("sync", ["full", "normal", "off"])
def test_a_queue_whose_disk_is_filled_loses_nothing_and_goes_on_when_there_is_room(tmp_path: Path, sync: str) -> None:
    assert act(tmp_path, "work", sync) == "full done\n"


def test_a_reader_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    assert act(tmp_path, "read") == "1024 readers\n"


def test_a_queue_that_could_not_be_made_on_a_full_disk_is_made_later(tmp_path: Path) -> None:
    assert act(tmp_path, "make") == "refused\njobq.json\n"


def test_jobq_json_stays_whole_on_a_full_disk(tmp_path: Path) -> None:
    said, *then = act(tmp_path, "take_over").splitlines()
    assert said == f"{tmp_path}/jobs/jobq.json cannot be written, as the disk is full: make room on it"
    assert then == ["True False", "1"]
