"""What tests of programs and of storages use: a clock that is set by hand, a queue with it, and checks of a storage.

With pytest there is also the fixture `jobq`. Nothing here is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobq.testing.at_once import eager
    from jobq.testing.clock import ManualClock
    from jobq.testing.contract import OpenStorage, StorageContract
    from jobq.testing.draining import drain
    from jobq.testing.invariants import check_invariants
    from jobq.testing.queue import QueueForTests

__all__ = ["ManualClock", "OpenStorage", "QueueForTests", "StorageContract", "check_invariants", "drain", "eager"]

_MODULES = {
    "ManualClock": "clock",
    "OpenStorage": "contract",
    "QueueForTests": "queue",
    "StorageContract": "contract",
    "check_invariants": "invariants",
    "drain": "draining",
    "eager": "at_once",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"jobq.testing.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
