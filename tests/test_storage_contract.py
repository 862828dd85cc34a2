"""The contract that storages of others can be checked with: ours keep it, and broken ones are found out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobq.testing import OpenStorage, StorageContract
from tests import broken_storages
from tests.broken_storages import Sound

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from jobq.testing import ManualClock, StorageContract
from tests import broken_storages


class TestStorage(StorageContract):
    @pytest.fixture
    def clock(self):
        return ManualClock(patience=0.5)

    @pytest.fixture
    def open_storage(self, clock, tmp_path):
        opened = []

        def open_one():
            opened.append(broken_storages.{name}(tmp_path.name, clock))
            return opened[-1]

        yield open_one
        for storage in opened:
            storage.inner.close()
"""

THEIRS = """
from jobq.repos import MemoryStorage

class MyStorage(MemoryStorage):
    def __init__(self, path, clock):
        super().__init__(str(path), clock=clock)
"""

SLEPT = "test_what_comes_between_the_watch_and_the_wait_is_not_slept_through[same storage-enqueue]"
BROKEN = {
    "LosesWrites": "TestTransactions::test_what_a_body_wrote_stays",
    "ForgetsHeaders": "TestJobs::test_headers_are_kept_and_replaced[short]",
    "LeavesHalf": "TestTransactions::test_a_body_that_raises_leaves_nothing[RuntimeError]",
    "KnowsNoIsolation": "TestTransactions::test_threads_that_read_and_write_one_job_lose_no_update",
    "ForgetsPriorities": "TestTopics::test_head_gives_the_lowest_priority_first_then_who_waited_longest",
    "SortsNumbersAsText": "TestTopics::test_head_gives_the_lowest_priority_first_then_who_waited_longest",
    "IsDueTooLate": "TestTopics::test_due_ends_with_what_is_due_just_now",
    "PagesTwice": "TestTopics::test_every_ordering_sorts_huge_ranks",
    "ForgetsIds": "TestJobs::test_ids_that_nothing_was_done_with_are_taken",
    "CutsPayloads": "TestJobs::test_payloads_are_kept_byte_by_byte[256 bytes]",
    "KeepsKeys": "TestJobs::test_deleted_jobs_are_gone",
    "CountsNoDroppedLines": "TestLogs::test_the_newest_are_kept_and_the_others_counted[7]",
    "AddsToLogs": "TestLogs::test_a_log_is_replaced_as_a_whole[0-3]",
    "TearsViews": "TestViews::test_a_view_stays_as_it_began",
    "SleepsThrough": f"TestWatching::{SLEPT}",
    "KnowsNoEnd": "TestWatching::test_who_waits_for_what_finishes_is_woken[same storage-canceled]",
    "HoldsForEver": "TestVerifying::test_what_is_broken_is_told_and_mended[key kept]",
    "HidesItsIdentity": "TestSharing::test_openings_of_the_same_jobs_know_it",
    "CountsOnlyTopics": "TestUpkeep::test_it_says_where_it_is_and_how_much_is_there",
    "CompactsTooMuch": "TestUpkeep::test_compacting_loses_nothing_or_says_why_there_is_nothing_to_do",
    "StaysOpen": "TestTransactions::test_closed_it_says_so",
}
"""Each broken storage, and a test that must find it out."""


class TestOurStorages(StorageContract):
    """Over each storage of the fixture `open_storage`."""

    @pytest.fixture
    def open_storage(self, open_storage: OpenStorage) -> OpenStorage:
        return open_storage


def run(pytester: pytest.Pytester, name: str, *chosen: str) -> pytest.RunResult:
    """Run the contract, or some of its tests, over a storage of broken_storages."""
    pytester.makepyfile(test_it=SUITE.format(name=name))
    return pytester.runpytest_inprocess("-q", *chosen or ["test_it.py"])


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_storage_is_found_out(pytester: pytest.Pytester, name: str) -> None:
    outcomes = run(pytester, name, f"test_it.py::TestStorage::{BROKEN[name]}").parseoutcomes()
    assert outcomes.get("failed"), outcomes
    assert "errors" not in outcomes


def test_every_broken_storage_is_tried() -> None:
    defined = vars(broken_storages).values()
    assert {one.__name__ for one in defined if isinstance(one, type) and issubclass(one, Sound)} == {"Sound", *BROKEN}


def test_a_sound_storage_of_others_passes_as_contributing_says(pytester: pytest.Pytester) -> None:
    page = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    [suite] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    pytester.makepyfile(mystorage=THEIRS, test_it=suite)
    outcomes = pytester.runpytest_subprocess("-W", "error").parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] > 150


def test_a_failure_says_what_differs(pytester: pytest.Pytester) -> None:
    """pytest rewrites the assertions of the contract as it does those of a suite of its own."""
    result = run(pytester, "ForgetsPriorities", f"test_it.py::TestStorage::{BROKEN['ForgetsPriorities']}")
    result.stdout.fnmatch_lines(["*At index 0 diff: * != *"])
