"""Policies, interned by content: records name them by number."""

from __future__ import annotations

from hashlib import blake2b

import lmdb

from jobq import codec
from jobq.errors import StorageCorrupt
from jobq.model.records import Policy

_BY_NUMBER = b"\0"
_BY_CONTENT = b"\1"


class Policies:
    """The policies of one environment, cached once they are committed."""

    def __init__(self, db: lmdb._Database) -> None:
        self._db = db
        self._policies: dict[int, Policy] = {}
        self._numbers: dict[Policy, int] = {}
        self._new: dict[Policy, int] = {}

    def get(self, txn: lmdb.Transaction[bytes], number: int) -> Policy:
        """The policy of a number; StorageCorrupt if there is none."""
        policy = self._policies.get(number)
        if policy is None:
            data = txn.get(_number_key(number), db=self._db)
            if data is None:
                raise StorageCorrupt(f"there is no policy {number}")
            policy = self._policies[number] = codec.decode_policy(data)
        return policy

    def number(self, txn: lmdb.Transaction[bytes], policy: Policy) -> int:
        """The number of a policy, given to it now if it is new."""
        number = self._numbers.get(policy)
        return self._intern(txn, policy) if number is None else number

    def settle(self, *, committed: bool) -> None:
        """Keep what the write transaction that ends gave numbers to, or forget it."""
        if self._new:
            if committed:
                self._numbers.update(self._new)
            self._new.clear()

    def _intern(self, txn: lmdb.Transaction[bytes], policy: Policy) -> int:
        if policy in self._new:
            return self._new[policy]
        data = codec.encode_policy(policy)
        content_key = _BY_CONTENT + blake2b(data, digest_size=16).digest()
        known = txn.get(content_key, db=self._db)
        if known is None:
            number = txn.stat(self._db)["entries"] // 2 + 1
            txn.put(_number_key(number), data, db=self._db)
            txn.put(content_key, _number_key(number)[1:], db=self._db)
        else:
            number = int.from_bytes(known, "big")
        self._new[policy] = number
        return number


def _number_key(number: int) -> bytes:
    return _BY_NUMBER + number.to_bytes(4, "big")
