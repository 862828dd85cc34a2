"""Where a thread is, for the error of a handler that does not end."""

from __future__ import annotations

import sys
import traceback

from jobq.worker import calling


def where_is(thread: int | None) -> str:
    """The stack of a thread from its handler on; "" if it has none."""
    frame = sys._current_frames().get(thread or 0)
    if frame is None:
        return ""
    stack = traceback.extract_stack(frame)
    ours = [position for position, line in enumerate(stack) if line.filename == calling.__file__]
    return "".join(traceback.format_list(stack[(ours[-1] if ours else -1) + 1 :]))
