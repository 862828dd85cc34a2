"""Where a storage is kept: what users may write for a path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jobq.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def absolute_path(value: str | os.PathLike[str]) -> Path:
    """A directory's path, made absolute; a leading `~` is the home of the user, `~name` that of another.

    Raises TypeError for anything but str and os.PathLike[str]; ConfigError for "", a zero byte, and a URL.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(f"a path must be a str or an os.PathLike of str, not {type(value).__name__}")
    if not text:
        raise ConfigError("a path must not be empty: for the current folder write '.'")
    if "\0" in text:
        raise ConfigError(f"a path must not hold a zero byte, as {text!r} does")
    for scheme in ("lmdb:", "memory:"):
        if text.startswith(scheme):
            raise ConfigError(
                f"{text!r} is a URL, and a path is wanted: open URLs with jobq.open(url), write a path without "
                f"{scheme!r}, or ./{text} if that is the name of a folder"
            )
    from pathlib import Path  # here, as it takes 7 ms to import, and a queue in memory has no path

    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as problem:
        raise ConfigError(f"the home of {text!r} is not known: write the whole path") from problem
