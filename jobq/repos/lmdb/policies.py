"""Policies, interned by content: records name them by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import lmdb

from jobq import codec
from jobq.errors import StorageCorrupt
from jobq.model.records import LostPolicy, Policy

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

    @property
    def read(self) -> Callable[[int], Policy]:
        """Finds one that was read before, by its number; KeyError if it was not."""
        return self._policies.__getitem__

    def number(self, txn: lmdb.Transaction[bytes], policy: Policy) -> int:
        """The number of a policy, given to it now if it is new."""
        number = self._numbers.get(policy)
        return self._intern(txn, policy) if number is None else number

    @property
    def has_new(self) -> bool:
        """Whether a transaction gave numbers to policies, and what became of it is still to be settled."""
        return bool(self._new)

    def settle(self, *, committed: bool) -> None:
        """Keep what the write transaction that ends gave numbers to, or forget it."""
        if committed:
            self._numbers.update(self._new)
        else:
            self._policies.clear()  # one may be of the transaction itself
        self._new.clear()  # last: should Ctrl-C break in before, the next transaction forgets again

    def lost(self, txn: lmdb.Transaction[bytes], known: Sequence[Policy]) -> list[LostPolicy]:
        """The policies that are not there, cannot be read, or are not what their content's hash says they were.

        What takes the place of one is what this process has read or written, or one of `known`, if it has the hash;
        else what it reads as now, else the first of `known`.
        """
        stored, numbers = self._stored(txn)
        lost = []
        for number in sorted({*stored, *numbers.values()}):
            data = stored.get(number)
            hashes = [key for key, named in numbers.items() if named == number]
            if data is None or _content_key(data) not in numbers or hashes not in ([], [_content_key(data)]):
                lost.append(self._replacement(number, data, hashes, known))
        return lost

    def mend(self, txn: lmdb.Transaction[bytes], lost: LostPolicy) -> None:
        """Put a policy in its place."""
        data = codec.encode_policy(lost.policy)
        _, numbers = self._stored(txn)
        for key, named in numbers.items():
            if named == lost.number:
                txn.delete(key, db=self._db)
        txn.put(_number_key(lost.number), data, db=self._db)
        txn.put(_content_key(data), _number_key(lost.number)[1:], db=self._db, overwrite=False)
        self._policies.pop(lost.number, None)
        self._numbers.clear()

    def _stored(self, txn: lmdb.Transaction[bytes]) -> tuple[dict[int, bytes], dict[bytes, int]]:
        """What is there by number, as far as it can be read, and the numbers by the key of the content."""
        by_number: dict[int, bytes] = {}
        by_content: dict[bytes, int] = {}
        with txn.cursor(self._db) as cursor:
            for key, value in cursor:
                if key[:1] == _BY_CONTENT:
                    by_content[key] = int.from_bytes(value, "big")
                elif _is_readable(value):
                    by_number[int.from_bytes(key[1:], "big")] = value
        return by_number, by_content

    def _replacement(
        self, number: int, data: bytes | None, hashes: Sequence[bytes], known: Sequence[Policy]
    ) -> LostPolicy:
        if data is not None and not hashes:
            return LostPolicy(number, codec.decode_policy(data), f"policy {number} is not found by its content")
        problem = f"policy {number}, which jobs have their options from, cannot be read"
        own = [policy for policy, named in self._numbers.items() if named == number]
        own += [self._policies[number]] if number in self._policies else []
        for policy in (*own, *known):
            if _content_key(codec.encode_policy(policy)) in hashes:
                return LostPolicy(number, policy, f"{problem}; it is known what it was")
        if data is not None:
            return LostPolicy(number, codec.decode_policy(data), f"policy {number} is not what it was stored as")
        return LostPolicy(number, known[0], f"{problem}; the service's defaults are to take its place")

    def _intern(self, txn: lmdb.Transaction[bytes], policy: Policy) -> int:
        if policy in self._new:
            return self._new[policy]
        data = codec.encode_policy(policy)
        content_key = _content_key(data)
        known = txn.get(content_key, db=self._db)
        if known is None:
            number = self._last_number(txn) + 1
            txn.put(_number_key(number), data, db=self._db)
            txn.put(content_key, _number_key(number)[1:], db=self._db)
        else:
            number = int.from_bytes(known, "big")
        self._new[policy] = number
        self._policies[number] = policy
        return number

    def _last_number(self, txn: lmdb.Transaction[bytes]) -> int:
        with txn.cursor(self._db) as cursor:
            found = cursor.prev() if cursor.set_range(_BY_CONTENT) else cursor.last()
            return int.from_bytes(cursor.key()[1:], "big") if found else 0


def _content_key(data: bytes) -> bytes:
    from hashlib import blake2b  # here, as it is for the first job with a policy, and OpenSSL takes 3 ms to come

    return _BY_CONTENT + blake2b(data, digest_size=16).digest()


def _is_readable(data: bytes) -> bool:
    try:
        codec.decode_policy(data)
    except StorageCorrupt:
        return False
    return True


def _number_key(number: int) -> bytes:
    return _BY_NUMBER + number.to_bytes(4, "big")
