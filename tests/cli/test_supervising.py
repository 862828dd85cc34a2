"""Runs of programs where the system has less than Linux has, and what signals do before and behind them."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from typing import NoReturn

import pytest

from jobq.cli.supervising import Ended, Run


def program(text: str, payload: bytes = b"") -> Run:
    shell = shutil.which("sh")
    assert shell is not None
    return Run(["sh", "-c", text], shell, {**os.environb}, payload)


def refuse(*arguments: object) -> NoReturn:
    raise OSError("there is no such call")


def only_linux_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pidfd_open", "memfd_create"):
        monkeypatch.delattr(os, name)


def a_sandbox_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pidfd_open", "memfd_create"):
        monkeypatch.setattr(os, name, refuse)


@pytest.mark.parametrize("lack", [only_linux_has, a_sandbox_refuses])
def test_a_system_that_has_less(monkeypatch: pytest.MonkeyPatch, lack: Callable[[pytest.MonkeyPatch], None]) -> None:
    lack(monkeypatch)
    assert program("cat >&2; exit 3", b"payload").to_its_end() == Ended(3, b"payload")
    assert program("exec 2>&-; exit 4").to_its_end() == Ended(4, b"")


def test_who_has_no_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert program("echo said >&2").to_its_end() == Ended(0, b"said\n")


def test_a_signal_before_the_beginning_keeps_it_from_that() -> None:
    run = program("exit 3")
    run.signal(signal.SIGTERM)
    assert run.to_its_end() is None


def test_a_signal_behind_the_end_is_for_nobody() -> None:
    run = program("exit 3")
    assert run.to_its_end() == Ended(3, b"")
    run.signal(signal.SIGKILL)
    assert run.to_its_end() is None


def test_a_signal_is_for_the_whole_group() -> None:
    read, write = os.pipe()
    run = program(f"sleep 1000 & echo begun >/proc/{os.getpid()}/fd/{write}; wait")
    ends: list[Ended | None] = []
    thread = threading.Thread(target=lambda: ends.append(run.to_its_end()))
    thread.start()
    assert os.read(read, 6) == b"begun\n"
    run.signal(signal.SIGTERM)
    thread.join()
    os.close(read)
    os.close(write)
    assert ends == [Ended(-signal.SIGTERM, b"")]
