"""Durations as people write them: `90`, `1.5s`, `10m`, `2h`."""

from __future__ import annotations

import re

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
FORMS = "seconds, as 90 or 1.5s, or 500ms, 10m, 2h, 7d, 1h30m"
FOREVER = "forever"

_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|[smhdw])", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of a duration: a number of seconds, or numbers with units ms, s, m, h, d, w, one after the other.

    Raises ValueError for anything else; a duration has no sign.
    """
    bare = text.strip().lower()
    if _NUMBER.fullmatch(bare):
        return _plain(float(bare))
    parts = list(_PART.finditer(bare))
    if not parts or "".join(part[0] for part in parts) != bare:
        raise ValueError(f"{text[:80]!r} is no duration: write {FORMS}")
    return _plain(sum(float(part[1]) * UNITS[part[2]] for part in parts))


def _plain(seconds: float) -> float:
    return int(seconds) if seconds.is_integer() else seconds
