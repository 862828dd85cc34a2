"""The plugin for pytest: the fixture `jobq`.

Every run of pytest imports this where jobq is installed, so it imports the rest when the fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jobq.testing.queue import QueueForTests

pytest.register_assert_rewrite("jobq.testing.contract", "jobq.testing.invariants")


@pytest.fixture
def jobq() -> Iterator[QueueForTests]:
    """A queue in memory (jobq.testing.QueueForTests) whose time stands still until `jobq.clock.advance(seconds)`."""
    from jobq.testing.queue import QueueForTests

    with QueueForTests() as queue:
        yield queue
