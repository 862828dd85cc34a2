"""Arguments of tasks as bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jobq import inputs

_KEYS = {"args", "kwargs"}


class Codec(Protocol):
    """Writes the arguments of a call as the payload of a job, and reads them. Threads share it."""

    def dumps(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """The arguments as bytes. Raises TypeError or ValueError for what it cannot write."""
        ...

    def loads(self, data: bytes) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments. Any exception but an outcome makes the job a dead letter."""
        ...


class JsonCodec:
    """JSON: {"args": […], "kwargs": {…}}, each left out if it is empty. A tuple arrives as a list, as JSON has none."""

    def dumps(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """See Codec."""
        call: dict[str, Any] = {}
        if args:
            call["args"] = args
        if kwargs:
            call["kwargs"] = kwargs
        try:
            data = inputs.encoded_json(call, "each argument")
        except TypeError as problem:
            raise TypeError(f"{problem}; send text or an id instead, or give jobq.Tasks a codec= for it") from None
        _check_keys([*args, *kwargs.values()])
        return data

    def loads(self, data: bytes) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """See Codec: of a job without a payload there are none."""
        call = json.loads(data) if data else {}
        if isinstance(call, dict) and call.keys() <= _KEYS:
            args, kwargs = call.get("args", []), call.get("kwargs", {})
            if isinstance(args, list) and isinstance(kwargs, dict):
                return args, kwargs
        raise ValueError('they are not {"args": […], "kwargs": {…}}')


def _check_keys(values: list[Any]) -> None:
    """Refuse keys of which JSON would make text without a word."""
    for value in values:  # it grows
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"each argument must be a JSON value, whose dicts have str for keys, not {key!r}")
            values += value.values()
        elif isinstance(value, list | tuple):
            values += value
