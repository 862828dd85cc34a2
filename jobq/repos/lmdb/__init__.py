"""The storage on LMDB: durable, and shared by all processes of one host."""

from jobq.repos.lmdb.storage import LmdbStorage

__all__ = ["LmdbStorage"]
