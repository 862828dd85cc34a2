"""The bounds of histograms, in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

WAIT_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)
"""From a worker that is idle, through a queue that is behind, to one that has stood still for a day."""
RUN_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""From a job of a millisecond, through a request to another service, to a report of an hour."""


def checked(buckets: Iterable[float], what: str) -> tuple[float, ...]:
    """Upper bounds as they are. Raises TypeError for what are no numbers, ValueError if they do not rise from above 0.

    what: the argument's name, for the message.
    """
    wanted = f"{what} must be seconds that rise, the first above 0, such as (0.1, 1, 10)"
    if isinstance(buckets, str | bytes) or not isinstance(buckets, Iterable):
        raise TypeError(f"{wanted}, not {type(buckets).__name__}")
    bounds = tuple(buckets)
    for bound in bounds:
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise TypeError(f"{wanted}, not of {type(bound).__name__}")
    if not bounds or not all(low < high for low, high in pairwise((0, *bounds))):
        raise ValueError(f"{wanted}, not {bounds}")
    return bounds
