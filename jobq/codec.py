"""Records to bytes and back, in one versioned format.

A record is a fixed part (little-endian, see `_RECORD`) and a tail of texts, whose lengths stand in the fixed part. It
names its policy by a number that the storage interns. Format 1; a byte of another version is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from jobq.errors import StorageCorrupt, StorageVersion
from jobq.model.records import Place, Policy, Record, TopicState
from jobq.model.status import CancelReason, Ordering, Status

FORMAT = 1

_STATES: list[tuple[Status, CancelReason | None]] = [
    (Status.READY, None),
    (Status.DELAYED, None),
    (Status.RESERVED, None),
    (Status.DONE, None),
    *((Status.CANCELED, reason) for reason in CancelReason),
]
_STATE_CODES = {state: code for code, state in enumerate(_STATES)}
