"""How much memory this process has, by Linux's own word."""

from __future__ import annotations

import re
from pathlib import Path

_ENTRY = re.compile(r"^[0-9a-f]+-[0-9a-f]+ .*", re.MULTILINE)
_RESIDENT = re.compile(r"^Rss:\s+(\d+) kB", re.MULTILINE)


def resident(text: str | None = None, *, without: str = "\0") -> int:
    """Bytes in memory, but for maps of files whose name ends with `without`. text: /proc/self/smaps unless given."""
    text = Path("/proc/self/smaps").read_text() if text is None else text
    heads = [match.group() for match in _ENTRY.finditer(text)]
    sizes = [int(size) for size in _RESIDENT.findall(text)]
    return 1024 * sum(size for head, size in zip(heads, sizes, strict=True) if not head.endswith(without))
