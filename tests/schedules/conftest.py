"""What the tests of schedules share."""

import pytest

from tests.worker.scenes import Recorder


@pytest.fixture
def seen() -> Recorder:
    return Recorder()
