"""What an LMDB directory is: made, checked, refused."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

import jobq
from jobq import ConfigError, StorageCorrupt, StorageError, StorageVersion
from jobq.repos.lmdb import LmdbStorage
from jobq.repos.lmdb.directory import Presence
from jobq.repos.lmdb.host import this_host
from tests.clocks import PATIENCE, ManualClock


@contextmanager
def open_elsewhere(url: str) -> Iterator[None]:
    """Have the URL open in another process."""
    script = f"import jobq, sys; svc = jobq.open({url!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield
        finally:
            process.communicate(timeout=PATIENCE)


def properties(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((path / "jobq.json").read_text())
    return found


def test_a_new_directory_is_full_and_says_so(tmp_path: Path) -> None:
    with jobq.open(f"lmdb://{tmp_path}/jobs"):
        found = properties(tmp_path / "jobs")
        assert found == this_host()._asdict() | {
            "format": 2, "sync": "full", "topics": "lmdb", "max_size": 64 * 2**30, "generation": 1,
        }  # fmt: skip


def test_sync_and_max_size_belong_to_the_directory(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/jobs"
    jobq.open(f"{url}?sync=off&max_size=2000000").close()
    with jobq.open(url):
        assert properties(tmp_path / "jobs")["sync"] == "off"
        assert properties(tmp_path / "jobs")["max_size"] == 2_000_000


def test_who_opens_waits_for_one_that_was_killed_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system takes the locks of a killed opener, or compaction, one by one: first that of the gate."""
    LmdbStorage(tmp_path / "jobs").close()
    lock = Presence._lock

    with open(tmp_path / "jobs" / "jobq.lock", "rb") as killed:
        fcntl.flock(killed, fcntl.LOCK_EX)

        def gone(presence: Presence, fd: int, operation: int) -> bool:
            if operation == fcntl.LOCK_SH:  # this waits
                fcntl.flock(killed, fcntl.LOCK_UN)
            return lock(presence, fd, operation)

        monkeypatch.setattr(Presence, "_lock", gone)
        LmdbStorage(tmp_path / "jobs", sync="off").close()
    assert properties(tmp_path / "jobs")["sync"] == "off", "it was alone by then, and could change that"


def test_who_opens_alone_may_change_them(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/jobs"
    with jobq.open(f"{url}?sync=off") as svc:
        svc.enqueue("mail", payload="kept")
    with jobq.open(f"{url}?sync=full") as svc:
        assert properties(tmp_path / "jobs")["sync"] == "full"
        assert svc.payload(1) == b"kept"


@pytest.mark.parametrize("setting", ["sync=full", "max_size=5000000"])
def test_other_settings_than_another_process_are_refused(tmp_path: Path, setting: str) -> None:
    url = f"lmdb://{tmp_path}/jobs"
    name = setting.partition("=")[0]
    with open_elsewhere(f"{url}?sync=off"):
        with pytest.raises(ConfigError, match=f"open in another process with {name}="):
            jobq.open(f"{url}?{setting}")
        with jobq.open(url) as svc:
            assert svc.enqueue("mail") == 1
    with jobq.open(f"{url}?{setting}") as svc:
        assert svc.status(1) == "ready"


@pytest.mark.parametrize("setting", ["sync=full", "max_size=5000000"])
def test_other_settings_than_the_same_process_are_refused(tmp_path: Path, setting: str) -> None:
    url = f"lmdb://{tmp_path}/jobs"
    with jobq.open(f"{url}?sync=off"):
        with pytest.raises(ConfigError, match="open in this process"):
            jobq.open(f"{url}?{setting}")
        with jobq.open(f"{url}?sync=off") as svc:
            assert svc.enqueue("mail") == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("sync=fast", "sync must be one of full, normal, off, not 'fast'"),
        ("max_size=12", "max_size must be from 1048576"),
        ("max_size=lots", "max_size must be a number of bytes, not 'lots'"),
        ("snyc=off", r"unknown parameter 'snyc' of a lmdb URL \(did you mean 'sync'\?\): it knows sync, max_size"),
        ("sync=off&sync=full", "'sync' is given twice"),
    ],
)
def test_settings_that_no_directory_can_have(tmp_path: Path, parameters: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        jobq.open(f"lmdb://{tmp_path}/jobs?{parameters}")
    assert not (tmp_path / "jobs").exists()


def test_max_size_must_be_an_int(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="max_size must be a number of bytes"):
        LmdbStorage(tmp_path / "jobs", max_size=2.5e9)  # type: ignore[arg-type]


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("mine")
    with pytest.raises(ConfigError, match="is a file: a queue needs a directory of its own"):
        jobq.open(f"lmdb://{tmp_path}/jobs")
    assert (tmp_path / "jobs").read_text() == "mine"


def test_a_path_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("mine")
    with pytest.raises(StorageError, match="cannot be a queue's directory"):
        jobq.open(f"lmdb://{tmp_path}/jobs/deeper")


def test_a_path_that_cannot_be_written() -> None:
    with pytest.raises(StorageError, match=r"/proc/jobs|/sys/jobs"):
        jobq.open("lmdb:///proc/jobs")


def test_a_directory_without_permission_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs").mkdir()
    # Root may write anywhere, so the system's answer is stood in for.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(
        StorageError, match="is not writable, which a queue needs even to read: change its owner or mode"
    ):
        jobq.open(f"lmdb://{tmp_path}/jobs")


def test_another_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    jobq.open(f"lmdb://{tmp_path}/jobs").close()
    path = tmp_path / "jobs" / "jobq.json"
    path.write_text(json.dumps(properties(tmp_path / "jobs") | {"format": 3}))
    before = path.read_bytes()
    with pytest.raises(StorageVersion, match="has format 3, and this version of jobq reads 1 and 2: "):
        jobq.open(f"lmdb://{tmp_path}/jobs")
    assert path.read_bytes() == before


def make_former(path: Path) -> None:
    """Have a directory as an earlier version leaves it: of format 1, in which no record has headers."""
    with jobq.open(f"lmdb://{path}") as svc:
        svc.enqueue("mail", payload="kept", name="send", unique_key="k")
    (path / "jobq.json").write_text(json.dumps(properties(path) | {"format": 1}))


@pytest.mark.parametrize("topics", ["lmdb", "memory"])
def test_a_directory_of_the_former_format_becomes_one_of_this(tmp_path: Path, topics: str) -> None:
    make_former(tmp_path / "jobs")
    before = properties(tmp_path / "jobs")
    with jobq.open(f"lmdb://{tmp_path}/jobs?topics={topics}") as svc:
        assert properties(tmp_path / "jobs") == before | {"format": 2, "topics": topics}
        assert svc.verify() == []
        id = svc.enqueue("mail", headers={"trace": "1"})
        first, second = svc.reserve("mail", 2)
        assert (first.text, first.name, first.headers) == ("kept", "send", {})
        assert (second.id, second.headers) == (id, {"trace": "1"})


def test_a_directory_of_the_former_format_that_an_earlier_version_has_open_is_left_to_it(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/jobs"
    make_former(tmp_path / "jobs")
    with open_elsewhere(url):  # which stands for a process with that version, from here on
        written = json.dumps(properties(tmp_path / "jobs") | {"format": 1})
        (tmp_path / "jobs" / "jobq.json").write_text(written)
        with pytest.raises(StorageVersion, match="has format 1 and is open in a process with an earlier version"):
            jobq.open(url)
        assert (tmp_path / "jobs" / "jobq.json").read_text() == written
    with jobq.open(url) as svc:
        assert properties(tmp_path / "jobs")["format"] == 2
        assert svc.payload(1) == b"kept"


SOUND = b'{"format": 1, "sync": "full", "max_size": 68719476736, "generation": 1, "boot_id": "x"}'


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"format": 1}',
        SOUND.replace(b'"x"', b'"x", "colour": "red"'),
        SOUND.replace(b'"full"', b'"fast"'),
        SOUND.replace(b"68719476736", b"null"),
        SOUND.replace(b'"generation": 1', b'"generation": "1"'),
    ],
)
def test_a_damaged_jobq_json(tmp_path: Path, text: bytes) -> None:
    jobq.open(f"lmdb://{tmp_path}/jobs").close()
    (tmp_path / "jobs" / "jobq.json").write_bytes(text)
    with pytest.raises(StorageCorrupt, match="does not say what the directory is"):
        jobq.open(f"lmdb://{tmp_path}/jobs")


def test_somebody_elses_lmdb_environment_is_refused(tmp_path: Path) -> None:
    lmdb.open(str(tmp_path / "jobs"), lib_version=0).close()
    with pytest.raises(StorageVersion, match="holds an LMDB environment that is no jobq queue"):
        jobq.open(f"lmdb://{tmp_path}/jobs")


def test_a_data_file_that_is_no_lmdb(tmp_path: Path) -> None:
    jobq.open(f"lmdb://{tmp_path}/jobs").close()
    (tmp_path / "jobs" / "data.mdb").write_bytes(b"nonsense" * 2048)
    with pytest.raises(StorageCorrupt, match="cannot be read as an LMDB environment"):
        jobq.open(f"lmdb://{tmp_path}/jobs")


def test_a_failed_opening_leaves_the_directory_to_others(tmp_path: Path) -> None:
    jobq.open(f"lmdb://{tmp_path}/jobs").close()
    data = tmp_path / "jobs" / "data.mdb"
    good = data.read_bytes()
    data.write_bytes(b"nonsense" * 2048)
    with pytest.raises(StorageCorrupt):
        jobq.open(f"lmdb://{tmp_path}/jobs")
    data.write_bytes(good)
    with jobq.open(f"lmdb://{tmp_path}/jobs?sync=off") as svc:
        assert svc.enqueue("mail") == 1


def test_the_generation_rises_when_the_machine_was_booted_and_leases_are_over(
    tmp_path: Path, clock: ManualClock
) -> None:
    def open_again() -> jobq.JobService:
        return jobq.JobService(LmdbStorage(tmp_path / "jobs", clock=clock))

    with open_again() as svc:
        svc.enqueue("mail", lease=3600)
        [job] = svc.reserve("mail")
    with open_again() as svc:
        assert svc.reserve("mail") == []
        assert svc.get(job.id).deadline == clock.after(3600)
    path = tmp_path / "jobs" / "jobq.json"
    path.write_text(json.dumps(properties(tmp_path / "jobs") | {"boot_id": "an earlier boot"}))
    clock.reboot()  # its steady clock begins anew, so that the old deadline would lie far in the future
    with open_again() as svc:
        assert properties(tmp_path / "jobs")["generation"] == 2
        [again] = svc.reserve("mail")
        assert (again.id, again.attempt, svc.stats("mail").expired) == (job.id, 2, 1)


def test_an_address_space_that_is_bounded(tmp_path: Path) -> None:
    script = (
        "import resource, jobq, sys;"
        "resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33));"
        f"svc = jobq.open('lmdb://{tmp_path}/jobs'); print(svc.enqueue('mail'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("1\n", "")
