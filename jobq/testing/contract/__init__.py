"""The contract of a storage, as a class of tests."""

from __future__ import annotations

import pytest

from jobq.testing.clock import ManualClock
from jobq.testing.contract.jobs import JobsContract
from jobq.testing.contract.logs import LogsContract
from jobq.testing.contract.scenes import OpenStorage
from jobq.testing.contract.sharing import SharingContract
from jobq.testing.contract.topics import TopicsContract
from jobq.testing.contract.transactions import TransactionsContract
from jobq.testing.contract.upkeep import UpkeepContract
from jobq.testing.contract.verbs import VerbsContract
from jobq.testing.contract.verifying import VerifyingContract
from jobq.testing.contract.views import ViewsContract
from jobq.testing.contract.walk import WalkContract
from jobq.testing.contract.watching import WatchingContract

__all__ = ["OpenStorage", "StorageContract"]


class StorageContract:
    """What every storage has to do, as tests for pytest. Subclass it, and give it the storage to be tested:

        class TestMyStorage(StorageContract):
            @pytest.fixture
            def open_storage(self, clock, tmp_path):
                opened = []

                def open_one():
                    opened.append(MyStorage(tmp_path / "jobs", clock=clock))
                    return opened[-1]

                yield open_one
                for storage in opened:
                    storage.close()

    open_storage: a function that opens a storage, empty at first; each further call opens the same jobs again, while
    one is open or the storage is durable. It may be parametrized. Time is `clock`: the storage must read it for `now`,
    and wait by `clock.wait` wherever it waits for a job.

    The tests stand in groups, each an attribute whose name begins with Test, as pytest collects them.
    """

    TestTransactions = TransactionsContract
    TestJobs = JobsContract
    TestLogs = LogsContract
    TestTopics = TopicsContract
    TestViews = ViewsContract
    TestWatching = WatchingContract
    TestSharing = SharingContract
    TestVerifying = VerifyingContract
    TestUpkeep = UpkeepContract
    TestVerbs = VerbsContract
    TestWalk = WalkContract

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock of the storages that a test opens."""
        return ManualClock()
