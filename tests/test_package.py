"""The package as it is imported: its names, what it needs, what it says when the lmdb extra is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import jobq
import jobq.repos
from tests.clocks import PATIENCE

NAMES = """
Worker Observer Tasks AsyncJob AsyncJobService open_async
JobService Job JobInfo JobLog JobOptions Limits LogLine NewJob Difference MoveProgress Status CancelReason TopicStats
Exchange Compaction StorageInfo
Done Retry Release Reject Cancel
JobqError JobNotFound InvalidStatus LeaseLost DuplicateJob PayloadTooLarge TopicFull InvalidTopic ConfigError
ServiceClosed StorageError StorageFull StorageCorrupt StorageNotFound StorageVersion open
""".split()
REPOS = "MemoryStorage LmdbStorage open_storage Storage JobRepository TopicRepository UnitOfWork".split()

WITHOUT_LMDB = """
import sys
sys.modules["lmdb"] = None  # as if it were not installed
"""


def run(script: str) -> str:
    """What a script prints in an interpreter of its own, its last line of errors included."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    return (done.stdout + (done.stderr.strip().splitlines() or [""])[-1]).strip()


def test_the_public_names() -> None:
    assert sorted(jobq.__all__) == sorted(NAMES)
    assert all(hasattr(jobq, name) for name in NAMES)
    assert all(hasattr(jobq.repos, name) for name in REPOS)
    assert not hasattr(jobq.repos, "BadgerStorage")


def test_the_version_is_that_of_the_distribution() -> None:
    assert version("jobq") == jobq.__version__


def test_importing_it_imports_the_standard_library_alone() -> None:
    script = (
        "CLIENTS = ('jobq.worker', 'jobq.tasks', 'jobq.aio', 'jobq.cli', 'jobq.settings', 'jobq.metrics');"
        "import sys; before = set(sys.modules); import jobq;"
        "new = set(sys.modules) - before;"
        "print({name.partition('.')[0] for name in new} - set(sys.stdlib_module_names),"
        "      new & {'asyncio', 'multiprocessing'}, {name for name in new if name.startswith(CLIENTS)})"
    )
    assert run(script) == "{'jobq'} set() set()"


def test_without_lmdb_memory_works_and_lmdb_says_what_to_install() -> None:
    assert run(WITHOUT_LMDB + "import jobq; print(jobq.open('memory://').enqueue('mail'))") == "1"
    assert run(WITHOUT_LMDB + "import jobq; jobq.open('lmdb:jobs')") == (
        "jobq.errors.ConfigError: the lmdb storage needs the package lmdb: pip install 'jobq[lmdb]'"
    )
    assert run(WITHOUT_LMDB + "from jobq.repos import LmdbStorage") == (
        "ImportError: LmdbStorage needs the package lmdb: pip install 'jobq[lmdb]'"
    )


def test_without_prometheus_client_metrics_say_what_to_install() -> None:
    without = "import sys; sys.modules['prometheus_client'] = None; import jobq; "
    assert run(without + "print(jobq.open('memory://').enqueue('mail'))") == "1"
    assert run(without + "import jobq.metrics") == (
        "ImportError: jobq.metrics needs the package prometheus-client: pip install 'jobq[prometheus]'"
    )


def test_only_metrics_import_prometheus_client() -> None:
    folder = Path(jobq.__file__).parent
    importing = re.compile(r"^\s*(import|from) prometheus_client", re.MULTILINE)
    files = [file for file in folder.rglob("*.py") if importing.search(file.read_text())]
    assert files
    assert {file.parent for file in files} == {folder / "metrics"}


def test_errors_have_one_root_and_the_kin_that_callers_expect() -> None:
    errors = [getattr(jobq, name) for name in NAMES]
    roots = [error for error in errors if isinstance(error, type) and issubclass(error, jobq.JobqError)]
    assert len(roots) == 15
    for error in (jobq.InvalidTopic, jobq.ConfigError, jobq.PayloadTooLarge):
        assert issubclass(error, ValueError)
    assert issubclass(jobq.StorageNotFound, jobq.ConfigError)
    assert issubclass(jobq.JobNotFound, LookupError)
    assert all(issubclass(e, jobq.StorageError) for e in (jobq.StorageFull, jobq.StorageCorrupt, jobq.StorageVersion))


@pytest.mark.parametrize("name", ["Cancel", "Done", "Reject", "Release", "Retry"])
def test_an_outcome_is_no_error_of_jobq(name: str) -> None:
    assert not issubclass(getattr(jobq, name), jobq.JobqError)
