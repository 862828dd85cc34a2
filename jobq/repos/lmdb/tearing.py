"""A commit that a kill tore apart, found and undone by the next writer.

LMDB ends a commit with the fields of one of its two meta pages, the number of the transaction last, which makes them
count. Written to the file, they are there at once. Through a writable map they are stored one by one, and on x86
compilers have the root of the main database stored after the number: a process that is killed (SIGKILL) between these
two instructions leaves a number that counts, with a root of two commits before.

So whoever commits through a map notes before which root is about to be replaced, and the next writer compares: each
commit has another root, as pages are not used again that soon. The other meta page is still that of the commit before.
With its fields in those of the torn one, that is an empty commit; what it was to be was told to nobody.

The note stands in a part of the first meta page that LMDB does not use.
"""

from __future__ import annotations

import mmap
import os
import struct

import lmdb

NOTE = 2048
"""Where the note begins in the file: the number of a transaction, and the root that it replaces."""
_META = 16
"""Where the fields begin in a page."""
_MAGIC = struct.pack("=II", 0xBEEFC0DE, 1)
_FIELDS = slice(0x18, 0x80)
_ROOT = 0x70
_NUMBER = struct.Struct("=Q")
_NUMBER_AT = 0x80


class MetaPages:
    """The two meta pages of an open environment; for who is in a write transaction, which locks all others out."""

    def __init__(self, fd: int, env: lmdb.Environment) -> None:
        page_size = env.stat()["psize"]
        self._pages = mmap.mmap(fd, 2 * page_size)
        self._metas = (_META, page_size + _META)  # of even and odd transactions
        self._roots = (_META + _ROOT, page_size + _META + _ROOT)

    def close(self) -> None:
        """Let go of them."""
        self._pages.close()

    def are_known(self, last: int) -> bool:
        """Whether the fields are where this module takes them to be. last: the number of the last transaction."""
        pages, at = self._pages, self._metas[last & 1]
        number = _NUMBER.unpack_from(pages, at + _NUMBER_AT)[0]
        return struct.calcsize("P") == 8 and pages[at : at + len(_MAGIC)] == _MAGIC and number == last

    def note(self, number: int) -> None:
        """Note that this transaction is about to be committed."""
        pages, root = self._pages, self._roots[number & 1]
        pages[NOTE : NOTE + 16] = _NUMBER.pack(number) + pages[root : root + 8]

    def mend(self, last: int) -> bool:
        """Whether the last transaction was torn, and is now undone, for who begins anew."""
        pages, root = self._pages, self._roots[last & 1]
        if pages[root : root + 8] != pages[NOTE + 8 : NOTE + 16] or pages[NOTE : NOTE + 8] != _NUMBER.pack(last):
            return False
        torn, whole = self._metas[last & 1], self._metas[~last & 1]
        fields = bytes(pages[whole + _FIELDS.start : whole + _FIELDS.stop])
        end = _ROOT - _FIELDS.start
        pages[torn + _FIELDS.start : root] = fields[:end]
        pages[root + 8 : torn + _FIELDS.stop] = fields[end + 8 :]
        pages[root : root + 8] = fields[end : end + 8]  # the last: by this it is known
        return True


def mend_torn(path: str, env: lmdb.Environment) -> bool:
    """Undo the last commit of an environment that was just opened, if it is torn; returns whether that can be told.

    Raises lmdb.Error, OSError.
    """
    fd = os.open(os.path.join(path, "data.mdb"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        pages = MetaPages(fd, env)
    finally:
        os.close(fd)
    try:
        with env.begin(write=True) as txn:
            last = txn.id() - 1
            if are_known := pages.are_known(last):
                pages.mend(last)
            return are_known
    finally:
        pages.close()
