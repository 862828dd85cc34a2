"""The storage in memory: dict and heapq."""

from jobq.repos.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
