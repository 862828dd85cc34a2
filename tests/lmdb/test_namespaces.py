"""Processes of one directory run on one host: of the same boot, and in the same PID and time namespaces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jobq
from jobq import ConfigError
from jobq.repos.lmdb.host import this_host
from tests.lmdb import namespaces
from tests.lmdb.namespaces import MOUNT, PID, TIME, open_in, opened_in

DAY = "86400"
OTHER_BOOT = 'echo 0-another-boot > "{0}" && mount --bind "{0}" /proc/sys/kernel/random/boot_id'
NO_PROC = "mount -t tmpfs none /proc"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
def url(path: Path) -> str:
    return f"lmdb://{path}?sync=off"


def generation(path: Path) -> int:
    found: int = json.loads((path / "jobq.json").read_text())["generation"]
    return found


def other_boot(tmp_path: Path) -> str:
    return OTHER_BOOT.format(tmp_path / "boot_id")


def test_another_pid_namespace_is_refused_while_the_directory_is_open(url: str, path: Path) -> None:
    with jobq.open(url) as svc:
        before = (path / "jobq.json").read_bytes()
        said = open_in(PID, url)
        assert said.startswith(f"ConfigError {path} is open in a process of another PID namespace (pid:[")
        assert "let the containers share one namespace, give each a directory of its own, or close it there" in said
        assert (path / "jobq.json").read_bytes() == before
        assert svc.enqueue("mail") == 1


def test_a_directory_open_in_a_pid_namespace_is_refused_outside(url: str) -> None:
    with opened_in(PID, url), pytest.raises(ConfigError, match="another PID namespace"):
        jobq.open(url)
    with jobq.open(url) as svc:
        assert svc.stats("mail").enqueued == 1


def test_whoever_is_alone_takes_a_directory_over_from_another_pid_namespace(url: str, path: Path) -> None:
    with jobq.open(url) as svc:
        svc.enqueue("mail")
        [job] = svc.reserve("mail")
    assert open_in(PID, url) == "open 2 [1]\n"  # the clock is the same there: the lease of the first job goes on
    with jobq.open(url) as svc:
        assert svc.get(job.id).attempt == 1
        assert generation(path) == 1


def test_processes_of_one_pid_namespace_share_a_directory(url: str) -> None:
    script = (
        "import subprocess, sys, jobq\n"
        "with jobq.open(sys.argv[1]) as svc:\n"
        "    print(svc.enqueue('mail'), flush=True)\n"
        "    subprocess.run([sys.executable, '-c', sys.argv[2], sys.argv[1]], stdin=subprocess.DEVNULL, check=True)\n"
    )
    assert namespaces.run(PID, script, url, namespaces.OPEN) == "1\nopen 2 [1, 1]\n"


def test_another_time_namespace_is_refused_while_the_directory_is_open(url: str, path: Path) -> None:
    with jobq.open(url) as svc:
        said = open_in((*TIME, DAY), url)
        assert said.startswith(f"ConfigError {path} is open in a process of another time namespace (time:[")
        assert "and leases end by a clock that differs there" in said
        assert svc.enqueue("mail") == 1
    with opened_in((*TIME, DAY), url), pytest.raises(ConfigError, match="another time namespace"):
        jobq.open(url)


@pytest.mark.parametrize("offset", [DAY, "-5"])
def test_in_another_time_namespace_all_earlier_leases_are_over(url: str, path: Path, offset: str) -> None:
    with jobq.open(url) as svc:
        svc.enqueue_many([jobq.NewJob("mail", lease=30), jobq.NewJob("mail", lease=10 * int(DAY))])
        svc.reserve("mail", 2)
    assert open_in((*TIME, offset), url) == "open 3 [1, 2, 2]\n"
    assert generation(path) == 2
    with jobq.open(url) as svc:
        assert sorted(job.attempt for job in svc.reserve("mail", 10)) == [2, 3, 3]
        assert (generation(path), svc.stats("mail").expired) == (3, 5)


def test_another_boot_is_refused_while_the_directory_is_open(url: str, path: Path, tmp_path: Path) -> None:
    with jobq.open(url) as svc:
        before = (path / "jobq.json").read_bytes()
        said = open_in(MOUNT, url, shell=other_boot(tmp_path))
        mine = this_host().boot_id
        assert said.startswith(f"ConfigError {path} is open in a process of another boot ({mine}; of this one it is 0-")
        assert "only processes of one host may share it" in said
        assert (path / "jobq.json").read_bytes() == before
        assert svc.enqueue("mail") == 1


def test_after_another_boot_all_earlier_leases_are_over_at_once(url: str, path: Path, tmp_path: Path) -> None:
    with jobq.open(url) as svc:
        svc.enqueue("mail", lease=30)
        svc.reserve("mail")
    assert open_in(MOUNT, url, shell=other_boot(tmp_path)) == "open 2 [1, 2]\n"
    assert generation(path) == 2
    with jobq.open(url) as svc:
        assert svc.stats("mail").expired == 1


def test_a_process_without_proc_shares_a_directory_with_nobody(url: str, path: Path) -> None:
    with jobq.open(url) as svc:
        svc.enqueue("mail")
        assert svc.reserve("mail", lease=int(DAY))
        said = open_in(MOUNT, url, shell=NO_PROC)
        assert said.startswith(f"ConfigError {path} is open in a process of another boot (")
        assert said.endswith("of this one it is unknown): only processes of one host may share it, "
                             "and all need /proc to tell\n")  # fmt: skip
    # Alone it cannot know whether the machine was booted in between.
    assert open_in(MOUNT, url, shell=NO_PROC) == "open 2 [1, 2]\n"
    assert open_in(MOUNT, url, shell=NO_PROC) == "open 3 [1, 2, 3]\n"
    assert generation(path) == 3


def test_a_directory_made_before_hosts_were_kept_is_opened(url: str, path: Path) -> None:
    jobq.open(url).close()
    stored = json.loads((path / "jobq.json").read_text())
    del stored["pid_namespace"], stored["time_namespace"]
    (path / "jobq.json").write_text(json.dumps(stored))
    with jobq.open(url) as svc:
        assert svc.enqueue("mail") == 1
    assert json.loads((path / "jobq.json").read_text()) == stored | this_host()._asdict() | {"generation": 2}
